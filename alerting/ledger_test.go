package alerting

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"kemi.dev/kemi/bus/event"
)

var errNet = errors.New("connection reset")

func intent(incident, receiver string, kind event.PageKind, at time.Time) *event.Page {
	return &event.Page{
		ID: event.PageID(incident, receiver, kind, 0), Incident: incident, Receiver: receiver, Kind: kind, Stage: event.PageIntent, Created: at, Updated: at,
	}
}

func ids(pages []*event.Page) (out []string) {
	for _, p := range pages {
		out = append(out, p.Incident+" "+p.Receiver+" "+string(p.Kind))
	}
	return out
}

func newLedger() (*Ledger, time.Time) {
	return NewLedger(DefaultPolicy(), func(r string) bool { return r != "log" }), time.Date(2026, 11, 21, 22, 0, 0, 0, time.UTC)
}

// The pause between attempts doubles from a second to a minute, and after a day the ledger gives up and says why.
func TestBackOffDoublesAndEndsAfterADay(t *testing.T) {
	l, now := newLedger()
	begin := now
	l.Take(intent("i", "hook", event.PageFiring, now), now)
	var pauses []time.Duration
	var line *event.Page
	for range 10000 {
		due := l.Due(now)
		if len(due) != 1 || len(l.Due(now)) != 0 {
			t.Fatalf("after %s: %d due", now.Sub(begin), len(due))
		}
		line = l.Outcome(Outcome{Page: due[0].ID, Err: errNet}, now)
		if line.Stage == event.PageFailed {
			break
		}
		if len(l.Due(line.NextTry.Add(-time.Millisecond))) != 0 {
			t.Fatal("due before its time")
		}
		pauses = append(pauses, line.NextTry.Sub(now))
		now = line.NextTry
	}
	want := []time.Duration{1, 2, 4, 8, 16, 32, 60, 60}
	for i := range want {
		want[i] *= time.Second
	}
	if d := cmp.Diff(want, pauses[:8]); d != "" {
		t.Error(d)
	}
	if line.Reason.Code != "gave-up" || line.Response != errNet.Error() || now.Sub(begin) < 23*time.Hour || now.Sub(begin) > 24*time.Hour {
		t.Errorf("after %s: %s, %+v", now.Sub(begin), line.Stage, line.Reason)
	}
	if l.Unsent() != 0 {
		t.Error("it is still to be sent")
	}
}

func TestReceiverMayAskForMoreTime(t *testing.T) {
	l, now := newLedger()
	l.Take(intent("i", "hook", event.PageFiring, now), now)
	line := l.Outcome(Outcome{Page: l.Due(now)[0].ID, Err: errNet, RetryAfter: 5 * time.Minute}, now)
	if got := line.NextTry.Sub(now); got != 5*time.Minute {
		t.Errorf("tried again after %s", got)
	}
}

// Of one incident and receiver nothing overtakes: an update waits for the firing page, also when that fails for good.
func TestUpdatesWaitForFiring(t *testing.T) {
	for _, permanent := range []bool{false, true} {
		l, now := newLedger()
		l.Take(intent("i", "hook", event.PageFiring, now), now)
		l.Take(intent("i", "hook", event.PageUpdate, now), now)
		l.Take(intent("i", "other", event.PageUpdate, now), now)
		l.Take(intent("i", "hook", event.PageFiring, now), now) // Said twice.
		due := l.Due(now)
		if d := cmp.Diff([]string{"i hook firing", "i other update"}, ids(due)); d != "" {
			t.Fatal(d)
		}
		line := l.Outcome(Outcome{Page: due[0].ID, Err: errNet}, now)
		if got := l.Due(now); len(got) != 0 {
			t.Fatalf("%q overtook", ids(got))
		}
		now = line.NextTry
		l.Due(now)
		out := Outcome{Page: due[0].ID}
		if permanent { // An attempt before may have brought it.
			out.Err, out.Permanent = errNet, true
		}
		if line = l.Outcome(out, now); permanent && line.Arrival != event.ArrivalUnknown {
			t.Errorf("it is %q", line.Arrival)
		}
		if d := cmp.Diff([]string{"i hook update"}, ids(l.Due(now))); d != "" {
			t.Error(d)
		}
	}
}

