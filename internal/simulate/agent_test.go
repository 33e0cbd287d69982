package simulate

import (
	"fmt"
	"math/big"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gosnmp/gosnmp"
)

func TestGetAnswersValuesAndTellsWhatIsMissing(t *testing.T) {
	t.Parallel()
	f := start(t, Config{Listen: testListen(t), Devices: uniform(t, 1, Switch, 4)})
	g := client(t, f.Devices()[0].Addr, gosnmp.Version2c)
	p, err := g.Get([]string{
		".1.3.6.1.2.1.1.5.0", ".1.3.6.1.2.1.2.1.0", ".1.3.6.1.2.1.31.1.1.1.6.4",
		".1.3.6.1.2.1.2.2.1.8.5", ".1.3.6.1.2.1.1.3", ".1.3.6.1.2.1.1.3.0.0",
		".1.3.6.1.2.1.99.1.0", ".1.3.6.1.2.1.2.2.1.12.1", ".1.3.6.1.2.1.2.2.1",
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, v := range p.Variables {
		got = append(got, v.Type.String())
	}
	want := []string{
		"OctetString", "Integer", "Counter64", // values
		"NoSuchInstance", "NoSuchInstance", "NoSuchInstance", // a known type without such an instance
		"NoSuchObject", "NoSuchObject", "NoSuchObject", // no such type
	}
	if !slices.Equal(got, want) {
		t.Errorf("types are %v, want %v", got, want)
	}
	if name := string(p.Variables[0].Value.([]byte)); name != "switch-1" {
		t.Errorf("sysName is %q", name)
	}
	if p.Variables[1].Value != 4 {
		t.Errorf("ifNumber is %v", p.Variables[1].Value)
	}
}

func TestGetNextVisitsTheWholeTreeInOrderAndEnds(t *testing.T) {
	t.Parallel()
	devices := []Device{}
	for i, d := range uniform(t, 2, Switch, 3) {
		if i == 1 {
			d.Class = Server
		}
		devices = append(devices, d)
	}
	f := start(t, Config{Listen: testListen(t), Devices: devices})
	for _, d := range f.Devices() {
		g := client(t, d.Addr, gosnmp.Version2c)
		want := names(f.byID[d.ID].tree)
		if got := walk(t, g, func(oid string) (*gosnmp.SnmpPacket, error) { return g.GetNext([]string{oid}) }); !slices.Equal(got, want) {
			t.Errorf("%s: GetNext visits %d objects, the tree has %d", d.ID, len(got), len(want))
		}
		for _, reps := range []uint32{1, 7, 1000} {
			got := walk(t, g, func(oid string) (*gosnmp.SnmpPacket, error) { return g.GetBulk([]string{oid}, 0, reps) })
			if !slices.Equal(got, want) {
				t.Errorf("%s: GetBulk of %d visits %d objects, the tree has %d", d.ID, reps, len(got), len(want))
			}
		}
	}
}

func names(t tree) []string {
	out := make([]string, len(t))
	for i, o := range t {
		out[i] = dotted(o.oid)
	}
	return out
}

func dotted(oid []uint32) string {
	var b strings.Builder
	for _, a := range oid {
		fmt.Fprintf(&b, ".%d", a)
	}
	return b.String()
}

// walk follows a request until endOfMibView and returns the names it saw.
func walk(t *testing.T, g *gosnmp.GoSNMP, ask func(oid string) (*gosnmp.SnmpPacket, error)) []string {
	t.Helper()
	var seen []string
	for oid := ".1.3"; ; {
		p, err := ask(oid)
		if err != nil || p.Error != gosnmp.NoError {
			t.Fatalf("after %s: %v, %v", oid, err, p)
		}
		for _, v := range p.Variables {
			if v.Type == gosnmp.EndOfMibView {
				return seen
			}
			seen = append(seen, v.Name)
			oid = v.Name
		}
	}
}

func TestGetBulkRepeatsOnlyTheRepeatersAndInterleavesThem(t *testing.T) {
	t.Parallel()
	f := start(t, Config{Listen: testListen(t), Devices: uniform(t, 1, Switch, 3)})
	g := client(t, f.Devices()[0].Addr, gosnmp.Version2c)
	p, err := g.GetBulk([]string{".1.3.6.1.2.1.1.3", ".1.3.6.1.2.1.2.2.1.1", ".1.3.6.1.2.1.31.1.1.1.19.1"}, 1, 4)
	if err != nil {
		t.Fatal(err)
	}
	const index, last = ".1.3.6.1.2.1.2.2.1.1.", ".1.3.6.1.2.1.31.1.1.1.19."
	want := []string{
		upTimeOID,
		index + "1", last + "2",
		index + "2", last + "3",
		index + "3", last + "3", // the tree ends here
		".1.3.6.1.2.1.2.2.1.2.1", last + "3",
	}
	var got []string
	for _, v := range p.Variables {
		got = append(got, v.Name)
	}
	if !slices.Equal(got, want) {
		t.Errorf("names are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for i, v := range p.Variables {
		if end := v.Type == gosnmp.EndOfMibView; end != (i == 6 || i == 8) {
			t.Errorf("binding %d has type %s", i, v.Type)
		}
	}
	for _, c := range []struct{ nonRepeaters, repetitions, want int }{{0, 0, 0}, {2, 0, 2}, {9, 5, 2}, {0, 1, 2}} {
		p, err := g.GetBulk([]string{".1.3.6.1.2.1.1", ".1.3.6.1.2.1.2"}, uint8(c.nonRepeaters), uint32(c.repetitions))
		if err != nil || len(p.Variables) != c.want {
			t.Errorf("non-repeaters %d, repetitions %d: %d bindings (%v), want %d", c.nonRepeaters, c.repetitions, len(p.Variables), err, c.want)
		}
	}
}

func TestResponsesNeverExceedTheMaximumMessageSize(t *testing.T) {
	t.Parallel()
	d := newTestDevice(Device{ID: "big", Class: Switch, Ports: 48}, epoch)
	for _, limit := range []int{484, 1000, 1472, 8000} {
		a := agent{maxMessage: limit, community: "public"}
		reply := d.ask(t, &a, gosnmp.GetBulkRequest, 1000, ".1.3.6.1.2.1.2.2.1.2", ".1.3.6.1.2.1.31.1.1.1.6")
		if len(reply) > limit || len(reply) < limit-80 {
			t.Errorf("a limit of %d gives a response of %d octets", limit, len(reply))
		}
	}
	a := agent{maxMessage: 484, community: "public"}
	var many []string
	for i := range 30 {
		many = append(many, fmt.Sprintf(".1.3.6.1.2.1.2.2.1.2.%d", i+1))
	}
	p := decodeReply(t, d.ask(t, &a, gosnmp.GetRequest, 0, many...))
	if p.Error != gosnmp.TooBig || len(p.Variables) != 0 {
		t.Errorf("a Get that does not fit gives %s with %d bindings, want tooBig with none", p.Error, len(p.Variables))
	}
}

func TestVersion1HasNoCounter64AndItsOwnErrors(t *testing.T) {
	t.Parallel()
	f := start(t, Config{Listen: testListen(t), Devices: uniform(t, 1, Switch, 2)})
	g := client(t, f.Devices()[0].Addr, gosnmp.Version1)
	for _, c := range []struct {
		oids  []string
		index uint8
	}{
		{[]string{".1.3.6.1.2.1.1.5.0", ".1.3.6.1.2.1.99.1.0"}, 2},
		{[]string{".1.3.6.1.2.1.31.1.1.1.6.1"}, 1}, // ifHCInOctets
	} {
		p, err := g.Get(c.oids)
		if err != nil || p.Error != gosnmp.NoSuchName || p.ErrorIndex != c.index {
			t.Errorf("%v: %v, %v; want noSuchName at %d", c.oids, p, err, c.index)
		}
	}
	p, err := g.GetNext([]string{".1.3.6.1.2.1.31.1.1.1.5.2"})
	if err != nil || p.Variables[0].Name != ".1.3.6.1.2.1.31.1.1.1.14.1" {
		t.Errorf("GetNext before the Counter64 columns: %v, %v; want the first column behind them", p, err)
	}
	if p, err = g.GetNext([]string{".1.3.6.1.2.1.31.1.1.1.19.2"}); err != nil || p.Error != gosnmp.NoSuchName {
		t.Errorf("GetNext at the end: %v, %v; want noSuchName", p, err)
	}
}

func TestWrongCommunityAndSetAreNotServed(t *testing.T) {
	t.Parallel()
	f := start(t, Config{Listen: testListen(t), Devices: uniform(t, 1, Switch, 2), Community: "secret"})
	addr := f.Devices()[0].Addr
	if impatient(t, addr) == nil {
		t.Error("a wrong community is answered")
	}
	if s := f.Stats(); s.Refused != 1 || s.Answers != 0 {
		t.Errorf("stats are %+v", s)
	}
	g := client(t, addr, gosnmp.Version2c)
	g.Community = "secret"
	p, err := g.Set([]gosnmp.SnmpPDU{{Name: ".1.3.6.1.2.1.1.5.0", Type: gosnmp.OctetString, Value: "x"}})
	if err != nil || p.Error != gosnmp.NoAccess {
		t.Errorf("Set: %v, %v; want noAccess", p, err)
	}
}

var (
	netSNMPLine  = regexp.MustCompile(`^(\.[0-9.]+) = (\S+): ?(.*)$`)
	netSNMPEmpty = regexp.MustCompile(`^(\.[0-9.]+) = ""$`)
)

// TestNetSNMPReadsWhatGosnmpReads walks devices with both and compares. What
// moves between two reads is compared by type.
func TestNetSNMPReadsWhatGosnmpReads(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"snmpwalk", "snmpbulkwalk"} {
		t.Run(tool, func(t *testing.T) {
			path, err := exec.LookPath(tool)
			if err != nil {
				t.Skipf("%s is not installed", tool)
			}
			devices := uniform(t, 2, Switch, 12)
			devices[1].Class = VM
			f := start(t, Config{Listen: testListen(t), Devices: devices})
			for _, d := range f.Devices() {
				out, err := exec.Command(path, "-v2c", "-c", "public", "-On", "-OQ", "-Ot", "-r0", "-t5", "-m", "", d.Addr.String(), ".1.3").CombinedOutput()
				if err != nil {
					t.Fatalf("%s: %v\n%s", tool, err, out)
				}
				lines := strings.Split(strings.TrimSpace(string(out)), "\n")
				var got []string
				for _, l := range lines {
					if name, _, ok := strings.Cut(l, " = "); ok && strings.HasPrefix(name, ".1") && !strings.Contains(l, "No more variables") {
						got = append(got, name)
					}
				}
				if want := names(f.byID[d.ID].tree); !slices.Equal(got, want) {
					t.Fatalf("%s: %s saw %d objects, the tree has %d:\n%s", d.ID, tool, len(got), len(want), out)
				}
				compareWithGosnmp(t, path, d)
				if tool == "snmpwalk" {
					walkVersion1(t, path, d, f.byID[d.ID].tree)
				}
			}
		})
	}
}

func compareWithGosnmp(t *testing.T, tool string, d Device) {
	t.Helper()
	out, err := exec.Command(tool, "-v2c", "-c", "public", "-One", "-m", "", "-Oxt", "-r0", "-t5", d.Addr.String(), ".1.3").Output()
	if err != nil {
		t.Fatal(err)
	}
	pdus, err := client(t, d.Addr, gosnmp.Version2c).BulkWalkAll(".1.3")
	if err != nil {
		t.Fatal(err)
	}
	theirs := map[string]gosnmp.SnmpPDU{}
	for _, p := range pdus {
		theirs[p.Name] = p
	}
	compared := 0
	for line := range strings.SplitSeq(strings.TrimSpace(string(out)), "\n") {
		if netSNMPEmpty.MatchString(line) {
			continue
		}
		m := netSNMPLine.FindStringSubmatch(line)
		if m == nil {
			continue // the rest of a long hex string
		}
		pdu, ok := theirs[m[1]]
		if !ok {
			t.Errorf("gosnmp did not see %s", line)
			continue
		}
		switch m[2] {
		case "INTEGER":
			// Loads and levels move; addresses of interfaces do not.
			if strings.HasPrefix(m[1], ".1.3.6.1.2.1.2.") && gosnmp.ToBigInt(pdu.Value).String() != m[3] {
				t.Errorf("%s, but gosnmp reads %v", line, pdu.Value)
			}
		case "Counter64", "Counter32":
			v, _ := new(big.Int).SetString(m[3], 10)
			if v == nil || v.Cmp(gosnmp.ToBigInt(pdu.Value)) > 0 && m[2] == "Counter64" {
				t.Errorf("%s, but gosnmp reads %v later", line, pdu.Value)
			}
		case "OID":
			if pdu.Value != m[3] && pdu.Value != "."+m[3] && !(m[3] == ".0.0") {
				t.Errorf("%s, but gosnmp reads %v", line, pdu.Value)
			}
		case "Gauge32":
			if strings.HasPrefix(m[1], ".1.3.6.1.2.1.2.") && gosnmp.ToBigInt(pdu.Value).String() != m[3] {
				t.Errorf("%s, but gosnmp reads %v", line, pdu.Value)
			}
		}
		compared++
	}
	if compared < len(pdus)*3/4 {
		t.Errorf("only %d of %d lines could be compared", compared, len(pdus))
	}
}

// walkVersion1 sees everything but the Counter64 columns.
func walkVersion1(t *testing.T, tool string, d Device, tree tree) {
	t.Helper()
	var want, got []string
	for _, o := range tree {
		if !o.field.counter64() {
			want = append(want, dotted(o.oid))
		}
	}
	// snmpwalk ends a v1 walk at noSuchName with code 0 or 2, as its version has it.
	out, _ := exec.Command(tool, "-v1", "-c", "public", "-On", "-OQ", "-r0", "-t5", "-m", "", d.Addr.String(), ".1.3").Output()
	for line := range strings.SplitSeq(string(out), "\n") {
		if name, _, ok := strings.Cut(line, " = "); ok && strings.HasPrefix(name, ".1") {
			got = append(got, name)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s: a v1 walk sees %d objects, want %d\n%s", d.ID, len(got), len(want), out)
	}
}
