package alerting

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"kemi.dev/kemi/bus/event"
)

// shelf is a ledger with what is stored of it, and what arrived.
type shelf struct {
	fail   func(format string, args ...any)
	policy Policy
	gate   *Gates
	ledger *Ledger
	now    time.Time
	stored map[string]*event.Page
	told   []*event.Page // What arrived, in order.
	toldAt []time.Time
	broken map[string]bool    // Receivers.
	says   map[string]Outcome // What others of them answer than that they took it.
}

func newShelf(fail func(format string, args ...any), policy Policy) *shelf {
	s := &shelf{fail: fail, policy: policy, now: time.Date(2026, 11, 21, 22, 0, 0, 0, time.UTC), stored: map[string]*event.Page{}, broken: map[string]bool{}}
	s.restart()
	return s
}

func (s *shelf) restart() {
	s.gate = NewGates(s.policy)
	s.ledger = NewLedger(s.policy, func(string) bool { return true })
	s.ledger.gate, s.ledger.refuses = s.gate, s.gate.Refuses
	s.ledger.after = func(receiver, _ string) string { return map[string]string{"pager": "mail"}[receiver] }
	s.ledger.Restore(slices.Collect(maps.Values(s.stored)), s.now)
	s.store(-1)
}

// store stores the lines that were decided, or only the first of them; it reports whether all were.
func (s *shelf) store(most int) bool {
	for i, line := range s.ledger.Lines() {
		if i == most {
			return false
		}
		if old := s.stored[line.ID]; old != nil && settled(old) {
			s.fail("%s was %s and is %s", line.Title, old.Stage, line.Stage)
		}
		s.stored[line.ID] = line
	}
	return true
}

// page decides a page; severity "" is one of no great weight.
func (s *shelf) page(incident, who, severity string, kind event.PageKind, sequence int) *event.Page {
	receiver, person := recipient(who)
	p := &event.Page{
		ID: event.PageID(incident, who, kind, sequence), Incident: incident, Domain: "default", Team: "net", Receiver: receiver, Person: person, Kind: kind, Stage: event.PageIntent,
		DedupKey: DedupKey(incident, who), Title: incident + " is broken", Created: s.now, Updated: s.now, Snapshot: &event.Incident{ID: incident, Severity: severity, OpenedAt: s.now},
	}
	if old := s.stored[p.ID]; old == nil {
		s.ledger.Take(p, s.now)
	}
	return p
}

// pass does what the door does; a process that dies after storing only some lines of what was decided says false.
func (s *shelf) pass(most int) bool {
	s.ledger.Review(s.now)
	if !s.store(most) {
		return false
	}
	for _, p := range s.ledger.Due(s.now) {
		if old := s.stored[p.ID]; old == nil || settled(old) {
			s.fail("%s is sent and was not stored, or is settled", p.Title)
		}
		o := Outcome{Page: p.ID}
		if said, is := s.says[p.Receiver]; is {
			o = said
			o.Page = p.ID
		} else if s.broken[p.Receiver] {
			o.Err = errNet
		} else {
			s.told, s.toldAt = append(s.told, p), append(s.toldAt, s.now)
		}
		if line := s.ledger.Outcome(o, s.now); line != nil {
			if other := s.ledger.Fallback(line, s.now); other != nil {
				s.ledger.Take(other, s.now)
				s.store(-1)
			}
			s.stored[line.ID] = line
		}
	}
	return s.store(most)
}

func (s *shelf) run(d time.Duration) {
	for end := s.now.Add(d); s.now.Before(end); s.now = s.now.Add(time.Second) {
		s.pass(-1)
	}
}

func (s *shelf) kinds() (all []string) {
	for _, p := range s.told {
		all = append(all, string(p.Kind)+" "+p.Title)
	}
	return all
}

