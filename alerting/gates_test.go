package alerting

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"kemi.dev/kemi/bus/event"
)

// tries runs a ledger for a while against a receiver that answers as it is told, and counts the attempts of each second.
func tries(l *Ledger, now *time.Time, d time.Duration, answer func(p *event.Page) Outcome) (all []int) {
	for end := now.Add(d); now.Before(end); *now = now.Add(time.Second) {
		l.Review(*now)
		l.Lines()
		n := 0
		for _, p := range l.Due(*now) {
			n++
			o := answer(p)
			o.Page = p.ID
			l.Outcome(o, *now)
		}
		all = append(all, n)
	}
	return all
}

func failing(*event.Page) Outcome { return Outcome{Err: errNet} }

func taking(*event.Page) Outcome { return Outcome{} }

// A receiver that fails three pages in a row is tried by one page at a time, less and less often; the first that it takes
// lets the others go. It is said once each.
func TestABrokenReceiverIsTriedByOnePageAtATime(t *testing.T) {
	l, now := newLedger()
	var said []string
	gates := NewGates(l.policy)
	gates.says = func(receiver string, open bool, _ string) { said = append(said, fmt.Sprint(receiver, open)) }
	l.gate = gates
	for i := range 50 {
		l.Take(intent(fmt.Sprint(i), "hook", event.PageFiring, now), now)
	}
	l.Take(intent("i", "well", event.PageFiring, now.Add(time.Millisecond)), now)
	begin := now
	got := tries(l, &now, 2*time.Minute, func(p *event.Page) Outcome {
		if p.Receiver == "well" {
			return taking(p)
		}
		return failing(p)
	})
	trials := 0
	for i, n := range got[1:] {
		if trials += n; n > 1 {
			t.Errorf("%d attempts %d s after it broke", n, i+1)
		}
	}
	if got[0] != perReceiver+1 || trials < 8 || trials > 12 {
		t.Errorf("attempts by second: %v", got)
	}
	got = tries(l, &now, 2*time.Minute, taking)
	if i := slices.IndexFunc(got, func(n int) bool { return n > 0 }); i > int(longestBreak/time.Second) || l.Unsent() != 0 {
		t.Errorf("it works again after %s, and is tried %v; %d are unsent", now.Sub(begin), got, l.Unsent())
	}
	if !slices.Equal(said, []string{"hooktrue", "hookfalse"}) {
		t.Errorf("said %q", said)
	}
}

// A receiver that refuses whatever it is sent does not work: few pages are lost to it, and it is said once. What it says of
// one person breaks nothing.
func TestARefusalOfEverythingBreaksAReceiver(t *testing.T) {
	for _, personal := range []bool{false, true} {
		l, now := newLedger()
		var said []string
		gates := NewGates(l.policy)
		gates.says = func(receiver string, open bool, why string) { said = append(said, fmt.Sprint(receiver, open, why)) }
		l.gate, l.refuses = gates, gates.Refuses
		for i := range 50 {
			l.Take(intent(fmt.Sprint(i), "hook", event.PageFiring, now), now)
		}
		tries(l, &now, 10*time.Minute, func(*event.Page) Outcome { return Outcome{Err: errNet, Permanent: true, Personal: personal} })
		if personal {
			if l.Unsent() != 0 || len(said) != 0 {
				t.Errorf("what is about persons: %d are unsent, said %q", l.Unsent(), said)
			}
			continue
		}
		if n := l.Unsent(); n != 50-breakAfter+1 { // Of the last of those it was known by what the others came to.
			t.Errorf("%d were lost", 50-n)
		}
		if tries(l, &now, longestBreak+time.Minute, taking); l.Unsent() != 0 {
			t.Errorf("%d are unsent when it works again", l.Unsent())
		}
		if !slices.Equal(said, []string{"hooktrueconnection reset", "hookfalse"}) {
			t.Errorf("said %q", said)
		}
	}
}

