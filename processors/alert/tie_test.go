package alert_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/bus/mem"
	"kemi.dev/kemi/internal/obs"
	"kemi.dev/kemi/processors/alert"
)

// world is a bus with the room, and with what was said of alerts.
type world struct {
	t    *testing.T
	b    *bus.Bus
	stop func()
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, b: bus.New(mem.New(), bus.Settings{}, obs.Scope{})}
	w.must(w.b.Open(t.Context()))
	t.Cleanup(func() { _ = w.b.Close() })
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) start() {
	room, err := alert.New(alert.Options{Bus: w.b})
	w.must(err)
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- room.Run(ctx) }()
	w.stop = func() {
		w.t.Helper()
		cancel()
		w.must(<-done)
	}
}

// post says once what somebody else's rule says of an instance, with an end that is far away.
func (w *world) post(name, label, instance string, v event.Verdict) {
	w.t.Helper()
	f := &event.Finding{
		Rule: event.RulePrefixElsewhere + name, Alert: name, Verdict: v, Team: "sender", Domain: event.DefaultDomain, Since: time.Now(), At: time.Now(),
		Labels: event.LabelsOf(map[string]string{"alertname": name, label: instance}),
	}
	if v == event.VerdictFiring {
		f.Until = time.Now().Add(2 * time.Hour)
	}
	w.must(w.b.Publish(w.t.Context(), f))
}

func (w *world) target(id, address, team string, lifecycle event.Lifecycle) {
	w.t.Helper()
	t := &event.Target{ID: id, Address: address, Team: team, Lifecycle: lifecycle, Labels: map[string]string{event.LabelDomain: "west"}, Updated: time.Now()}
	t.Version = t.ComputeVersion()
	w.must(w.b.Publish(w.t.Context(), t))
}

// said lists what was said of an alert, a line for each transition.
func (w *world) said(name string) string {
	w.t.Helper()
	var lines []string
	w.must(w.b.Read(w.t.Context(), bus.Span{Topic: "alerts.v1", To: time.Now().Add(time.Hour)}, func(batch []bus.Raw) error {
		for _, raw := range batch {
			e, err := raw.Event()
			if err != nil {
				return err
			}
			if a := e.(*event.Alert); a.Name == name {
				lines = append(lines, fmt.Sprintf("%s %s of %s in %s", a.State, a.Target, a.Team, a.Domain))
			}
		}
		return nil
	}))
	return strings.Join(lines, "; ")
}

// What is said once, and never again, is about its target as soon as the CMDB knows that, whatever it is called by there, also
// when nobody was there while it came; and it ends as it would have.
func TestWhatIsSaidOnceIsTiedToATargetThatComesLater(t *testing.T) {
	for name, restarted := range map[string]bool{"running": false, "restarted": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.start()
				w.target("other", "192.0.2.1:161", "dba", event.Active)
				w.post("ByAddress", "instance", "192.0.2.9:9100", event.VerdictFiring)
				w.post("ByID", "target", "srv-9", event.VerdictFiring)
				w.post("ByNothing", "instance", "192.0.2.7:9100", event.VerdictFiring)
				w.post("Retired", "instance", "192.0.2.8:9100", event.VerdictFiring)
				time.Sleep(time.Minute)
				if got := w.said("ByAddress"); got != "firing  of sender in default" {
					t.Fatalf("before: %s", got)
				}
				if restarted {
					w.stop()
				}
				w.target("srv-9", "192.0.2.9:161", "net", event.Active)
				w.target("old", "192.0.2.8", "net", event.Retired)
				if time.Sleep(time.Minute); restarted {
					w.start()
				}
				time.Sleep(10 * time.Second)
				for _, alert := range []string{"ByAddress", "ByID"} {
					if got, want := w.said(alert), "firing  of sender in default; firing srv-9 of net in default"; got != want {
						t.Errorf("%s: %s", alert, got)
					}
				}
				for _, alert := range []string{"ByNothing", "Retired"} {
					if got := w.said(alert); got != "firing  of sender in default" {
						t.Errorf("%s: %s", alert, got)
					}
				}
				w.post("ByID", "target", "srv-9", event.VerdictOK)
				time.Sleep(121 * time.Minute)
				for _, alert := range []string{"ByAddress", "ByID"} {
					if got := w.said(alert); !strings.HasSuffix(got, "; resolved srv-9 of net in default") || strings.Count(got, "resolved") != 1 {
						t.Errorf("%s at the end: %s", alert, got)
					}
				}
				w.stop()
			})
		})
	}
}

// A name that two targets share is nobody's, also while they are being read, until one of them has it alone.
func TestANameThatTargetsShareTiesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.target("a", "192.0.2.9:161", "net", event.Active)
		w.target("b", "192.0.2.9:162", "net", event.Active)
		w.start()
		w.post("Down", "instance", "192.0.2.9:9100", event.VerdictFiring)
		time.Sleep(time.Minute)
		if got := w.said("Down"); got != "firing  of sender in default" {
			t.Errorf("while two share the name: %s", got)
		}
		w.must(w.b.Remove(t.Context(), &event.Target{ID: "b"}))
		time.Sleep(5 * time.Second)
		if got := w.said("Down"); got != "firing  of sender in default; firing a of net in default" {
			t.Errorf("when one has it alone: %s", got)
		}
		w.stop()
	})
}

// An alert that comes when its target is known here already, but not to whoever took it in, is tied too.
func TestWhoeverTookItInMayKnowLess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		w.post("First", "instance", "nobody", event.VerdictFiring)
		w.target("srv-9", "192.0.2.9:161", "net", event.Active)
		time.Sleep(5 * time.Second)
		w.post("Down", "instance", "192.0.2.9:9100", event.VerdictFiring)
		time.Sleep(5 * time.Second)
		if got := w.said("Down"); got != "firing  of sender in default; firing srv-9 of net in default" {
			t.Error(got)
		}
		w.stop()
	})
}

// A finding that was on its way while the alert was tied is no old news.
func TestWhatIsOnItsWayWhileAnAlertIsTiedCounts(t *testing.T) {
	srv := &event.Target{ID: "srv-9", Team: "net"}
	for at, want := range map[time.Duration]string{time.Second + 1: "1 resolved starts=0s updated=1.000000001s ends=1s", 2 * time.Second: "1 resolved starts=0s updated=2s ends=1s"} {
		d := alert.NewDesk()
		f := told(time.Second, time.Hour)
		f.Target, f.Labels = "", event.LabelsOf(map[string]string{"alertname": "A", "ifIndex": "1", "instance": "x"})
		d.Finding(f)
		tied := d.Tie(func(string) *event.Target { return srv }, false)
		if len(tied) != 1 || tied[0].Target != "srv-9" || !tied[0].Updated.After(f.At) || d.Untied() != 0 {
			t.Fatalf("tied %+v", tied)
		}
		if again := d.Tie(func(string) *event.Target { return srv }, true); len(again) > 0 {
			t.Errorf("tied twice: %+v", again)
		}
		over := *f
		over.Verdict, over.At, over.Since, over.Until = event.VerdictOK, epoch.Add(at), epoch.Add(time.Second), time.Time{}
		if got := show(d.Finding(&over)); got != want {
			t.Errorf("over at %s: %s", at, got)
		}
	}
}
