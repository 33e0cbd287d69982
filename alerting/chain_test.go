package alerting

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"kemi.dev/kemi/bus/event"
)

// to lists what arrived, as way/person, in order.
func (s *shelf) to() (all []string) {
	for _, p := range s.told {
		all = append(all, whoOf(p)+" "+string(p.Kind))
	}
	return all
}

// Who was reached by their next way is not called by the first minutes later, also after a restart; that it is over they
// hear by the first, too, when that may have told them.
func TestWhoIsReachedByAnotherWayIsNotCalledAgain(t *testing.T) {
	for _, c := range []struct {
		restart bool
		answer  Outcome
		arrival event.Arrival
		want    []string
	}{
		{answer: Outcome{Err: errNet}, arrival: event.ArrivalUnknown, want: []string{"mail/jo firing", "pager/jo resolved", "mail/jo resolved"}},
		{answer: Outcome{Err: errNet, Arrival: event.NotArrived}, arrival: event.NotArrived, want: []string{"mail/jo firing", "mail/jo resolved"}},
		{answer: Outcome{Err: errNet}, arrival: event.ArrivalUnknown, restart: true, want: []string{"mail/jo firing", "pager/jo resolved", "mail/jo resolved"}},
	} {
		s := newShelf(t.Fatalf, DefaultPolicy())
		s.says = map[string]Outcome{"pager": c.answer}
		p := s.page("inc", "pager/jo", "critical", event.PageFiring, 0)
		s.run(s.policy.FallbackAfter)
		if c.restart { // It dies when it is known that the mail went, before it is said what follows from that.
			s.ledger.Review(s.now)
			s.store(-1)
			for _, due := range s.ledger.Due(s.now) {
				if line := s.ledger.Outcome(Outcome{Page: due.ID}, s.now); due.Receiver == "mail" && line != nil {
					s.told, s.toldAt = append(s.told, due), append(s.toldAt, s.now)
					s.stored[line.ID] = line
				}
			}
			s.restart()
		}
		s.run(10 * time.Second)
		clear(s.says)
		s.run(5 * time.Minute)
		if got := s.stored[p.ID]; got.Stage != event.PageHeld || got.Reason.Code != ReasonReached || got.Reason.Text != "reached by mail" || got.Arrival != c.arrival {
			t.Errorf("%+v: the first is %s: %+v, %q", c, got.Stage, got.Reason, got.Arrival)
		}
		s.page("inc", "pager/jo", "critical", event.PageResolved, 0)
		s.page("inc", "mail/jo", "critical", event.PageResolved, 0)
		s.run(time.Minute)
		got := s.to()
		slices.Sort(got)
		slices.Sort(c.want)
		if !slices.Equal(got, c.want) {
			t.Errorf("%+v: told %q, want %q", c, got, c.want)
		}
	}
}

// Each chain is its own: who is reached for one thing is called for another.
func TestAnotherProblemIsCalledAllTheSame(t *testing.T) {
	s := newShelf(t.Fatalf, DefaultPolicy())
	s.broken["pager"] = true
	s.page("inc-1", "pager/jo", "critical", event.PageFiring, 0)
	s.run(s.policy.FallbackAfter - 10*time.Second)
	s.page("inc-2", "pager/jo", "critical", event.PageFiring, 0)
	s.run(20 * time.Second)
	s.broken["pager"] = false
	s.run(5 * time.Minute)
	if got := s.kinds(); !slices.Equal(got, []string{"firing inc-1 is broken", "firing inc-2 is broken"}) || s.told[0].Receiver != "mail" || s.told[1].Receiver != "pager" {
		t.Errorf("told %q: %q", s.to(), got)
	}
}

// A receiver that refuses whatever it gets has people told by their next way at once, also of what it never got.
func TestWhoWaitsForAReceiverThatRefusesEverythingIsToldAtOnce(t *testing.T) {
	s := newShelf(t.Fatalf, DefaultPolicy())
	s.says = map[string]Outcome{"pager": {Err: errNet, Permanent: true}}
	for i := range 20 {
		s.page(fmt.Sprint("inc-", i), fmt.Sprint("pager/p", i), "critical", event.PageFiring, 0)
	}
	s.run(8 * time.Second) // Four at a time, in each second.
	if len(s.told) != 20 {
		t.Fatalf("after 8 s %d are told", len(s.told))
	}
	s.page("later", "pager/jo", "critical", event.PageFiring, 0)
	s.run(2 * time.Second)
	if len(s.told) != 21 || s.told[20].Person != "jo" || s.told[20].Reason.Text != "pager does not work: "+errNet.Error() {
		t.Errorf("told %q", s.to())
	}
	s.run(time.Hour)
	if s.ledger.Unsent() != 0 || len(s.told) != 21 {
		t.Errorf("%d are unsent, told %q", s.ledger.Unsent(), s.to())
	}
	clear(s.says)
	s.run(time.Minute)
	for i := range 20 {
		s.page(fmt.Sprint("inc-", i), fmt.Sprint("pager/p", i), "critical", event.PageResolved, 0)
	}
	s.run(time.Minute)
	for _, p := range s.told[21:] {
		t.Errorf("%s hears by %s that %s is over, of which they never heard", p.Person, p.Receiver, p.Incident)
	}
}