// A receiver that refuses all that is said of one incident, for what is in it, works: others are told by it.
func TestOneIncidentThatIsRefusedBreaksNothing(t *testing.T) {
	l, now := newLedger()
	gates := NewGates(l.policy)
	gates.says = func(receiver string, open bool, why string) { t.Errorf("%s: open %t, %s", receiver, open, why) }
	l.gate = gates
	for _, who := range []string{"jo", "sun", "lee", "ada", "kim"} {
		p := intent("bad", "hook", event.PageFiring, now)
		p.ID, p.Person = event.PageID("bad", "hook/"+who, event.PageFiring, 0), who
		l.Take(p, now)
	}
	tries(l, &now, 10*time.Second, func(*event.Page) Outcome { return Outcome{Err: errNet, Permanent: true} })
	if l.Unsent() != 0 {
		t.Errorf("%d wait", l.Unsent())
	}
	l.Take(intent("good", "hook", event.PageFiring, now), now)
	if tries(l, &now, time.Second, taking); l.Unsent() != 0 {
		t.Error("another incident is not told")
	}
}

// One page that a receiver never takes does not keep others from it.
func TestABadPageBreaksNothing(t *testing.T) {
	l, now := newLedger()
	for i := range 3 {
		l.Take(intent(fmt.Sprint("bad", i), "hook", event.PageFiring, now), now)
	}
	answer := func(p *event.Page) Outcome {
		if strings.HasPrefix(p.Incident, "bad") {
			return failing(p)
		}
		return taking(p)
	}
	tries(l, &now, 10*time.Minute, answer)
	l.Take(intent("good", "hook", event.PageFiring, now), now)
	tries(l, &now, longestBreak+2*time.Second, answer)
	if l.Unsent() != 3 {
		t.Errorf("%d are unsent", l.Unsent())
	}
}

// What a receiver asks for holds for all of its pages.
func TestRetryAfterPausesTheWholeReceiver(t *testing.T) {
	l, now := newLedger()
	for i := range 10 {
		l.Take(intent(fmt.Sprint(i), "hook", event.PageFiring, now), now)
	}
	got := tries(l, &now, 42*time.Second, func(*event.Page) Outcome { return Outcome{Err: errNet, RetryAfter: 42 * time.Second} })
	if got[0] != perReceiver || slices.Max(got[1:]) != 0 {
		t.Errorf("attempts by second: %v", got)
	}
	if tries(l, &now, 20*time.Second, taking); l.Unsent() != 0 {
		t.Errorf("%d are unsent", l.Unsent())
	}
}

// Pages that wait for a receiver that does not work tell their persons by the next way all the same, and what waited for a
// day is given up.
func TestWhoWaitsForABrokenReceiverIsToldByTheNextWay(t *testing.T) {
	s := newShelf(t.Fatalf, DefaultPolicy())
	s.broken["pager"] = true
	for i := range 20 {
		s.page(fmt.Sprint("inc-", i), fmt.Sprint("pager/p", i), "critical", event.PageFiring, 0)
	}
	s.run(s.policy.FallbackAfter - time.Second)
	if len(s.told) != 0 {
		t.Errorf("told %q too early", s.kinds())
	}
	s.run(30 * time.Second)
	ways := map[string]int{}
	for _, p := range s.told {
		ways[whoOf(p)]++
		if p.Receiver != "mail" || p.Reason.Code != ReasonFallback {
			t.Errorf("%s was told because of %+v", whoOf(p), p.Reason)
		}
	}
	if len(ways) != 20 || len(s.told) != 20 {
		t.Errorf("told %d pages to %v", len(s.told), ways)
	}
	for range 24 * 60 {
		s.now = s.now.Add(time.Minute)
		s.pass(-1)
	}
	s.run(time.Minute)
	if s.ledger.Unsent() != 0 {
		t.Errorf("%d are unsent after a day", s.ledger.Unsent())
	}
}