// Forty warnings in one moment are nine pages and a summary, and when the last of them is over that is said once; what is
// critical is told by itself.
func TestAFloodIsASummary(t *testing.T) {
	s := newShelf(t.Fatalf, DefaultPolicy())
	for i := range 40 {
		s.page(fmt.Sprint("inc-", i), "pager/jo", "error", event.PageFiring, 0)
		s.now = s.now.Add(time.Millisecond)
	}
	s.run(10 * time.Second)
	s.page("core", "pager/jo", "critical", event.PageFiring, 0)
	s.run(5 * time.Second)
	if n := len(s.told); n != 10 || s.told[9].Incident != "core" {
		t.Fatalf("told %q", s.kinds())
	}
	for i := range 20 {
		s.page(fmt.Sprint("inc-", i), "pager/jo", "error", event.PageResolved, 0)
	}
	s.run(2 * time.Minute)
	// The critical one took the place of the summary: it comes when there is room, at the latest after the window.
	s.run(9 * time.Minute)
	var summary *event.Page
	for _, p := range s.told {
		if p.Kind == event.PageSummary {
			summary = p
		}
	}
	if summary == nil || summary.Person != "jo" || summary.Team != "net" {
		t.Fatalf("told %q", s.kinds())
	}
	for _, want := range []string{"31 more incidents: 20 still there, 11 over by now", "net 31"} {
		if !strings.Contains(summary.Title, want) {
			t.Errorf("the summary says %q", summary.Title)
		}
	}
	for _, want := range []string{"- inc-39 is broken", "Over by now:", "kemi pages list --summary " + summary.ID[:8]} {
		if !strings.Contains(summary.Text, want) {
			t.Errorf("the summary lacks %q:\n%s", want, summary.Text)
		}
	}
	before := len(s.told)
	for i := 20; i < 40; i++ {
		s.page(fmt.Sprint("inc-", i), "pager/jo", "error", event.PageResolved, 0)
		s.run(time.Second)
	}
	s.run(time.Minute)
	if got := s.kinds()[before:]; len(got) != 1 || !strings.HasPrefix(got[0], "resolved over: 31 more incidents") || s.told[before].DedupKey != summary.DedupKey {
		t.Errorf("then told %q", got)
	}
}

// A person is not called for a summary of what is over; where a team reads it is said.
func TestASummaryOfWhatIsOverCallsNobody(t *testing.T) {
	s := newShelf(t.Fatalf, DefaultPolicy())
	for i := range 70 {
		for _, who := range []string{"pager/jo", "chat"} {
			s.page(fmt.Sprint("inc-", i), who, "error", event.PageFiring, 0)
			s.pass(-1)
			s.now = s.now.Add(100 * time.Millisecond)
		}
	}
	for i := range 70 {
		for _, who := range []string{"pager/jo", "chat"} {
			s.page(fmt.Sprint("inc-", i), who, "error", event.PageResolved, 0)
		}
	}
	s.run(20 * time.Minute)
	var got []string
	for _, p := range s.told {
		if p.Kind == event.PageSummary {
			got = append(got, whoOf(p)+" "+p.Title)
		}
	}
	if len(got) != 1 || got[0] != "chat 11 more incidents came and went (net 11)" {
		t.Errorf("told %q", got)
	}
}

