package alerting

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kemi.dev/kemi/alerting/notify"
	"kemi.dev/kemi/alerting/notify/inbox"
	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/bus/mem"
	"kemi.dev/kemi/internal/obs"
)

// endless is an ear that is set not to hear of ends.
type endless struct{ listening }

func (endless) SendsResolved() bool { return false }

// By a receiver with send_resolved: false nobody is told that it is over, and the ledger says that it was not sent and why; by
// others they are. When it fires again it is told as ever.
func TestAnEndThatAReceiverDoesNotWantIsNotSent(t *testing.T) {
	for _, restart := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			h := &house{t: t, d: mem.New(), boxes: &inbox.Set{}, extra: map[string]notify.Notifier{}, started: time.Now(), config: `
receivers: {pager: {inbox: {}}, mail: {inbox: {}}}
people: {jo: {ways: [pager]}}
teams: {default: {members: [jo], receiver: mail, escalation: [{to: [jo, receiver]}]}}
alerting: {reopen_within: 10m}
`}
			h.b = bus.New(h.d, bus.Settings{}, obs.Scope{})
			if err := h.b.Open(t.Context()); err != nil {
				t.Fatal(err)
			}
			pager, mail := &ear{name: "pager"}, &ear{name: "mail"}
			h.extra["pager"], h.extra["mail"] = endless{listening{pager, newMine(-1)}}, listening{mail, newMine(-1)}
			h.target("srv-0", "server", "net")
			h.start()
			h.failAt(time.Second, "srv-0", "critical", time.Minute)
			h.failAt(3*time.Minute, "srv-0", "critical", time.Minute)
			time.Sleep(30 * time.Second)
			if restart {
				h.crash()
				h.start()
			}
			time.Sleep(5 * time.Minute)
			synctest.Wait()
			h.crash()
			kinds := func(e *ear) (all []string) {
				for _, p := range e.arrived {
					all = append(all, string(p.Kind))
				}
				return all
			}
			if got := kinds(pager); !slices.Equal(got, []string{"firing", "firing"}) {
				t.Errorf("the pager hears %q", got)
			}
			if got := kinds(mail); !slices.Equal(got, []string{"firing", "resolved", "firing", "resolved"}) {
				t.Errorf("the mail hears %q", got)
			}
			n := 0
			if err := bus.Snapshot(t.Context(), h.b, func(m bus.Message[event.Page]) error {
				p := m.Event
				if p.Kind != event.PageResolved || p.Receiver != "pager" {
					return nil
				}
				n++
				if p.Stage != event.PageHeld || p.Arrival != event.NotArrived || p.Attempts != 0 || p.Reason.Code != ReasonEndless || p.Reason.Text != "send_resolved: false: by pager nobody is told that it is over" {
					t.Errorf("%s, %q after %d attempts: %+v", p.Stage, p.Arrival, p.Attempts, p.Reason)
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			if n != 2 {
				t.Errorf("the ledger has %d ends", n)
			}
		})
	}
}

// Nor is the end of a summary; and what is not sent closes no breaker.
func TestAnEndThatIsNotSentSaysNothingOfTheReceiver(t *testing.T) {
	s := newShelf(t.Fatalf, DefaultPolicy())
	s.ledger.endless = func(receiver string) bool { return receiver == "pager" }
	for i := range 40 {
		s.page(fmt.Sprint("inc-", i), "pager/jo", "error", event.PageFiring, 0)
	}
	s.run(s.policy.LimitWithin + time.Minute)
	told := len(s.told)
	for i := range breakAfter {
		s.gate.End("pager", Outcome{Page: fmt.Sprint(i), Err: errNet}, s.now)
	}
	for i := range 40 {
		s.page(fmt.Sprint("inc-", i), "pager/jo", "error", event.PageResolved, 0)
	}
	s.pass(-1)
	s.pass(-1)
	if open := s.gate.breakers["pager"]; open == nil || !open.open {
		t.Error("the breaker is closed")
	}
	s.run(time.Minute)
	if len(s.told) != told || s.ledger.Unsent() != 0 {
		t.Errorf("told %q; %d are unsent", s.kinds()[told:], s.ledger.Unsent())
	}
	ends := 0
	for _, p := range s.stored {
		if p.Several() && p.Kind == event.PageResolved && p.Reason.Code == ReasonEndless {
			ends++
		}
	}
	if ends != 1 {
		t.Errorf("%d ends of summaries", ends)
	}
}

