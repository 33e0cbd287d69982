package alerting

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"kemi.dev/kemi/bus/event"
)

// called lists who was paged that something fires, in the order of it.
func (s *stage) called() (all []string) {
	for _, p := range s.pages {
		if p.Kind == event.PageFiring {
			all = append(all, whoOf(p))
		}
	}
	return all
}

// A severity that nobody knows is urgent: a known one that is not cannot hide it.
func TestASeverityThatNobodyKnowsIsUrgent(t *testing.T) {
	for _, c := range []struct{ a, b, want string }{
		{"warning", "p1", "p1"},
		{"p1", "warning", "p1"},
		{"info", "outage", "outage"},
		{"", "info", "info"},
		{"warning", "critical", "critical"},
		{"critical", "warning", "critical"},
		{"info", "warning", "warning"},
		{"warning", "high", "high"},
	} {
		if got := worse(c.a, c.b); got != c.want {
			t.Errorf("worse of %q and %q is %q, want %q", c.a, c.b, got, c.want)
		}
	}
}

// A step that has nobody is passed over at once, and the escalation goes on from there.
func TestAStepWithoutAnybodyIsPassedOver(t *testing.T) {
	s := newStage(t, DefaultPolicy())
	for _, line := range []string{"target core-1 switch team=gap", "down core-1", "fire core-1 TargetDown", "+10s"} {
		s.do(line)
	}
	if got := s.called(); !slices.Equal(got, []string{"pager/sun"}) {
		t.Fatalf("called %q first", got)
	}
	s.do("+5m")
	if got := s.called(); !slices.Equal(got, []string{"pager/sun", "mail/boss"}) {
		t.Errorf("called %q", got)
	}
}

// A target with more alerts than a record lists is one incident over a restart, too.
func TestManyAlertsOfOneTargetStayOneIncidentOverARestart(t *testing.T) {
	s := newStage(t, DefaultPolicy())
	s.do("target core-1 switch team=oncall")
	s.do("up core-1")
	for i := range 30 {
		s.alert("core-1", fmt.Sprintf("If%dDown", i), event.AlertFiring)
	}
	s.do("+2s")
	s.do("up core-1")
	s.do("+20s")
	if len(s.called()) != 1 {
		t.Fatalf("called %q before the restart", s.called())
	}
	s.restart()
	s.do("+1m")
	if len(s.called()) != 1 {
		t.Errorf("called %q after it:\n%s", s.called(), s.said.String())
	}
	for i := range 30 {
		s.alert("core-1", fmt.Sprintf("If%dDown", i), event.AlertResolved)
	}
	s.do("+1m")
	s.promises()
	if s.desk.Open() != 0 {
		t.Errorf("%d incidents are left", s.desk.Open())
	}
}

// A process that was away while a storm waited to be told tells of it once, and not of every piece.
func TestARestartInTheMiddleOfAStormIsOnePage(t *testing.T) {
	s := newStage(t, DefaultPolicy())
	for i := range 12 {
		s.do(fmt.Sprintf("target srv-%d server nochecks", i))
		s.alert(fmt.Sprintf("srv-%d", i), "HostDown", event.AlertFiring)
	}
	s.do("+2s")
	s.now = s.now.Add(20 * time.Second)
	s.restart()
	s.do("+10s")
	if len(s.pages) != 1 || !strings.HasPrefix(s.pages[0].Title, "12 servers of team net fail at once") {
		t.Errorf("told %q", s.told())
	}
}

// What the CMDB says of a target's lifecycle holds pages back, and lets them go, at once.
func TestTheLifecycleIsHeededAtOnce(t *testing.T) {
	s := newStage(t, DefaultPolicy())
	s.do("target core-1 switch team=oncall")
	lifecycle := func(l event.Lifecycle) {
		target := *s.targets["core-1"]
		target.Lifecycle = l
		s.targets["core-1"] = &target
		s.desk.SetTarget(&target)
	}
	lifecycle(event.Maintenance)
	for _, line := range []string{"down core-1", "fire core-1 TargetDown", "+10m"} {
		s.do(line)
	}
	if len(s.pages) != 0 {
		t.Fatalf("called %q during the maintenance", s.called())
	}
	lifecycle(event.Active)
	s.do("+2s")
	if !slices.Equal(s.called(), []string{"pager/jo"}) {
		t.Errorf("called %q when it was over", s.called())
	}
	lifecycle(event.Maintenance)
	s.do("+20m")
	if len(s.called()) != 1 {
		t.Errorf("called %q during the next", s.called())
	}
}

// When the cause is another team's that team's escalation begins, at its first step.
func TestAnotherTeamsEscalationBeginsAtItsBeginning(t *testing.T) {
	s := newStage(t, DefaultPolicy())
	for _, line := range []string{
		"target core-1 switch team=oncall", "target srv-1 server core-1", "down srv-1", "fire srv-1 TargetDown", "+1s", "up core-1", "+10s",
		"down core-1", "+10s",
	} {
		s.do(line)
	}
	if want := []string{"net-hook", "pager/jo"}; !slices.Equal(s.called(), want) {
		t.Fatalf("called %q, want %q\n%s", s.called(), want, s.said.String())
	}
	s.do("+12m")
	if want := []string{"net-hook", "pager/jo", "pager/jo", "pager/sun"}; !slices.Equal(s.called(), want) {
		t.Errorf("called %q, want %q", s.called(), want)
	}
}

// Each time somebody is given an incident they are told, however often that was done before.
func TestEveryAssignmentIsTold(t *testing.T) {
	s := newStage(t, DefaultPolicy())
	for _, line := range []string{"target core-1 switch", "down core-1", "fire core-1 TargetDown", "+10s"} {
		s.do(line)
	}
	for range 2 * event.MaxActs {
		s.do("assign core-1 lee")
		s.do("+1s")
	}
	if got := len(s.called()) - 1; got != 2*event.MaxActs {
		t.Errorf("told %d of %d times", got, 2*event.MaxActs)
	}
}