// Whatever comes, goes and breaks, with processes that die after any line: what is held for there being too much is in
// exactly one summary; nobody gets more than the limit, but for what is critical and summaries that waited long; who was
// told that it fires, by itself or in a summary, is told that it is over, and nobody else.
func TestNothingIsDroppedByTheLimit(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		policy := DefaultPolicy()
		policy.PersonLimit, policy.ReceiverLimit, policy.LimitWithin = rapid.IntRange(1, 4).Draw(r, "limit"), 3, 5*time.Minute
		s := newShelf(r.Fatalf, policy)
		type open struct {
			incident, who, severity string
			calls                   int
		}
		var all []*open
		over := map[*open]bool{}
		for step := range rapid.IntRange(10, 120).Draw(r, "steps") {
			switch rapid.IntRange(0, 9).Draw(r, "what") {
			case 0, 1, 2, 3:
				o := &open{fmt.Sprint("inc-", step), rapid.SampledFrom([]string{"pager/jo", "pager/sun", "chat"}).Draw(r, "who"), rapid.SampledFrom([]string{"error", "error", "critical"}).Draw(r, "severity"), 1}
				all = append(all, o)
				s.page(o.incident, o.who, o.severity, event.PageFiring, 0)
			case 4, 5:
				if len(all) > 0 {
					if o := rapid.SampledFrom(all).Draw(r, "over"); !over[o] {
						over[o] = true
						s.page(o.incident, o.who, o.severity, event.PageResolved, 0)
					}
				}
			case 6:
				if len(all) > 0 { // Called again.
					if o := rapid.SampledFrom(all).Draw(r, "again"); !over[o] {
						s.page(o.incident, o.who, o.severity, event.PageFiring, o.calls)
						o.calls++
					}
				}
			case 7:
				s.broken["pager"] = !s.broken["pager"]
			default:
				s.now = s.now.Add(time.Duration(rapid.IntRange(1, 90).Draw(r, "seconds")) * time.Second)
			}
			most := rapid.IntRange(-6, 3).Draw(r, "dies after lines")
			if most >= 0 && s.pass(most) || most < 0 && s.pass(-1) {
				continue
			}
			s.restart()
			for _, o := range all { // The desk decides again what was not stored.
				for n := range o.calls {
					s.page(o.incident, o.who, o.severity, event.PageFiring, n)
				}
				if over[o] {
					s.page(o.incident, o.who, o.severity, event.PageResolved, 0)
				}
			}
			s.pass(-1)
		}
		s.broken["pager"] = false
		s.run(policy.LimitWithin + 2*gatherFor)
		for _, o := range all {
			s.page(o.incident, o.who, o.severity, event.PageResolved, 0)
		}
		s.run(policy.LimitWithin + 2*gatherFor)

		knows := map[string]bool{} // Lanes, and summaries.
		for _, p := range s.stored {
			if !settled(p) {
				r.Fatalf("%s to %s is %s", p.Title, whoOf(p), p.Stage)
			}
			if p.Kind == event.PageFiring && p.Reason.Code == ReasonRateLimited {
				if summary := s.stored[p.Summary]; summary == nil || summary.Kind != event.PageSummary || whoOf(summary) != whoOf(p) {
					r.Fatalf("no summary stands for %s", p.Title)
				}
			}
			knows[laneOf(p)] = knows[laneOf(p)] || p.Kind != event.PageResolved && (p.Arrival == event.Arrived || p.Arrival == event.ArrivalUnknown)
		}
		for _, p := range s.stored {
			if p.Kind != event.PageResolved {
				continue
			}
			if knew := knows[laneOf(p)]; knew != (p.Stage == event.PageSent) {
				r.Fatalf("%s: told that it fires: %v, that it is over: %s", p.Title, knew, p.Stage)
			}
		}
		for _, p := range s.stored {
			if p.Kind == event.PageSummary && p.Stage == event.PageSent && p.Reason.Code == ReasonRateLimited {
				if end := s.stored[event.PageID(p.Summary, whoOf(p), event.PageResolved, 0)]; end == nil || end.Stage != event.PageSent {
					r.Fatalf("nobody says that everything of %q is over", p.Title)
				}
			}
		}
	})
}

// Within any window nobody is called more often than the limit says by what is not critical.
func TestNobodyIsCalledMoreOftenThanTheLimit(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		policy := DefaultPolicy()
		policy.PersonLimit = rapid.IntRange(2, 5).Draw(r, "limit")
		s := newShelf(r.Fatalf, policy)
		for i := range rapid.IntRange(1, 60).Draw(r, "pages") {
			s.page(fmt.Sprint("inc-", i), "pager/jo", "error", event.PageFiring, 0)
			s.pass(-1)
			s.now = s.now.Add(time.Duration(rapid.IntRange(0, 100).Draw(r, "seconds")) * time.Second)
			if rapid.IntRange(0, 19).Draw(r, "restart") == 0 {
				s.restart()
			}
		}
		s.run(30 * time.Minute)
		for i := range s.told {
			n := 0
			for k := i; k < len(s.told) && s.toldAt[k].Sub(s.toldAt[i]) < policy.LimitWithin; k++ {
				n++
			}
			if n > policy.PersonLimit {
				r.Fatalf("%d pages within %s from %s on: %q", n, policy.LimitWithin, s.toldAt[i], s.kinds())
			}
		}
	})
}

