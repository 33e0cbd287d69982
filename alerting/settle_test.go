package alerting

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"kemi.dev/kemi/bus/event"
)

// What is known of whether a page arrived is the same after a restart: of one that was given up and never tried nobody hears
// that it is over, of one that may have been tried whoever it was for does.
func TestWhatIsKnownOfAPageThatWasGivenUpOutlivesARestart(t *testing.T) {
	for name, c := range map[string]struct {
		restored bool // Before: its attempt may have been made by a process that is no more.
		arrival  event.Arrival
		due      int
	}{
		"its turn never came":          {false, event.NotArrived, 0},
		"perhaps tried before a crash": {true, event.ArrivalUnknown, 1},
	} {
		l, now := newLedger()
		p := intent("i", "chat", event.PageFiring, now)
		if l.Take(p, now); c.restored {
			retrying := *p
			retrying.Stage, retrying.Attempts, retrying.Arrival, retrying.NextTry = event.PageRetrying, 1, event.NotArrived, now
			l, _ = newLedger()
			l.Restore([]*event.Page{&retrying}, now)
		}
		l.Lines()
		now = now.Add(25 * time.Hour) // Its receiver's breaker was open all the time.
		l.Review(now)
		lines := l.Lines()
		if len(lines) != 1 || lines[0].Stage != event.PageFailed || lines[0].Arrival != c.arrival {
			t.Fatalf("%s: %d lines, the first %+v", name, len(lines), lines[0])
		}
		again, _ := newLedger()
		again.Restore(lines, now)
		for _, l := range []*Ledger{l, again} {
			l.Take(intent("i", "chat", event.PageResolved, now), now)
			if got := l.Due(now); len(got) != c.due {
				t.Errorf("%s: that it is over is told %d times, want %d; restarted: %t", name, len(got), c.due, l == again)
			}
		}
	}
}

// calling is a ledger whose pager, and beeper, refuse whatever they get; mail comes after pager, and chat after mail.
func calling(refused ...string) (*Ledger, time.Time) {
	l, now := newLedger()
	l.after = func(receiver, _ string) string {
		return map[string]string{"pager": "mail", "beeper": "mail", "mail": "chat"}[receiver]
	}
	l.refuses = func(receiver string) (string, bool) { return "no", slices.Contains(refused, receiver) }
	return l, now
}

func (l *Ledger) call(incident, receiver, person string, now time.Time) *event.Page {
	p := intent(incident, receiver, event.PageFiring, now)
	p.ID, p.Person = event.PageID(incident, receiver+"/"+person, event.PageFiring, 0), person
	l.Take(p, now)
	return p
}

// Who was reached by another way is not called after a restart by the ways before it, also when all of them are of one
// instant, in whatever order they are read.
func TestWhoWasReachedAtOnceIsNotCalledAfterARestart(t *testing.T) {
	for i := range 30 {
		l, now := calling("pager", "mail")
		l.Review(now)
		first := l.call(fmt.Sprint("other", i), "pager", "jo", now) // The receivers refuse from now on.
		l.call(first.Incident, "mail", "jo", now)
		l.Review(now)
		p := l.call(fmt.Sprint("inc", i), "pager", "jo", now)
		var all []*event.Page
		for last := p; last != nil; last = l.Fallback(last, now) {
			if last != p {
				l.Take(last, now)
			}
			all = append(all, last)
		}
		if len(all) != 3 || !all[2].Created.Equal(p.Created) {
			t.Fatalf("%d ways", len(all))
		}
		sent := *all[2]
		sent.Stage, sent.Arrival, sent.Attempts = event.PageSent, event.Arrived, 1
		all[2] = &sent
		again, _ := calling()
		now = now.Add(time.Minute)
		if again.Restore(all, now); len(again.Due(now)) > 0 || again.Unsent() != 0 {
			t.Fatalf("incident %d: %d are still to be sent", i, again.Unsent())
		}
	}
}

// When receivers begin to refuse whatever they get, people are told by their next way in the order in which they were to be.
func TestTheNextWaysAreInOrder(t *testing.T) {
	l, now := calling("pager", "beeper")
	var want []string
	for i := range 20 {
		receiver := []string{"pager", "beeper"}[i%2]
		want = append(want, l.call(fmt.Sprint("inc", i), receiver, fmt.Sprint("p", i), now.Add(time.Duration(i)*time.Millisecond)).Incident)
	}
	now = now.Add(time.Second)
	var got []string
	for _, p := range l.Review(now) {
		got = append(got, p.Incident)
	}
	if !slices.Equal(got, want) {
		t.Errorf("told %q", got)
	}
}

// Who heard of an incident, and has not heard yet that it fires again, is being told; after a restart as well.
func TestWhoHeardOfTheRoundBeforeIsBeingTold(t *testing.T) {
	l, now := newLedger()
	var stored []*event.Page
	for i, kind := range []event.PageKind{event.PageFiring, event.PageResolved, event.PageFiring} {
		now = now.Add(time.Minute)
		p := intent("i", "chat", kind, now)
		if i == 2 {
			p.ID, p.Snapshot = "again", &event.Incident{Round: 1}
		}
		l.Take(p, now)
		if i < 2 {
			stored = append(stored, l.Outcome(Outcome{Page: l.Due(now)[0].ID}, now))
		} else {
			stored = append(stored, p)
		}
	}
	again, _ := newLedger()
	again.Restore(stored, now)
	for _, l := range []*Ledger{l, again} {
		if got := l.hearing("i", "chat"); got != hearingNow {
			t.Errorf("it fires again, and the page waits: %d; restarted: %t", got, l == again)
		}
		l.Outcome(Outcome{Page: l.Due(now)[0].ID}, now)
		if got := l.hearing("i", "chat"); got != hearingDone {
			t.Errorf("told again: %d; restarted: %t", got, l == again)
		}
	}
}