// A page that a receiver refuses which refuses whatever it gets loses nothing by it: people are told by their next way, who
// has none is told when it works again, and a page that is refused for itself then is refused.
func TestATrialCostsNoPage(t *testing.T) {
	s := newShelf(t.Fatalf, DefaultPolicy())
	forbidden := Outcome{Err: errNet, Permanent: true}
	s.says = map[string]Outcome{"pager": forbidden, "chat": forbidden}
	for i := range 20 {
		s.page(fmt.Sprint("inc-", i), fmt.Sprint("pager/p", i), "critical", event.PageFiring, 0)
		s.page(fmt.Sprint("inc-", i), "chat", "critical", event.PageFiring, 0)
	}
	s.run(10 * time.Minute)
	if len(s.told) != 20 || slices.ContainsFunc(s.told, func(p *event.Page) bool { return p.Receiver != "mail" }) {
		t.Errorf("told %q", s.to())
	}
	tried := 0
	for _, p := range s.stored {
		if p.Receiver != "chat" {
			continue
		}
		if tried += p.Attempts; p.Stage == event.PageRetrying && (p.Response != errNet.Error() || p.Arrival != event.NotArrived || p.NextTry.IsZero()) {
			t.Errorf("%+v", p)
		}
	}
	stages := func(receiver string) string {
		n := map[event.PageStage]int{}
		for _, p := range s.stored {
			if p.Receiver == receiver {
				n[p.Stage]++
			}
		}
		return strings.TrimPrefix(fmt.Sprint(n), "map")
	}
	// The two before it was known that it refuses everything are refused; the rest waits.
	if got, want := stages("pager"), "[failed:2 held:18]"; got != want {
		t.Errorf("of the pager's %s, want %s", got, want)
	}
	if failed := strings.HasPrefix(stages("chat"), "[failed:2 "); !failed || s.ledger.Unsent() != 18 || tried < 30 {
		t.Errorf("of the chat's %s; %d wait after %d attempts", stages("chat"), s.ledger.Unsent(), tried)
	}
	told := len(s.told)
	delete(s.says, "chat")
	s.page("inc-2", "chat", "critical", event.PageResolved, 0) // It is over before the chat works: it wakes nobody.
	s.run(longestBreak + time.Minute)
	if got, want := stages("chat"), "[failed:2 held:2 sent:17]"; got != want || len(s.told) != told+17 || s.ledger.Unsent() != 0 {
		t.Errorf("of the chat's %s, want %s; told %q", got, want, s.to()[told:])
	}
}

// A page that a receiver does not take for what is in it keeps no others from it, though it was on trial first.
func TestABadPageOnTrialBreaksNothing(t *testing.T) {
	s := newShelf(t.Fatalf, DefaultPolicy())
	for i := range breakAfter {
		s.gate.End("chat", Outcome{Page: fmt.Sprint(i), Incident: fmt.Sprint(i), Err: errNet, Permanent: true}, s.now)
	}
	bad := s.page("bad", "chat", "critical", event.PageFiring, 0)
	s.now = s.now.Add(time.Second)
	s.says = map[string]Outcome{"chat": {Err: errNet, Permanent: true}}
	s.pass(-1)
	if got := s.stored[bad.ID]; got.Stage != event.PageRetrying {
		t.Fatalf("it is %s", got.Stage)
	}
	s.page("good", "chat", "critical", event.PageFiring, 0)
	for end := s.now.Add(2 * time.Minute); s.now.Before(end); s.now = s.now.Add(time.Second) {
		s.ledger.Review(s.now)
		s.store(-1)
		for _, p := range s.ledger.Due(s.now) {
			o := Outcome{Page: p.ID}
			if p.Incident == "bad" {
				o.Err, o.Permanent = errNet, true
			}
			s.stored[p.ID] = s.ledger.Outcome(o, s.now)
		}
	}
	if got := s.stored[bad.ID]; got.Stage != event.PageFailed || got.Reason.Code != "refused" || s.ledger.Unsent() != 0 {
		t.Errorf("it is %s: %+v; %d wait", got.Stage, got.Reason, s.ledger.Unsent())
	}
}

// What is left of a limit goes to the oldest, and of one moment to the most severe, by whatever receivers.
func TestTheLastOfALimitGoesToTheMostSevere(t *testing.T) {
	ways := []string{"pager/jo", "mail/jo", "sms/jo", "chat/jo", "fax/jo", "bell/jo"}
	severities := []string{"info", "warning", "minor", "error", "major", "disaster-unknown"}
	for round := range 20 {
		policy := DefaultPolicy()
		policy.PersonLimit = 3 // One of them is for the summary.
		s := newShelf(t.Fatalf, policy)
		for i := range ways {
			k := (i + round) % len(ways)
			s.page("inc-"+severities[i], ways[k], severities[i], event.PageFiring, 0)
		}
		s.now = s.now.Add(time.Second)
		s.page("inc-late", ways[0], "major", event.PageFiring, 0)
		s.run(2 * time.Second)
		if got, want := s.kinds(), []string{"firing inc-major is broken", "firing inc-error is broken"}; !slices.Equal(got, want) {
			t.Fatalf("told %q, want %q", got, want)
		}
	}
}