// What comes while a summary waits for room waits in it: room that there is meanwhile is the summary's.
func TestWhatComesWhileASummaryWaitsIsInIt(t *testing.T) {
	policy := DefaultPolicy()
	policy.PersonLimit, policy.LimitWithin = 2, 90*time.Second
	s := newShelf(t.Fatalf, policy)
	s.page("inc-0", "pager/jo", "error", event.PageFiring, 0)
	s.run(60 * time.Second)
	s.page("inc-1", "pager/jo", "error", event.PageFiring, 0)
	s.run(40 * time.Second) // What was told first is forgotten by now.
	s.page("inc-2", "pager/jo", "error", event.PageFiring, 0)
	s.run(time.Minute)
	if got := s.kinds(); len(got) != 2 || got[1] != "summary 2 more incidents (net 2)" {
		t.Errorf("told %q", got)
	}
}

// A summary whose pages are too old to be read again is over: what is not would be read.
func TestTheEndOfAnOldSummaryIsTold(t *testing.T) {
	s := newShelf(t.Fatalf, DefaultPolicy())
	for i := range 12 {
		s.page(fmt.Sprint("inc-", i), "pager/jo", "error", event.PageFiring, 0)
	}
	s.run(2 * time.Minute)
	maps.DeleteFunc(s.stored, func(_ string, p *event.Page) bool { return p.Kind != event.PageSummary })
	if len(s.stored) != 1 {
		t.Fatalf("%d summaries", len(s.stored))
	}
	s.now = s.now.Add(72 * time.Hour)
	s.restart()
	s.run(2 * time.Second)
	s.restart()
	s.run(2 * time.Second)
	if got := s.kinds(); len(got) != 11 || !strings.HasPrefix(got[10], "resolved over: 3 more incidents") {
		t.Errorf("told %q", got)
	}
}

// A summary is not over while something in it fires again, however long that takes, also for who restarts meanwhile.
func TestASummaryIsOverWhenNothingOfItFires(t *testing.T) {
	for _, restarts := range []bool{false, true} {
		policy := DefaultPolicy()
		policy.PersonLimit = 2
		s := newShelf(t.Fatalf, policy)
		for i := range 3 {
			s.page(fmt.Sprint("inc-", i), "pager/jo", "error", event.PageFiring, 0)
		}
		s.run(15 * time.Minute)
		if got := s.kinds(); len(got) != 2 || !strings.HasPrefix(got[1], "summary 2 more incidents") {
			t.Fatalf("told %q", got)
		}
		s.page("inc-1", "pager/jo", "error", event.PageResolved, 0)
		s.run(time.Minute)
		round := func(kind event.PageKind) {
			s.ledger.Take(&event.Page{
				ID: event.PageID("inc-1", "pager/jo", kind, steps), Incident: "inc-1", Domain: "default", Receiver: "pager", Person: "jo", Kind: kind, Stage: event.PageIntent,
				DedupKey: DedupKey("inc-1", "pager/jo"), Title: "inc-1 again", Created: s.now, Updated: s.now, Snapshot: &event.Incident{ID: "inc-1", Severity: "error", Round: 1},
			}, s.now)
		}
		round(event.PageFiring)
		s.run(time.Minute)
		s.page("inc-2", "pager/jo", "error", event.PageResolved, 0)
		s.run(time.Minute)
		before := len(s.told)
		for range 60 {
			s.now = s.now.Add(time.Hour)
			s.pass(-1)
			s.pass(-1)
		}
		if restarts {
			s.restart()
			s.pass(-1)
		}
		if got := s.kinds()[before:]; len(got) != 0 {
			t.Fatalf("restarts %t: told %q while inc-1 fires", restarts, got)
		}
		round(event.PageResolved)
		s.run(time.Minute)
		got := s.kinds()[before:]
		if !slices.ContainsFunc(got, func(k string) bool { return strings.HasPrefix(k, "resolved over: 2 more incidents") }) {
			t.Errorf("restarts %t: then told %q", restarts, got)
		}
	}
}
