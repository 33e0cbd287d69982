package view_test

import (
	"slices"
	"testing"
	"time"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/cmd/kemi/view"
)

var at = time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)

func reach(target string, v event.Verdict, after time.Duration) *event.Finding {
	return &event.Finding{Rule: event.RuleReachable, Target: target, Verdict: v, Since: at.Add(after), At: at.Add(after)}
}

func TestHealthIsTheNewestWordOnReachability(t *testing.T) {
	s := view.NewState()
	for _, id := range []string{"a", "b", "c", event.CanaryTarget} {
		s.SetTarget(&event.Target{ID: id, Class: map[bool]string{true: event.CanaryClass, false: "switch"}[id == event.CanaryTarget]})
	}
	s.SetFinding(reach("a", event.VerdictOK, 2*time.Second))
	s.SetFinding(reach("a", event.VerdictFiring, time.Second)) // Older: arrives late.
	s.SetFinding(reach("b", event.VerdictFiring, 0))
	s.SetFinding(&event.Finding{Rule: "g/HighLoad", Target: "c", Verdict: event.VerdictFiring})
	if got := s.Health()["switch"]; got[view.Up] != 1 || got[view.Down] != 1 || got[view.Waiting] != 1 || len(s.Health()) != 1 {
		t.Errorf("health %v", s.Health())
	}
	if down := s.Targets(view.Filter{State: "DOWN", Class: "switch"}); len(down) != 1 || down[0].ID != "b" {
		t.Errorf("down: %v", down)
	}
	s.RemoveTarget("b")
	if _, found := s.Target("b"); found || len(s.Targets(view.Filter{})) != 2 {
		t.Error("a removed target is still there")
	}
}

func TestListsAreNewestFirstAndNarrowed(t *testing.T) {
	s := view.NewState()
	for i, id := range []string{"aa1", "aa2", "bb1"} {
		state := event.IncidentOpen
		if id == "aa2" {
			state = event.IncidentResolved
		}
		s.SetIncident(&event.Incident{ID: id, State: state, Team: "t" + id[2:], OpenedAt: at.Add(time.Duration(i) * time.Second)})
	}
	ids := func(f view.Filter) (all []string) {
		for _, i := range s.Incidents(f) {
			all = append(all, i.ID)
		}
		return all
	}
	if got := ids(view.Filter{}); !slices.Equal(got, []string{"bb1", "aa2", "aa1"}) {
		t.Errorf("order %v", got)
	}
	if got := ids(view.Filter{State: "open", Team: "t1"}); !slices.Equal(got, []string{"bb1", "aa1"}) {
		t.Errorf("narrowed %v", got)
	}
	s.SetIncident(&event.Incident{ID: "bb1", State: event.IncidentResolved, Reason: event.Reason{Code: event.ReasonMerged}, Told: []string{"hook"}})
	s.SetIncident(&event.Incident{ID: "cc1", State: event.IncidentVerifying})
	s.SetIncident(&event.Incident{ID: "cc1", State: event.IncidentResolved, Reason: event.Reason{Code: event.ReasonMerged}})
	if got := ids(view.Filter{}); len(got) != 3 {
		t.Errorf("what was only a question is listed: %v", got)
	}
	if i, ok := s.Incident("bb"); !ok || i.ID != "bb1" {
		t.Error("the start of an id does not find it")
	}
	if _, ok := s.Incident("aa"); ok {
		t.Error("a start that two ids share found one")
	}
	s.SetPage(&event.Page{ID: "p1", Incident: "aa1", Stage: event.PageSent, Snapshot: &event.Incident{Cause: "core-1"}, Updated: at})
	s.SetPage(&event.Page{ID: "p2", Incident: "bb1", Stage: event.PageRetrying, Updated: at})
	if n, m := len(s.Pages(view.Filter{Incident: "aa1"})), len(s.Pages(view.Filter{Target: "core-1"})); n != 1 || m != 1 {
		t.Errorf("%d pages of the incident, %d of its cause", n, m)
	}
	s.SetAlert(&event.Alert{ID: "a1", State: event.AlertFiring, Updated: at})
	s.SetAlert(&event.Alert{ID: "a2", State: event.AlertResolved, Updated: at})
	s.Forget(at.Add(view.Kept + time.Second))
	if a, p := s.Alerts(view.Filter{}), s.Pages(view.Filter{}); len(a) != 1 || a[0].ID != "a1" || len(p) != 1 || p[0].ID != "p2" {
		t.Errorf("after a week: %d alerts, %d pages", len(a), len(p))
	}
	if _, ok := s.Incident(""); ok {
		t.Error("nothing found something")
	}
}