// What is over wakes nobody any more: a firing page that was not tried is held, and its resolved page with it; of one that
// may have arrived the resolved page is sent.
func TestWhatIsOverWakesNobody(t *testing.T) {
	for name, c := range map[string]struct {
		before func(l *Ledger, p *event.Page, now time.Time)
		want   []string // The lines that follow when it is over.
		due    []string
	}{
		"not tried": {func(*Ledger, *event.Page, time.Time) {}, []string{"firing held over-before-sent", "resolved held never-told"}, nil},
		"tried": {func(l *Ledger, p *event.Page, now time.Time) {
			l.Due(now)
			l.Outcome(Outcome{Page: p.ID, Err: errNet}, now)
		}, []string{"firing held over-before-known", "resolved intent "}, []string{"i hook resolved"}},
		"not seen by the receiver": {func(l *Ledger, p *event.Page, now time.Time) {
			l.Due(now)
			l.Outcome(Outcome{Page: p.ID, Err: errNet, Unsent: true}, now)
		}, []string{"firing held over-before-sent", "resolved held never-told"}, nil},
		"under way": {func(l *Ledger, _ *event.Page, now time.Time) { l.Due(now) }, []string{"resolved intent "}, nil},
		"arrived": {func(l *Ledger, p *event.Page, now time.Time) {
			l.Due(now)
			l.Outcome(Outcome{Page: p.ID}, now)
		}, []string{"resolved intent "}, []string{"i hook resolved"}},
		"refused": {func(l *Ledger, p *event.Page, now time.Time) {
			l.Due(now)
			l.Outcome(Outcome{Page: p.ID, Err: errNet, Permanent: true}, now)
		}, []string{"resolved held never-told"}, nil},
		"refused, though an attempt before got no answer": {func(l *Ledger, p *event.Page, now time.Time) {
			l.Due(now)
			l.Outcome(Outcome{Page: p.ID, Err: errNet}, now)
			l.Due(now.Add(time.Second))
			l.Outcome(Outcome{Page: p.ID, Err: errNet, Permanent: true}, now.Add(time.Second))
		}, []string{"resolved intent "}, []string{"i hook resolved"}},
		"asked to be told later": {func(l *Ledger, p *event.Page, now time.Time) {
			l.Due(now)
			l.Outcome(Outcome{Page: p.ID, Err: errNet, RetryAfter: time.Minute, Arrival: event.NotArrived}, now)
		}, []string{"firing held over-before-sent", "resolved held never-told"}, nil},
		"refused for good, and yet perhaps taken": {func(l *Ledger, p *event.Page, now time.Time) {
			l.Due(now)
			l.Outcome(Outcome{Page: p.ID, Err: errNet, Permanent: true, Arrival: event.ArrivalUnknown}, now)
		}, []string{"resolved intent "}, []string{"i hook resolved"}},
	} {
		t.Run(name, func(t *testing.T) {
			l, now := newLedger()
			firing := intent("i", "hook", event.PageFiring, now)
			l.Take(firing, now)
			c.before(l, firing, now)
			l.Lines()
			l.Take(intent("i", "hook", event.PageResolved, now.Add(time.Second)), now)
			var got []string
			for _, p := range l.Lines() {
				got = append(got, string(p.Kind)+" "+string(p.Stage)+" "+p.Reason.Code)
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(c.due, ids(l.Due(now))); d != "" {
				t.Error(d)
			}
			if name == "under way" { // It fails when it is over already: nobody knows whether it arrived.
				l.Outcome(Outcome{Page: firing.ID, Err: errNet}, now)
				if lines := l.Lines(); len(lines) != 1 || lines[0].Reason.Code != ReasonOverUnknown {
					t.Errorf("%d lines", len(lines))
				}
				if d := cmp.Diff([]string{"i hook resolved"}, ids(l.Due(now))); d != "" {
					t.Error(d)
				}
			}
			if n := l.Unsent(); n != len(c.due) && name != "under way" {
				t.Errorf("%d are unsent", n)
			}
		})
	}
}

// A receiver that does not answer holds a few pages, not those of others.
func TestOneReceiverGetsAFewAtATime(t *testing.T) {
	l, now := newLedger()
	for i := range 100 {
		l.Take(intent(fmt.Sprint(i), "slow", event.PageFiring, now), now)
	}
	l.Take(intent("i", "well", event.PageFiring, now.Add(time.Second)), now)
	due := ids(l.Due(now.Add(time.Second)))
	if len(due) != perReceiver+1 || !slices.Contains(due, "i well firing") {
		t.Errorf("due are %q", due)
	}
}

func TestRestoredPagesAreSentAgainAndMarkedWhereNobodyFolds(t *testing.T) {
	l, now := newLedger()
	sent := intent("a", "hook", event.PageFiring, now)
	sent.Stage = event.PageSent
	retrying := intent("b", "log", event.PageFiring, now)
	retrying.Stage, retrying.NextTry, retrying.Attempts = event.PageRetrying, now.Add(time.Minute), 3
	l.Restore([]*event.Page{intent("a", "hook", event.PageResolved, now), sent, retrying, intent("c", "hook", event.PageFiring, now)}, now)
	l.Take(sent, now)
	if d := cmp.Diff([]string{"a hook resolved", "c hook firing"}, slices.Sorted(slices.Values(ids(l.Due(now))))); d != "" {
		t.Error(d)
	}
	due := l.Due(now.Add(time.Minute))
	if len(due) != 1 || !due[0].PossibleDuplicate || retrying.PossibleDuplicate {
		t.Errorf("due are %q", ids(due))
	}
	if line := l.Outcome(Outcome{Page: due[0].ID}, now); line.Attempts != 4 || line.Stage != event.PageSent {
		t.Errorf("attempt %d, %s", line.Attempts, line.Stage)
	}
}

func TestOutcomesOfNobodysPagesAreIgnored(t *testing.T) {
	l, now := newLedger()
	p := intent("a", "hook", event.PageFiring, now)
	l.Take(p, now)
	if l.Outcome(Outcome{Page: "other"}, now) != nil || l.Outcome(Outcome{Page: p.ID}, now) != nil {
		t.Error("an outcome was taken of a page that was not under way")
	}
}

// Whatever the outcomes and wherever it is restarted: every page settles once, nothing is sent after it settled or calls
// somebody when it is over, what may have arrived is told to be over, and per incident and receiver they settle in order.
func TestEveryPageSettlesOnceInOrder(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		l, now := newLedger()
		stored, order := map[string]*event.Page{}, map[string][]string{}
		under, reached, over := map[string]bool{}, map[string]bool{}, map[string]bool{}
		take := func(lines ...*event.Page) {
			for _, p := range lines {
				if old := stored[p.ID]; old != nil && settled(old) {
					r.Fatalf("%s was %s and is %s", p.ID, old.Stage, p.Stage)
				}
				if stored[p.ID] = p; settled(p) {
					order[laneOf(p)] = append(order[laneOf(p)], string(p.Kind))
				}
			}
		}
		var lanes [][2]string
		next := map[[2]string]int{}
		for step := range 400 {
			if step < 200 && rapid.IntRange(0, 9).Draw(r, "new") == 0 {
				lanes = append(lanes, [2]string{fmt.Sprint(step), fmt.Sprint(rapid.IntRange(0, 2).Draw(r, "receiver"))})
			}
			for _, lane := range lanes {
				kinds := []event.PageKind{event.PageFiring, event.PageUpdate, event.PageResolved}
				if n := next[lane]; n < len(kinds) && (step > 250 || rapid.IntRange(0, 4).Draw(r, "goes on") == 0) {
					p := intent(lane[0], lane[1], kinds[n], now)
					next[lane]++
					over[laneOf(p)] = kinds[n] == event.PageResolved
					l.Take(p, now)
				}
			}
			l.Review(now)
			take(l.Lines()...)
			for _, p := range l.Due(now) {
				if stored[p.ID] == nil || settled(stored[p.ID]) || under[p.ID] {
					r.Fatalf("%s is sent: stored %v", p.ID, stored[p.ID])
				}
				if over[laneOf(p)] && p.Kind != event.PageResolved {
					r.Fatalf("%s is sent when it is over", p.Kind)
				}
				under[p.ID] = true
			}
			take(l.Lines()...)
			for _, id := range slices.Sorted(maps.Keys(under)) {
				ok, o := step > 250, Outcome{Page: id}
				switch what := rapid.IntRange(0, 6).Draw(r, "outcome"); {
				case ok || what == 0:
				case what == 1:
					o.Err = errNet
				case what == 2:
					o.Err, o.Permanent = errNet, true
				case what == 3:
					o.Err, o.Unsent = errNet, true
				case what == 4:
					o.Err, o.Arrival = errNet, event.NotArrived
				default:
					continue
				}
				reached[laneOf(stored[id])] = reached[laneOf(stored[id])] || o.Err == nil || !o.Permanent && !o.Unsent && o.Arrival == ""
				take(l.Outcome(o, now))
				take(l.Lines()...)
				delete(under, id)
			}
			if rapid.IntRange(0, 49).Draw(r, "restart") == 0 {
				for id := range under {
					reached[laneOf(stored[id])] = true
				}
				l, _ = newLedger()
				l.Restore(slices.Collect(maps.Values(stored)), now)
				take(l.Lines()...)
				clear(under)
			}
			now = now.Add(10 * time.Second)
		}
		if l.Unsent() != 0 {
			r.Fatalf("%d are unsent", l.Unsent())
		}
		for _, p := range stored {
			if !settled(p) {
				r.Fatalf("%s is %s", p.ID, p.Stage)
			}
			if p.Kind == event.PageResolved && p.Stage == event.PageHeld && reached[laneOf(p)] {
				r.Fatalf("that %s is over was held from who may know of it", p.Incident)
			}
		}
		for lane, kinds := range order {
			if !slices.Equal(kinds, []string{"firing", "update", "resolved"}) {
				r.Fatalf("%q settled as %q", lane, kinds)
			}
		}
	})
}

