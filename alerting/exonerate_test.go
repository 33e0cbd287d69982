package alerting

import (
	"slices"
	"strings"
	"testing"

	"kemi.dev/kemi/bus/event"
)

// What is added to the causes of one incident is not said of another.
func TestCausesAreOfOneIncident(t *testing.T) {
	s := newStage(t, DefaultPolicy())
	n := s.desk.graph.node("core-1")
	causes := append(make([]string, 0, 8), "srv-1", "srv-2")
	for _, id := range []string{"a", "b"} {
		inc := &incident{key: key{n, false}, rec: event.Incident{ID: id}, cleared: n}
		n.incidents = append(n.incidents, inc)
	}
	s.desk.accused(n, ReasonSuspected, causes...)
	for _, inc := range n.incidents {
		inc.rec.Reason.Causes = append(inc.rec.Reason.Causes, "by "+inc.rec.ID)
	}
	if got := n.incidents[0].rec.Reason.Causes; !slices.Equal(got, []string{"srv-1", "srv-2", "by a"}) {
		t.Errorf("the causes of a are %q", got)
	}
	g := &graph{nodes: map[string]*node{}}
	for _, id := range []string{"s1", "s2", "s3"} {
		u, _ := g.set(&event.Target{ID: id, Relations: map[string][]event.Need{event.ConnectedTo: {{"sw"}}}})
		u.state = down
	}
	if ids := g.failing(g.node("sw")); len(ids) != 3 || cap(ids) != 3 {
		t.Errorf("failing are %q of %d", ids, cap(ids))
	}
}

// Teams and targets may be called anything: what is left behind core-1 is behind core-1, and a target is no group.
func TestNamesDoNotMakeAGroup(t *testing.T) {
	s := newStage(t, DefaultPolicy())
	for _, line := range strings.Split(strings.TrimSpace(`
target core-1 switch team=core/net nochecks
target srv-1 server core-1 team=core/net nochecks
target srv-2 server core-1 team=core/net nochecks
target srv-3 server core-1 team=core/net nochecks
fire srv-1 HostDown
fire srv-2 HostDown
fire srv-3 HostDown
+20s
resolve srv-1 HostDown
+2m`), "\n") {
		s.do(line)
	}
	if said := s.said.String(); !strings.Contains(said, "update to core/net-hook: 2 targets behind core-1 fire") {
		t.Error(said)
	}
	for _, id := range []string{"behind/net/core-1", "similar/net/switch", "alert/Watchdog"} {
		s := newStage(t, DefaultPolicy())
		for _, line := range []string{"target " + id + " switch", "down " + id, "fire " + id + " TargetDown", "fire " + id + " FanBroken", "+20s", "up " + id, "resolve " + id + " TargetDown", "+2m"} {
			s.do(line)
		}
		kinds := map[event.IncidentKind]bool{}
		for _, i := range s.incidents {
			if kinds[i.Kind] = true; i.Target() != id && i.State != event.IncidentResolved {
				t.Errorf("an incident of %s is about %q", id, i.Target())
			}
		}
		said := s.said.String()
		if kinds[event.IncidentSimilar] || !strings.Contains(said, id+" (switch) is down") || !strings.Contains(said, id+" (switch): FanBroken") {
			t.Errorf("%v %s", kinds, said)
		}
	}
}
