package ping_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/bus/mem"
	"kemi.dev/kemi/internal/obs"
	"kemi.dev/kemi/processors/ping"
)

// A job that pings as it should is never said to be missing because Kemi was away, and one that is dead always is, an
// interval later than otherwise at most.
func TestWhatKemiMissedIsNotHeldAgainstTheSender(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := ping.Watch{Every: 10 * time.Minute, Grace: time.Duration(rapid.IntRange(0, 5).Draw(t, "grace")) * time.Minute, Severity: "critical", Team: "db"}
		watches := map[string]ping.Watch{"backup": w}
		jitter := int(w.Grace / time.Second / 2) // How many seconds later than meant, at most.
		dies := rapid.IntRange(1, 12).Draw(t, "dies after so many pings")
		d, f := ping.NewDesk(watches, nil, epoch), newFiring()
		d.Ping("backup", epoch)
		meant, sent, heard := epoch.Add(w.Every), 1, epoch
		lost := 0 // Pings in a row.
		var began time.Time
		down := 0 // Minutes that Kemi is away still.
		var next time.Time
		plan := func() { next = meant.Add(time.Duration(rapid.IntRange(0, jitter).Draw(t, "later")) * time.Second) }
		plan()
		end := epoch.Add(time.Duration(dies+5) * (w.Every + w.Grace))
		for now := epoch; now.Before(end); now = now.Add(10 * time.Second) {
			calm := !now.Before(end.Add(-4 * (w.Every + w.Grace)))
			switch {
			case down == 1: // It is back.
				data, err := json.Marshal(d.Known())
				if err != nil {
					t.Fatal(err)
				}
				known := map[string]ping.Known{}
				if err := json.Unmarshal(data, &known); err != nil {
					t.Fatal(err)
				}
				d = ping.NewDesk(watches, known, now)
				d.Away(began, now)
				down = 0
			case down > 1:
				down--
			case !calm && rapid.IntRange(0, 150).Draw(t, "away") == 0:
				began, down = now, rapid.IntRange(2, 60).Draw(t, "steps")
			}
			if sent < dies && !now.Before(next) {
				sent++
				meant = meant.Add(w.Every)
				plan()
				if down == 0 {
					d.Ping("backup", now)
					heard, lost = now, 0
				} else {
					lost++
				}
			}
			if down > 0 {
				continue
			}
			tick(d, f, now)
			alive := sent < dies || now.Before(heard.Add(w.Every+w.Grace))
			if f.String() != "" && alive && lost < 2 {
				t.Fatalf("at %s it is said that %s; the last ping that was heard came at %s, %d were lost", now.Sub(epoch), f, heard.Sub(epoch), lost)
			}
		}
		if f.String() != "PingMissing backup db critical" {
			t.Fatalf("it died after %s and %q fires", heard.Sub(epoch), f)
		}
	})
}

// However often Kemi is away, it does not put off what it has to say for ever.
func TestAnExcuseIsGrantedForOnePing(t *testing.T) {
	d, f := ping.NewDesk(map[string]ping.Watch{"backup": {Every: time.Hour, Grace: 10 * time.Minute, Severity: "critical"}}, nil, epoch), newFiring()
	d.Ping("backup", epoch)
	at := func(minutes int) time.Time { return epoch.Add(time.Duration(minutes) * time.Minute) }
	if got := d.Away(at(20), at(40)); len(got) != 0 {
		t.Errorf("nothing was due: %q", got)
	}
	if got := d.Away(at(45), at(55)); len(got) != 1 {
		t.Errorf("it may have come a little early: %q", got)
	}
	if got := d.Away(at(71), at(115)); len(got) != 0 {
		t.Errorf("for the next ping too: %q", got)
	}
	tick(d, f, at(139))
	if f.String() != "" {
		t.Errorf("it has until it is due again: %s", f)
	}
	tick(d, f, at(140))
	if f.String() == "" {
		t.Error("it never came")
	}
	for _, a := range f.all {
		if !strings.HasSuffix(a.Reason.Text, "no ping came since 2026-11-22 03:00:00 UTC; Kemi itself was away until 2026-11-22 03:55:00 UTC") {
			t.Error(a.Reason.Text)
		}
	}
	if got := d.Away(at(141), at(200)); len(got) != 0 {
		t.Errorf("what fires goes on: %q", got)
	}
	d.Ping("backup", at(201))
	tick(d, f, at(201))
	if got := d.Away(at(260), at(262)); f.String() != "" || len(got) != 1 {
		t.Errorf("%q fires, excused %q after the next ping", f, got)
	}
}

