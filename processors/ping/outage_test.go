package ping_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/bus/mem"
	"kemi.dev/kemi/internal/obs"
	"kemi.dev/kemi/processors/ping"
)

// outage is a broker that can be away: what is published then waits for it, for half a minute at most, as with NATS.
type outage struct {
	driver.Driver
	mu   sync.Mutex
	back chan struct{} // While it is away; it is closed when it is back.
}

func (o *outage) begin() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.back = make(chan struct{})
}

func (o *outage) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.back)
	o.back = nil
}

func (o *outage) Publish(ctx context.Context, records []driver.Record, f *driver.Fence) error {
	o.mu.Lock()
	back := o.back
	o.mu.Unlock()
	if back != nil {
		ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		select {
		case <-back:
		case <-ctx.Done():
			return errors.Join(driver.ErrAway, ctx.Err())
		}
	}
	return o.Driver.Publish(ctx, records, f)
}

// watching runs a room, until the returned function is called.
func watching(t *testing.T, o ping.Options) (stop func()) {
	r, err := ping.New(o)
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	return func() {
		cancel()
		must(t, <-done)
	}
}

// verdicts are those on findings.v1, without what is said again.
func verdicts(t *testing.T, b *bus.Bus) (said string, firing *event.Finding) {
	must(t, b.Read(t.Context(), bus.Span{Topic: "findings.v1", To: time.Now().Add(time.Hour)}, func(batch []bus.Raw) error {
		for _, raw := range batch {
			e, err := raw.Event()
			if err != nil {
				return err
			}
			one := e.(*event.Finding)
			if v := string(one.Verdict); !strings.HasSuffix(said, v) {
				said = strings.TrimSpace(said + " " + v)
			}
			if one.Verdict == event.VerdictFiring {
				firing = one
			}
		}
		return nil
	}))
	return said, firing
}

// A job that pings punctually is not said to be missing because the bus was away when its ping came, for however long, and
// whenever that began; one that stops is.
func TestAnOutageOfTheBusIsNotHeldAgainstTheSender(t *testing.T) {
	for _, lasts := range []time.Duration{6 * time.Second, 13 * time.Second, 29 * time.Second, 97 * time.Second, 171 * time.Second} {
		for begins := 20; begins <= 50; begins += 2 { // Seconds after the job began.
			synctest.Test(t, func(t *testing.T) {
				d := &outage{Driver: mem.New()}
				b := bus.New(d, bus.Settings{}, obs.Scope{})
				must(t, b.Open(t.Context()))
				defer b.Close()
				began := time.Now()
				wait := func(until time.Duration) { <-time.After(time.Until(began.Add(until))) }
				stop := watching(t, ping.Options{Bus: b, Watches: map[string]ping.Watch{"backup": {Every: 30 * time.Second, Grace: 10 * time.Second, Severity: "critical"}}})
				defer stop()
				go func() {
					for i := range 12 {
						wait(time.Duration(i) * 30 * time.Second)
						_ = b.PublishPromptly(t.Context(), &event.Command{Kind: event.Ping, Subject: "backup", At: time.Now()})
					}
				}()
				away := time.Duration(begins)*time.Second + 300*time.Millisecond
				wait(away)
				d.begin()
				wait(away + lasts)
				d.end()
				wait(12 * 30 * time.Second)
				if said, f := verdicts(t, b); strings.Contains(said, "firing") {
					t.Errorf("away from second %d for %s: said %s: %s", begins, lasts, said, f.Reason.Text)
				}
				wait(13 * 30 * time.Second)
				if said, _ := verdicts(t, b); !strings.HasSuffix(said, "firing") {
					t.Errorf("away from second %d for %s, and then the job died: said %s", begins, lasts, said)
				}
			})
		}
	}
}

// Where several processes may take pings, one that was there all the time would have taken them; when none was, as far as
// is known, the sender has time.
func TestWhenNobodyWasThereIsKnownOnASharedBus(t *testing.T) {
	for name, c := range map[string]struct {
		another bool
		want    string
	}{"no process at all": {false, "ok unknown ok"}, "another process": {true, "ok firing ok"}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := mem.New()
				b := bus.New(d, bus.Settings{}, obs.Scope{})
				must(t, b.Open(t.Context()))
				defer b.Close()
				say := func() {
					must(t, b.Publish(t.Context(), &event.Command{Kind: event.Ping, Subject: "backup", At: time.Now()}))
				}
				o := ping.Options{Bus: b, Watches: map[string]ping.Watch{"backup": {Every: 30 * time.Second, Grace: 10 * time.Second, Severity: "critical"}}}
				say()
				first := bus.New(d.Open(), bus.Settings{}, obs.Scope{})
				must(t, first.Open(t.Context()))
				owner := o
				owner.Bus = first
				stop := watching(t, owner)
				<-time.After(5 * time.Second)
				if c.another {
					defer watching(t, o)()
				}
				<-time.After(15 * time.Second)
				first.Close() // It is killed, as far as others see.
				stop()
				<-time.After(30 * time.Second)
				if !c.another {
					defer watching(t, o)()
				}
				<-time.After(12 * time.Second)
				say()
				<-time.After(5 * time.Second)
				if said, _ := verdicts(t, b); said != c.want {
					t.Errorf("said %q, want %q", said, c.want)
				}
			})
		})
	}
}

// When the last ping came is shown from the start, and not only after the next one.
func TestTheLastPingIsShownAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bus.New(mem.New(), bus.Settings{}, obs.Scope{})
		must(t, b.Open(t.Context()))
		defer b.Close()
		at := time.Now()
		must(t, b.Publish(t.Context(), &event.Command{Kind: event.Ping, Subject: "backup", At: at}))
		for range 2 {
			reg := prometheus.NewRegistry()
			stop := watching(t, ping.Options{Bus: b, Scope: obs.New(nil, reg), Watches: map[string]ping.Watch{"backup": nightly, "never": nightly}})
			<-time.After(3 * time.Second)
			got := map[string]float64{}
			families, err := reg.Gather()
			must(t, err)
			for _, f := range families {
				if f.GetName() == "kemi_ping_last_timestamp_seconds" {
					for _, m := range f.GetMetric() {
						got[m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue()
					}
				}
			}
			if len(got) != 1 || got["backup"] != float64(at.Unix()) {
				t.Errorf("shown %v, want backup at %d", got, at.Unix())
			}
			stop()
			<-time.After(time.Hour)
		}
	})
}
