package alerting

import (
	"maps"
	"slices"
	"testing"
	"time"

	"kemi.dev/kemi/bus/event"
)

// After a restart a topic hands over again what was not committed: an alert's old transitions change nothing.
func TestOldTransitionsAreOldNews(t *testing.T) {
	s := newStage(t, DefaultPolicy())
	fired := s.now
	transition := func(state event.AlertState, updated time.Time) *event.Alert {
		return &event.Alert{ID: "a", Name: "Down", State: state, Target: "x", Domain: "default", Team: "net", StartsAt: fired, Updated: updated}
	}
	s.desk.Alert(transition(event.AlertResolved, fired.Add(time.Minute)))
	s.desk.Alert(transition(event.AlertFiring, fired))
	s.do("+30s")
	if len(s.pages) != 0 || s.desk.Open() != 0 {
		t.Fatalf("old news were told: %s", s.said.String())
	}
	again := s.now.Add(time.Hour)
	s.desk.Alert(transition(event.AlertFiring, again))
	s.desk.Alert(transition(event.AlertFiring, again))
	s.desk.Alert(transition(event.AlertResolved, fired.Add(time.Minute)))
	s.do("+30s")
	if len(s.pages) != 1 {
		t.Fatalf("%d pages of an alert that fires again", len(s.pages))
	}
}

// Alerts without a target do not end up in one incident because they share nothing.
func TestAlertsWithoutTargetAreApart(t *testing.T) {
	s := newStage(t, DefaultPolicy())
	for _, name := range []string{"HighErrorRate", "LowTraffic"} {
		s.desk.Alert(&event.Alert{ID: name, Name: name, State: event.AlertFiring, Domain: "default", StartsAt: s.now, Updated: s.now, Annotations: map[string]string{"summary": "too much"}})
	}
	s.do("+30s")
	if len(s.pages) != 2 || s.pages[0].Title != "HighErrorRate: too much" || s.pages[0].Receiver != "default-hook" {
		t.Fatalf("told %s", s.said.String())
	}
}

// A verdict older than the newest known changes nothing, in whatever order they come.
func TestVerdictsCountByTheirTimeNotTheirOrder(t *testing.T) {
	s := newStage(t, DefaultPolicy())
	s.do("target core-1 switch")
	s.do("target srv-1 server core-1")
	s.saw("core-1", event.VerdictFiring, s.now.Add(2*time.Second))
	s.saw("core-1", event.VerdictOK, s.now.Add(time.Second))
	s.do("fire srv-1 TargetDown")
	s.do("+10s")
	if len(s.pages) != 1 || s.pages[0].Snapshot.Cause != "core-1" {
		t.Fatalf("told %s", s.said.String())
	}
}

// A verdict that comes late, about what was removed or never was, is not kept for ever.
func TestWhatNothingMentionsIsForgotten(t *testing.T) {
	s := newStage(t, DefaultPolicy())
	s.do("target core-1 switch")
	s.do("target srv-1 server core-1")
	s.saw("core-1", event.VerdictOK, s.now)
	s.do("+1s")
	s.desk.RemoveTarget("srv-1")
	s.desk.RemoveTarget("core-1")
	s.saw("core-1", event.VerdictFiring, s.now)
	s.saw("srv-1", event.VerdictOK, s.now)
	s.saw("early", event.VerdictFiring, s.now) // Its target comes by another topic.
	s.saw("mentioned", event.VerdictOK, s.now)
	s.alertAt("mentioned", event.AlertFiring, s.now, s.now)
	s.do("+30s")
	s.do("target early switch")
	s.do("target child server early")
	s.do("fire child TargetDown")
	s.do("+30s")
	if len(s.pages) == 0 || s.pages[len(s.pages)-1].Snapshot.Cause != "early" {
		t.Errorf("the verdict that came before its target was lost: %s", s.said.String())
	}
	for range 20 {
		s.do("+60s")
	}
	got := slices.Sorted(maps.Keys(s.desk.graph.nodes))
	if want := []string{"child", "early", "mentioned"}; !slices.Equal(got, want) {
		t.Errorf("known are %q, want %q", got, want)
	}
	s.alertAt("mentioned", event.AlertResolved, s.now, s.now)
	s.do("+60s")
	if n := s.desk.graph.nodes["mentioned"]; n != nil {
		t.Error("what nothing mentions any more is kept")
	}
	if len(s.desk.strangers) != 0 {
		t.Errorf("%d strangers are kept", len(s.desk.strangers))
	}
}

// At most VerifyAtOnce polls are under way, those that most wait for first.
func TestVerifyingPollsAreFewAndTheRightOnesFirst(t *testing.T) {
	policy := DefaultPolicy()
	policy.VerifyAtOnce = 2
	s := newStage(t, policy)
	ids := site(s, 400)
	for _, id := range ids[50:] {
		s.saw(id, event.VerdictFiring, s.now)
		s.alertAt(id, event.AlertFiring, s.now, s.now)
	}
	out := s.desk.Step(s.now)
	if len(out.Verify) != 2 || out.Verify[0].Target.ID != "core-1" || out.Verify[0].Incident == "" {
		t.Fatalf("asked for %+v", out.Verify)
	}
	if again := s.desk.Step(s.now.Add(time.Second)); len(again.Verify) != 0 {
		t.Fatalf("asked for %d more", len(again.Verify))
	}
}