// slow is a broker whose groups get what is stored some seconds after a partition was assigned to them, as one does that
// is busy.
type slow struct{ driver.Driver }

type slowFeed struct {
	driver.Feed
	later []driver.Delivery
}

func (s slow) Subscribe(ctx context.Context, sub driver.Subscription) (driver.Feed, error) {
	f, err := s.Driver.Subscribe(ctx, sub)
	if err == nil && sub.Group != "" {
		f = &slowFeed{Feed: f}
	}
	return f, err
}

func (f *slowFeed) Next(ctx context.Context) ([]driver.Delivery, error) {
	if batch := f.later; len(batch) > 0 {
		f.later = nil
		<-time.After(4 * time.Second)
		return batch, nil
	}
	batch, err := f.Feed.Next(ctx)
	if i := slices.IndexFunc(batch, func(d driver.Delivery) bool { return d.Event == driver.Data }); i > 0 {
		batch, f.later = batch[:i], batch[i:]
	}
	return batch, err
}

// Whoever takes over knows every ping that is stored before it says that one is missing, however little may be late.
func TestWhoTakesOverKnowsEveryPingFirst(t *testing.T) {
	for _, many := range []int{0, 1000} { // Other commands to read first.
		synctest.Test(t, func(t *testing.T) {
			b := bus.New(slow{mem.New()}, bus.Settings{}, obs.Scope{})
			must(t, b.Open(t.Context()))
			defer b.Close()
			say := func(kind event.CommandKind, subject string) {
				must(t, b.Publish(t.Context(), &event.Command{Kind: kind, Subject: subject, At: time.Now()}))
			}
			watches := map[string]ping.Watch{"beat": {Every: 10 * time.Second, Severity: "critical"}}
			run := func(during time.Duration) {
				r, err := ping.New(ping.Options{Bus: b, Watches: watches})
				must(t, err)
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- r.Run(ctx) }()
				<-time.After(during)
				cancel()
				must(t, <-done)
			}
			say(event.Ping, "beat")
			run(5 * time.Second)
			for range 4 { // Nobody owns it, and others take the pings.
				<-time.After(9 * time.Second)
				for range many {
					say(event.Remark, "incident")
				}
				say(event.Ping, "beat")
			}
			run(5 * time.Second)
			must(t, b.Read(t.Context(), bus.Span{Topic: "findings.v1", To: time.Now().Add(time.Hour)}, func(batch []bus.Raw) error {
				for _, raw := range batch {
					e, err := raw.Event()
					if err != nil {
						return err
					}
					if one := e.(*event.Finding); one.Verdict != event.VerdictOK {
						t.Errorf("%d others: said %s: %s", many, one.Verdict, one.Reason.Text)
					}
				}
				return nil
			}))
		})
	}
}

// A process that was down when a ping was due gives its sender time, unless another is known to have been there.
func TestAnOutageOfOurOwnIsKnownAfterARestart(t *testing.T) {
	const want = "ok unknown firing"
	for _, alone := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			b := bus.New(mem.New(), bus.Settings{}, obs.Scope{})
			must(t, b.Open(t.Context()))
			defer b.Close()
			must(t, b.Publish(t.Context(), &event.Command{Kind: event.Ping, Subject: "backup", At: time.Now()}))
			run := func(during time.Duration) {
				r, err := ping.New(ping.Options{Bus: b, Alone: alone, Watches: map[string]ping.Watch{"backup": {Every: time.Hour, Grace: time.Minute, Severity: "critical"}}})
				must(t, err)
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- r.Run(ctx) }()
				<-time.After(during)
				cancel()
				must(t, <-done)
			}
			run(59*time.Minute + 40*time.Second)
			<-time.After(40 * time.Second) // It was due now.
			run(65 * time.Minute)
			said := ""
			must(t, b.Read(t.Context(), bus.Span{Topic: "findings.v1", To: time.Now().Add(time.Hour)}, func(batch []bus.Raw) error {
				for _, raw := range batch {
					e, err := raw.Event()
					if err != nil {
						return err
					}
					if v := string(e.(*event.Finding).Verdict); !strings.HasSuffix(said, v) {
						said = strings.TrimSpace(said + " " + v)
					}
				}
				return nil
			}))
			if said != want {
				t.Errorf("alone %v: said %q, want %q", alone, said, want)
			}
		})
	}
}
