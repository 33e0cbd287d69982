package alerting

import (
	"slices"
	"strings"
	"testing"
	"time"

	"kemi.dev/kemi/bus/event"
)

// A call that was decided before somebody took the incident on is neither tried again nor made by another way; what is
// given to a person by hand is told, and so is what begins anew when nobody looks after it any more.
func TestNobodyIsCalledByWhatWasDecidedBefore(t *testing.T) {
	s := newShelf(t.Fatalf, DefaultPolicy())
	taken := false
	quiet := func(string) (event.Reason, bool) {
		return event.Reason{Code: ReasonAcknowledged, Text: "sun looks after it"}, taken
	}
	s.ledger.quiet = quiet
	s.broken["pager"] = true
	s.page("inc", "pager/jo", "critical", event.PageFiring, 0)
	s.run(time.Minute)
	taken = true
	s.broken["pager"] = false
	s.run(10 * time.Minute)
	if len(s.told) != 0 {
		t.Fatalf("told %q", s.kinds())
	}
	s.restart()
	s.ledger.quiet = quiet
	s.page("inc", "pager/jo", "critical", event.PageUpdate, 1)
	given := s.page("inc", "mail/lee", "critical", event.PageFiring, 7)
	given.Reason.Code = ReasonAssigned
	s.run(time.Minute)
	if got := s.kinds(); len(got) != 2 || s.told[0].Person != "lee" && s.told[1].Person != "lee" {
		t.Errorf("told %q", got)
	}
	taken = false
	s.page("inc", "pager/jo", "critical", event.PageFiring, steps)
	s.run(time.Minute)
	s.page("inc", "pager/jo", "critical", event.PageResolved, 0)
	s.run(time.Minute)
	if got := s.kinds(); !slices.Equal(got[len(got)-2:], []string{"firing inc is broken", "resolved inc is broken"}) {
		t.Errorf("told %q", got)
	}
	var held []string
	for _, p := range s.stored {
		if p.Stage == event.PageHeld {
			held = append(held, p.Reason.Code+": "+p.Reason.Text)
		}
	}
	if len(held) != 1 || held[0] != "acknowledged: sun looks after it" {
		t.Errorf("held %q", held)
	}
}

// The desk says of which incidents nobody is to be called, and why.
func TestTheDeskSaysAboutWhatNobodyIsCalled(t *testing.T) {
	s := newStage(t, DefaultPolicy())
	quiet := func() string {
		var all []string
		for id := range s.desk.incidents {
			why, is := s.desk.Quiet(id)
			if is != (why.Code != "") {
				t.Errorf("%t: %+v", is, why)
			}
			all = append(all, why.Code)
		}
		return strings.Join(all, " ")
	}
	for _, c := range []struct{ line, want string }{
		{"target core-1 switch team=oncall", ""},
		{"down core-1", ""},
		{"fire core-1 TargetDown", ""},
		{"+10s", ""},
		{"ack core-1 jo 5m", ReasonAcknowledged},
		{"+6m", ""},
		{"snooze core-1 5m", ReasonSnoozed},
		{"+6m", ""},
		{"silence s1 10m target=core-1", ""},
		{"+1s", "silenced"},
		{"+11m", ""},
	} {
		if s.do(c.line); quiet() != c.want {
			t.Errorf("after %q: %q", c.line, quiet())
		}
	}
}
