package simulate

import (
	"net/netip"
	"strings"
	"testing"
)

func demo(t *testing.T) Spec {
	t.Helper()
	l, err := ParseListen("127.1.0.0/16:1161")
	if err != nil {
		t.Fatal(err)
	}
	return DemoSpec(l)
}

func TestSiteHasTheDemosDevicesAndRelations(t *testing.T) {
	t.Parallel()
	devices, err := Site(demo(t))
	if err != nil {
		t.Fatal(err)
	}
	byID, count := map[string]Device{}, map[Class]int{}
	addresses := map[netip.Addr]bool{}
	for _, d := range devices {
		byID[d.ID] = d
		count[d.Class]++
		addresses[d.Addr.Addr()] = true
	}
	if len(addresses) != 532 || count[Core] != 2 || count[Switch] != 10 || count[Server] != 100 || count[VM] != 400 || count[Service] != 20 {
		t.Errorf("counts are %v on %d addresses", count, len(addresses))
	}
	for id, need := range map[string]string{
		"access-01": "core-1", "access-05": "core-1", "access-06": "core-2", "access-10": "core-2",
		"server-001": "access-01", "server-100": "access-10", "vm-0001": "server-001", "vm-0400": "server-100",
		"service-01": "vm-0001", "service-20": "vm-0381",
	} {
		if d := byID[id]; len(d.Needs) != 1 || d.Needs[0] != need {
			t.Errorf("%s needs %v, want %s", id, d.Needs, need)
		}
	}
	if d := byID["core-1"]; d.Ports != 64 || d.Addr.String() != "127.1.0.1:1161" || d.Relation != "" {
		t.Errorf("core-1 is %+v", d)
	}
	if byID["server-001"].Relation != "connected_to" || byID["vm-0001"].Relation != "runs_on" {
		t.Error("relations are not named as a CMDB does")
	}
	if _, err := New(Config{Listen: demo(t).Listen, Devices: devices}); err != nil {
		t.Error(err)
	}
}

func TestScaleGivesExactlyTheNumberAskedForAndAWorkingSite(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 2, 3, 4, 5, 6, 7, 20, 100, 531, 532, 1000, 10000, 60000} {
		s := demo(t).Scale(n)
		if s.Devices() != n {
			t.Errorf("Scale(%d) has %d devices: %+v", n, s.Devices(), s)
		}
		devices, err := Site(s)
		if err != nil || len(devices) != n {
			t.Errorf("Scale(%d): %d devices, %v", n, len(devices), err)
		}
	}
	if s := demo(t).Scale(5320); s.Access != 100 || s.Servers != 1003 && s.Servers != 1002 || s.Services != 200 && s.Services != 201 {
		t.Errorf("ten times the site is %+v", s)
	}
}

func TestSiteAndUniformRefuseWhatCannotBe(t *testing.T) {
	t.Parallel()
	s := demo(t)
	s.Listen.Prefix = netip.MustParsePrefix("127.1.0.0/24")
	if _, err := Site(s); err == nil || !strings.Contains(err.Error(), "room for 254 devices") {
		t.Error(err)
	}
	if _, err := Site(Spec{Servers: 1, Listen: s.Listen}); err == nil || !strings.Contains(err.Error(), "no access switch") {
		t.Error(err)
	}
	if _, err := Uniform(0, Switch, 4, s.Listen); err == nil {
		t.Error("a fleet of nothing is accepted")
	}
	if _, err := Uniform(255, Switch, 4, s.Listen); err == nil {
		t.Error("255 devices fit into a /24")
	}
	if d, err := Uniform(254, Switch, 4, s.Listen); err != nil || d[0].ID != "switch-001" || d[253].Addr.String() != "127.1.0.254:1161" {
		t.Error(err, d)
	}
}

func TestParseListenTakesLoopbackRangesOnly(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"127.1.0.0/16:1161": "127.1.0.0/16:1161",
		"127.1.2.3/16:0":    "127.1.0.0/16:0",
		"127.0.0.1:161":     "127.0.0.1/32:161",
		"127.0.0.0/8:65535": "127.0.0.0/8:65535",
	} {
		if l, err := ParseListen(in); err != nil || l.String() != want {
			t.Errorf("%q: %s, %v; want %s", in, l, err, want)
		}
	}
	for in, want := range map[string]string{
		"":                 "has no port",
		"127.1.0.0/16":     "has no port",
		"127.1.0.0/16:x":   "not a number",
		"127.1.0.0/16:-1":  "not a number",
		"127.1.0.0/33:161": "not an address range",
		"10.0.0.0/8:161":   "not within 127.0.0.0/8",
		"0.0.0.0/0:161":    "not within 127.0.0.0/8",
		"126.0.0.0/7:161":  "not within 127.0.0.0/8",
		"::1/128:161":      "not within 127.0.0.0/8",
		"localhost:161":    "not an address range",
	} {
		if l, err := ParseListen(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %s, %v; want an error that says %q", in, l, err, want)
		}
	}
}