// A person whose first way does not work is told by the next one: at once when it refuses, else when it did not work for
// two minutes; once by each way.
func TestAPersonIsToldByTheNextWay(t *testing.T) {
	for name, c := range map[string]struct {
		outcome Outcome
		after   time.Duration
		want    string
	}{
		"refused":           {Outcome{Err: errors.New("no such user"), Permanent: true}, 0, "mail"},
		"away for a moment": {Outcome{Err: errors.New("refused")}, time.Minute, ""},
		"away for long":     {Outcome{Err: errors.New("refused")}, 2 * time.Minute, "mail"},
		"told":              {Outcome{Response: "ok"}, 5 * time.Minute, ""},
	} {
		l, now := newLedger()
		l.after = func(receiver, _ string) string { return map[string]string{"pager": "mail"}[receiver] }
		p := &event.Page{ID: "p", Incident: "i", Receiver: "pager", Person: "jo", Kind: event.PageFiring, Stage: event.PageIntent, Created: now, Updated: now}
		l.Take(p, now)
		l.Due(now)
		now = now.Add(c.after)
		c.outcome.Page = "p"
		line := l.Outcome(c.outcome, now)
		other := l.Fallback(line, now)
		if got := receiverOf(other); got != c.want {
			t.Fatalf("%s: told by %q, want %q", name, got, c.want)
		}
		if other == nil {
			continue
		}
		if other.ID == p.ID || other.DedupKey == line.DedupKey || other.Stage != event.PageIntent || other.Reason.Code != ReasonFallback {
			t.Errorf("%s: %+v", name, other)
		}
		l.Take(other, now)
		if l.Fallback(line, now) != nil || l.Fallback(&event.Page{ID: other.ID, Receiver: "mail", Person: "jo", Kind: event.PageFiring, Stage: event.PageFailed}, now) != nil {
			t.Errorf("%s: told by a way twice, or by one that is not there", name)
		}
	}
}

func receiverOf(p *event.Page) string {
	if p == nil {
		return ""
	}
	return p.Receiver
}
