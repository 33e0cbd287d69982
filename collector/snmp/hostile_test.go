package snmp

import (
	"context"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/simulate"
)

// newFleet runs simulated devices until the test ends.
func newFleet(t testing.TB, devices ...simulate.Device) *simulate.Fleet {
	t.Helper()
	f, err := simulate.New(simulate.Config{Listen: simulate.Listen{Prefix: netip.MustParsePrefix("127.78.0.0/16")}, Devices: devices})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	<-f.Ready()
	return f
}

func TestHostileAnswers(t *testing.T) {
	f := newFleet(t, simulate.Device{ID: "sw", Class: simulate.Switch, Ports: 8, Addr: netip.MustParseAddrPort("127.78.0.1:0")})
	address := f.Devices()[0].Addr.String()
	for name, c := range map[string]struct {
		fault   simulate.FaultKind
		status  event.Status
		message string
		reason  string // counted among dropped packets; "" when any will do
	}{
		"an answer from a stranger":       {simulate.Stranger, event.StatusTimeout, "answers came from 127.255.255.254:", "stranger"},
		"an answer with an old id":        {simulate.WrongID, event.StatusTimeout, "no answer to 2 requests", "unknown-id"},
		"garbage":                         {simulate.Garbage, event.StatusError, "what came back is no SNMP message", "garbage"},
		"a target that is down":           {simulate.Down, event.StatusTimeout, "no answer to 2 requests", ""},
		"a target that is well once more": {simulate.Clear, event.StatusOK, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPoller(t, quick)
			if err := f.Fault("sw", simulate.Fault{Kind: c.fault}); err != nil {
				t.Fatal(err)
			}
			defer f.Fault("sw", simulate.Fault{Kind: simulate.Clear})
			want(t, p.Poll(t.Context(), job(address, "")), c.status, c.message)
			if c.reason != "" && testutil.ToFloat64(p.transport.dropped.WithLabelValues(c.reason)) == 0 {
				t.Errorf("no packet was counted as %s", c.reason)
			}
			if len(p.transport.pending) != 0 {
				t.Errorf("%d calls are left", len(p.transport.pending))
			}
		})
	}
}

// A cut answer is an error or silence, depending on where it was cut; what was read before it stays.
func TestCutAnswersAreNeverWhole(t *testing.T) {
	a := newSwitch(t, 20)
	p := newPoller(t, "")
	want(t, p.Poll(t.Context(), job(a.address(), "")), event.StatusOK, "")
	var whole atomic.Int64
	a.set(nil, func(b []byte) []byte { whole.Store(int64(len(b))); return b })
	p.Poll(t.Context(), job(a.address(), ""))
	c := p.credentials["lab"]
	c.Timeout, c.Retries = 20*time.Millisecond, 0
	p.credentials["lab"] = c
	for keep := 1; keep < int(whole.Load()); keep += 19 {
		a.set(nil, func(b []byte) []byte { return b[:min(keep, len(b)-1)] })
		r := p.Poll(t.Context(), job(a.address(), ""))
		switch r.Status {
		case event.StatusError, event.StatusTimeout:
		default:
			t.Fatalf("an answer cut to %d octets gives %s, %s", keep, r.Status, r.Message)
		}
	}
}

func TestAnAnswerThatCannotBeDecodedIsAskedForAgain(t *testing.T) {
	a := newSwitch(t, 5)
	n := 0
	a.set(nil, func(b []byte) []byte {
		if n++; n == 1 {
			return b[:len(b)-3]
		}
		return b
	})
	want(t, newPoller(t, quick).Poll(t.Context(), job(a.address(), "")), event.StatusOK, "")
}

func TestALostPacketIsAskedForAgain(t *testing.T) {
	f := newFleet(t, simulate.Device{ID: "sw", Class: simulate.Switch, Ports: 48, Addr: netip.MustParseAddrPort("127.78.0.2:0")})
	if err := f.Fault("sw", simulate.Fault{Kind: simulate.Lossy, Percent: 20}); err != nil {
		t.Fatal(err)
	}
	p := newPoller(t, "timeout: 40ms, retries: 10")
	for range 5 {
		want(t, p.Poll(t.Context(), job(f.Devices()[0].Addr.String(), "")), event.StatusOK, "")
	}
}

func TestARebootMovesTheTimeOfBoot(t *testing.T) {
	f := newFleet(t, simulate.Device{ID: "sw", Class: simulate.Switch, Ports: 2, Addr: netip.MustParseAddrPort("127.78.0.3:0")})
	p := newPoller(t, "")
	address := f.Devices()[0].Addr.String()
	first := p.Poll(t.Context(), job(address, ""))
	for range 3 {
		if r := p.Poll(t.Context(), job(address, "")); !r.Booted.Equal(first.Booted) || r.Booted.IsZero() {
			t.Fatalf("booted at %s, then at %s", first.Booted, r.Booted)
		}
	}
	if err := f.Fault("sw", simulate.Fault{Kind: simulate.Reboot, Duration: 1}); err != nil {
		t.Fatal(err)
	}
	p = withRetries(p, 10)
	if r := p.Poll(t.Context(), job(address, "")); !r.Booted.After(first.Booted) {
		t.Fatalf("booted at %s after a reboot, before at %s; %s", r.Booted, first.Booted, r.Message)
	}
}

func withRetries(p *Poller, n int) *Poller {
	c := p.credentials["lab"]
	c.Retries = n
	p.credentials["lab"] = c
	return p
}
