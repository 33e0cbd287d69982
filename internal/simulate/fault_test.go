package simulate

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseFaultReadsEveryFaultAndStringWritesItBack(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]Fault{
		"down":                   {Kind: Down},
		"clear":                  {Kind: Clear},
		" slow  2s\n":            {Kind: Slow, Duration: 2 * time.Second},
		"reboot 10s":             {Kind: Reboot, Duration: 10 * time.Second},
		"flap 5s":                {Kind: Flap, Duration: 5 * time.Second},
		"counter wrap":           {Kind: CounterWrap},
		"lossy 10%":              {Kind: Lossy, Percent: 10},
		"lossy 0.5%":             {Kind: Lossy, Percent: 0.5},
		"port 3 down":            {Kind: PortDown, Port: 3},
		"port 3 up":              {Kind: PortUp, Port: 3},
		"interface 12 flap 10s":  {Kind: PortFlap, Port: 12, Duration: 10 * time.Second},
		"garbage":                {Kind: Garbage},
		"truncated":              {Kind: Truncated},
		"wrong-id":               {Kind: WrongID},
		"stranger":               {Kind: Stranger},
		"unhealthy":              {Kind: Unhealthy},
		"slow 1500ms":            {Kind: Slow, Duration: 1500 * time.Millisecond},
		"port 1024 flap 1m30.5s": {Kind: PortFlap, Port: 1024, Duration: 90500 * time.Millisecond},
	} {
		got, err := ParseFault(in)
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v; want %+v", in, got, err, want)
		}
		if again, err := ParseFault(got.String()); err != nil || again != want {
			t.Errorf("%q is written as %q, which reads as %+v, %v", in, got, again, err)
		}
	}
	if f, err := ParseFault("up"); err != nil || f.Kind != Clear {
		t.Errorf("up: %+v, %v", f, err)
	}
	if f, err := ParseFault("reboot"); err != nil || f.Duration != rebootSilence {
		t.Errorf("reboot: %+v, %v", f, err)
	}
}

func TestParseFaultSaysWhatIsWrongAndWhatToWrite(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                  "empty fault",
		"dwon":              `did you mean "down"`,
		"explode":           "use one of: down, clear, slow 2s",
		"down now":          `has 1 values after "down", not 0`,
		"slow":              `has 0 values after "slow", not 1`,
		"slow 2":            `"2" is not a duration`,
		"slow -2s":          "use more than 0",
		"slow 999h":         "use more than 0 and at most 24h",
		"flap 1ms":          "use 100ms to 24h",
		"lossy ten":         `"ten" is not a percentage`,
		"lossy 0%":          "use more than 0%",
		"lossy 101%":        "at most 100%",
		"lossy NaN":         "use more than 0%",
		"counter":           "unknown fault",
		"port":              "names no port or no state",
		"port 0 down":       "not a number from 1",
		"port x down":       `port "x" is not a number`,
		"port 3 sideways":   "a port can be",
		"port 3 down extra": "a port can be",
		"port 3 flap":       "a port can be",
		"port 3 flap soon":  "not a duration",
		"reboot 1s 2s":      "has 2 values",
	} {
		if f, err := ParseFault(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, %v; want an error that says %q", in, f, err, want)
		}
	}
}

func FuzzParseFault(f *testing.F) {
	for _, s := range []string{"down", "slow 2s", "lossy 10%", "port 3 flap 10s", "counter wrap", "reboot", "lossy 1e-300%"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		fault, err := ParseFault(s)
		if err != nil {
			return
		}
		if again, err := ParseFault(fault.String()); err != nil || again != fault {
			t.Errorf("%q reads as %+v, is written as %q and reads as %+v, %v then", s, fault, fault, again, err)
		}
	})
}

func TestFaultsThatADeviceCannotHaveAreRefused(t *testing.T) {
	t.Parallel()
	sw, svc := Device{ID: "sw", Class: Switch, Ports: 4}, Device{ID: "svc", Class: Service}
	for _, c := range []struct {
		fault string
		d     Device
		want  string
	}{
		{"port 5 down", sw, "sw has 4 ports"},
		{"port 4 down", sw, ""},
		{"unhealthy", sw, "for services"},
		{"port 1 down", svc, "svc has 0 ports"},
		{"counter wrap", svc, "no SNMP agent"},
		{"stranger", svc, "no SNMP agent"},
		{"flap 5s", svc, ""},
	} {
		f, err := ParseFault(c.fault)
		if err != nil {
			t.Fatal(err)
		}
		err = f.fits(c.d)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s on %s: %v, want %q", c.fault, c.d.ID, err, c.want)
		}
	}
	if err := (Fault{Kind: "nonsense"}).fits(sw); err == nil {
		t.Error("a fault that no parser made is accepted")
	}
}

func TestStateListsItsFaultsAndClearRemovesThemAll(t *testing.T) {
	t.Parallel()
	st := &state{boot: epoch}
	all := []string{"down", "reboot 10s", "flap 5s", "slow 2s", "lossy 7%", "garbage", "unhealthy", "port 2 down", "port 3 flap 1s"}
	for _, s := range all {
		f, err := ParseFault(s)
		if err != nil {
			t.Fatal(err)
		}
		st = st.apply(f, epoch)
	}
	if diff := cmp.Diff(all, st.faults(epoch)); diff != "" {
		t.Error(diff)
	}
	st = st.apply(Fault{Kind: Clear}, epoch.Add(time.Second))
	if got := st.faults(epoch.Add(time.Second)); len(got) != 0 || !st.answering(epoch.Add(time.Second)) {
		t.Errorf("after clear: %v", got)
	}
}

func TestAFlappingDeviceIsDownInTheFirstHalfOfEveryPeriod(t *testing.T) {
	t.Parallel()
	st := (&state{boot: epoch}).apply(Fault{Kind: Flap, Duration: 10 * time.Second}, epoch)
	for s := range 40 {
		now := epoch.Add(time.Duration(s) * time.Second)
		if got, want := st.answering(now), s%10 >= 5; got != want {
			t.Errorf("second %d: answering=%t", s, got)
		}
		if next := st.next(now).Sub(epoch); next != time.Duration(s/5+1)*5*time.Second {
			t.Errorf("second %d: the next change is at %s", s, next)
		}
	}
}
