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
	l.Add(intent("i", "hook", event.PageFiring, now))
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
	l.Add(intent("i", "hook", event.PageFiring, now))
	line := l.Outcome(Outcome{Page: l.Due(now)[0].ID, Err: errNet, RetryAfter: 5 * time.Minute}, now)
	if got := line.NextTry.Sub(now); got != 5*time.Minute {
		t.Errorf("tried again after %s", got)
	}
}

// Of one incident and receiver nothing overtakes: resolved waits for firing, also when that fails for good.
func TestResolvedWaitsForFiring(t *testing.T) {
	for _, permanent := range []bool{false, true} {
		l, now := newLedger()
		l.Add(intent("i", "hook", event.PageFiring, now))
		l.Add(intent("i", "hook", event.PageResolved, now))
		l.Add(intent("i", "other", event.PageResolved, now))
		l.Add(intent("i", "hook", event.PageFiring, now)) // Said twice.
		due := l.Due(now)
		if d := cmp.Diff([]string{"i hook firing", "i other resolved"}, ids(due)); d != "" {
			t.Fatal(d)
		}
		line := l.Outcome(Outcome{Page: due[0].ID, Err: errNet}, now)
		if got := l.Due(now); len(got) != 0 {
			t.Fatalf("%q overtook", ids(got))
		}
		now = line.NextTry
		l.Due(now)
		out := Outcome{Page: due[0].ID}
		if permanent {
			out.Err, out.Permanent = errNet, true
		}
		l.Outcome(out, now)
		if d := cmp.Diff([]string{"i hook resolved"}, ids(l.Due(now))); d != "" {
			t.Error(d)
		}
	}
}

// A receiver that does not answer holds a few pages, not those of others.
func TestOneReceiverGetsAFewAtATime(t *testing.T) {
	l, now := newLedger()
	for i := range 100 {
		l.Add(intent(fmt.Sprint(i), "slow", event.PageFiring, now))
	}
	l.Add(intent("i", "well", event.PageFiring, now.Add(time.Second)))
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
	l.Restore([]*event.Page{intent("a", "hook", event.PageResolved, now), sent, retrying, intent("c", "hook", event.PageFiring, now)})
	l.Add(sent)
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
	l.Add(p)
	if l.Outcome(Outcome{Page: "other"}, now) != nil || l.Outcome(Outcome{Page: p.ID}, now) != nil {
		t.Error("an outcome was taken of a page that was not under way")
	}
}

// Whatever the outcomes and wherever it is restarted: every page settles, is never sent after it settled, and per
// incident and receiver they settle in order.
func TestEveryPageSettlesOnceInOrder(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		l, now := newLedger()
		stored, order := map[string]*event.Page{}, map[string][]string{}
		under := map[string]bool{}
		for step := range 400 {
			if step < 200 && rapid.IntRange(0, 9).Draw(r, "new") == 0 {
				inc, rec := fmt.Sprint(rapid.IntRange(0, 3).Draw(r, "incident"))+"/"+fmt.Sprint(step), fmt.Sprint(rapid.IntRange(0, 2).Draw(r, "receiver"))
				for _, k := range []event.PageKind{event.PageFiring, event.PageUpdate, event.PageResolved} {
					p := intent(inc, rec, k, now)
					stored[p.ID] = p
					l.Add(p)
				}
			}
			for _, p := range l.Due(now) {
				if settled(stored[p.ID]) {
					r.Fatalf("%s is sent again", p.ID)
				}
				under[p.ID] = true
			}
			for _, id := range slices.Sorted(maps.Keys(under)) {
				ok := step > 250
				switch what := rapid.IntRange(0, 3).Draw(r, "outcome"); {
				case ok || what == 0:
					stored[id] = l.Outcome(Outcome{Page: id}, now)
				case what == 1:
					stored[id] = l.Outcome(Outcome{Page: id, Err: errNet}, now)
				case what == 2:
					stored[id] = l.Outcome(Outcome{Page: id, Err: errNet, Permanent: true}, now)
				default:
					continue
				}
				delete(under, id)
				if p := stored[id]; settled(p) {
					order[lane(p)] = append(order[lane(p)], string(p.Kind))
				}
			}
			if rapid.IntRange(0, 49).Draw(r, "restart") == 0 {
				l, _ = newLedger()
				l.Restore(slices.Collect(maps.Values(stored)))
				clear(under)
			}
			now = now.Add(10 * time.Second)
		}
		for _, p := range stored {
			if !settled(p) {
				r.Fatalf("%s is %s", p.ID, p.Stage)
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
		l.Add(p)
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
		l.Add(other)
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
