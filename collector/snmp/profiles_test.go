package snmp

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestShippedProfiles(t *testing.T) {
	_, problems := loadProfiles("")
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	got := map[string][]string{}
	columns := 0
	for _, p := range Profiles() {
		for _, tb := range p.Tables {
			got[p.Name] = append(got[p.Name], tb.Name)
			if p.Name == "interfaces" && tb.Name == "interfaces" {
				columns = len(tb.Columns)
			}
		}
		if p.Help == "" {
			t.Errorf("profile %s has no help", p.Name)
		}
	}
	want := map[string][]string{
		"system": {"system"}, "interfaces": {"system", "interfaces"},
		"host-resources": {"system", "host-resources", "interfaces", "processors", "storage"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if columns != 11 { // The standard poll that speed is measured by.
		t.Errorf("%d columns of interfaces, want 11", columns)
	}
}

func TestTargetsInOneWord(t *testing.T) {
	n, address, err := ParseURI("2c:pub:l@ic@10.0.0.1:1161")
	c := Default()
	if err == nil {
		err = n.Get("snmp").Into(&c).Err()
	}
	if err != nil || address != "10.0.0.1:1161" || c.Community.Reveal() != "pub:l@ic" || c.Version != "2c" {
		t.Errorf("%s, %q, %v", address, c.Community.Reveal(), err)
	}
	for _, bad := range []string{"", "2c", "2c:public", "2c:public@", "2c:@host", "3:public@host", "2c:public@host:port", "x:public@host", "2c:public@a/b"} {
		if _, _, err := ParseURI(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestAddresses(t *testing.T) {
	for in, want := range map[string]struct{ addr, name string }{
		"10.0.0.1": {"10.0.0.1:161", ""}, "10.0.0.1:1161": {"10.0.0.1:1161", ""}, "[2001:db8::1]:5": {"[2001:db8::1]:5", ""},
		"2001:db8::1": {"[2001:db8::1]:161", ""}, "[::ffff:10.0.0.1]:7": {"10.0.0.1:7", ""}, "sw1": {"", "sw1:161"}, "sw1.dc:99": {"", "sw1.dc:99"},
	} {
		addr, name, err := splitAddress(in, 161)
		if err != nil || name != want.name || (name == "" && addr.String() != want.addr) {
			t.Errorf("%s: %s, %q, %v", in, addr, name, err)
		}
	}
	for _, bad := range []string{"", ":161", "host:0", "host:70000", "http://host", "10.0.0.1:0", "a b"} {
		if _, _, err := splitAddress(bad, 161); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestTheTimeOfBootIsSteady(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	boot := booted(time.Time{}, now, time.Hour)
	if !boot.Equal(now.Add(-time.Hour)) {
		t.Fatalf("booted at %s", boot)
	}
	for _, jitter := range []time.Duration{-steady, -time.Second, time.Millisecond, steady} {
		if got := booted(boot, now.Add(time.Minute+jitter), time.Hour+time.Minute); !got.Equal(boot) {
			t.Errorf("jitter of %s moved it to %s", jitter, got)
		}
	}
	if got := booted(boot, now.Add(time.Minute), 10*time.Second); !got.Equal(now.Add(50 * time.Second)) {
		t.Errorf("a reboot gives %s", got)
	}
	later := boot.Add(wrap + time.Hour)
	if got := booted(boot, later, time.Hour); !got.Equal(boot) {
		t.Errorf("a wrap of the uptime gives %s, want %s", got, boot)
	}
	if got := booted(boot, later.Add(time.Hour), time.Hour); got.Equal(boot) {
		t.Error("a reboot after the wrap was not seen")
	}
}

func TestValuesAsPeopleReadThem(t *testing.T) {
	for in, want := range map[string]string{
		"name": "name", "padded\x00\x00": "padded", " x \r\n": " x", "\x00\x1b\x21": "00:1b:21", "": "", "\x00": "", "zürich": "zürich", "z\xfcrich": "7a:fc:72:69:63:68",
	} {
		if got := text([]byte(in)); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
	number := func(tag byte, content string) any {
		b := binding{tag: tag, value: []byte(content)}
		if v, ok := b.gauge(); ok {
			return v
		}
		return nil
	}
	for _, c := range []struct {
		tag     byte
		content string
		want    any
	}{
		{tagInteger, "\xff\xfe", -2.0},
		{tagInteger, "", nil},
		{tagGauge32, "\x00\xff\xff\xff\xff", 4294967295.0},
		{tagGauge32, "\xff\xff\xff\xff", 4294967295.0},
		{tagGauge32, "\x01\x00\x00\x00\x00", nil},
		{tagCounter64, "\x00\xff\xff\xff\xff\xff\xff\xff\xff", 18446744073709551615.0},
		{tagCounter64, "123456789", nil},
		{tagOctets, "0.15", 0.15},
		{tagOctets, " 7 ", 7.0},
		{tagOctets, "NaN", nil},
		{tagOctets, "n/a", nil},
		{tagOpaque, "\x9f\x78\x04\x3f\xc0\x00\x00", 1.5},
		{tagOpaque, "\x9f\x79\x08\x3f\xf8\x00\x00\x00\x00\x00\x00", 1.5},
		{tagOpaque, "\x9f\x78\x04\x7f\xc0\x00\x00", nil},
		{tagIPAddress, "\x7f\x00\x00\x01", nil},
	} {
		if got := number(c.tag, c.content); got != c.want {
			t.Errorf("%x %q is %v, want %v", c.tag, c.content, got, c.want)
		}
	}
}