// Partitions share what a receiver and a person can take; a trial of which nothing is heard any more keeps nobody.
func TestPartitionsShareTheGates(t *testing.T) {
	policy := DefaultPolicy()
	gates := NewGates(policy)
	now := time.Date(2026, 11, 21, 22, 0, 0, 0, time.UTC)
	var all []*Ledger
	for i := range 4 {
		l := NewLedger(policy, func(string) bool { return true })
		l.gate = gates
		for k := range 5 {
			p := intent(fmt.Sprint(i, "/", k), "pager", event.PageFiring, now)
			p.Person, p.Domain = "jo", fmt.Sprint(i)
			l.Take(p, now)
		}
		all = append(all, l)
	}
	sent := 0
	for range 10 {
		for _, l := range all {
			for _, p := range l.Due(now) {
				sent++
				l.Outcome(Outcome{Page: p.ID}, now)
			}
		}
	}
	if sent != policy.PersonLimit-1 {
		t.Errorf("%d pages were sent, want %d and the summaries to come", sent, policy.PersonLimit-1)
	}
	for i := range breakAfter {
		gates.End("hook", Outcome{Page: fmt.Sprint(i), Err: errNet}, now)
	}
	now = now.Add(time.Second)
	if !gates.Begin("hook", "a", now) || gates.Begin("hook", "b", now) {
		t.Error("not exactly one is on trial")
	}
	if now = now.Add(time.Minute); !gates.Begin("hook", "b", now) {
		t.Error("a trial of a process that lost its partition keeps the others waiting for ever")
	}
}

// Whatever a receiver answers, once it works every page is taken, in its time.
func TestNoBreakerStaysOpenForEver(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		l, now := newLedger()
		for i := range rapid.IntRange(1, 30).Draw(r, "pages") {
			l.Take(intent(fmt.Sprint(i), "hook", event.PageFiring, now), now)
		}
		tries(l, &now, time.Duration(rapid.IntRange(0, 600).Draw(r, "seconds"))*time.Second, func(*event.Page) Outcome {
			switch rapid.IntRange(0, 5).Draw(r, "answer") {
			case 0:
				return Outcome{}
			case 1:
				return Outcome{Err: errNet, RetryAfter: 20 * time.Second}
			case 2:
				return Outcome{Err: errNet, Unsent: true}
			case 3:
				return Outcome{Err: errNet, Permanent: true}
			default:
				return Outcome{Err: errNet}
			}
		})
		if tries(l, &now, 2*time.Minute, taking); l.Unsent() != 0 {
			r.Fatalf("%d are unsent", l.Unsent())
		}
	})
}

// A receiver may have a limit of its own, beside its kind.
func TestAReceiverMayHaveALimitOfItsOwn(t *testing.T) {
	h := &house{t: t}
	room, problems := New(h.options(`
receivers: {hook: {inbox: {}, limit: 3}, all: {inbox: {}, limit: 0}, chat: {inbox: {}}}
teams: {default: {receiver: chat}}
alerting: {receiver_limit: 7}
`, nil))
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	for receiver, want := range map[string]int{"hook": 3, "all": 0, "chat": 7} {
		if got := room.gates.limitOf(&event.Page{Receiver: receiver}); got != want {
			t.Errorf("%s: %d, want %d", receiver, got, want)
		}
	}
	if got := room.gates.limitOf(&event.Page{Receiver: "hook", Person: "jo"}); got != DefaultPolicy().PersonLimit {
		t.Errorf("jo: %d", got)
	}
	for _, bad := range []string{"limit: -1", "limit: many"} {
		if _, problems := New(h.options("receivers: {hook: {inbox: {}, "+bad+"}}\nteams: {default: {receiver: hook}}", nil)); len(problems) != 1 {
			t.Errorf("%s: %v", bad, problems)
		}
	}
}
