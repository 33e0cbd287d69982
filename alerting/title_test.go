package alerting

import (
	"strings"
	"testing"

	"kemi.dev/kemi/bus/event"
)

// A single target has its name in a title, also one that the CMDB does not know; several are counted.
func TestASingleTargetHasItsName(t *testing.T) {
	known := &node{id: "srv-1", target: &event.Target{ID: "srv-1", Class: "server"}}
	unknown, none := &node{id: "10.0.0.7:9100"}, &node{id: noTarget + "net/Deadlock"}
	for want, of := range map[string][]*node{
		"srv-1 (server) behind core-1 fires":           {known},
		"10.0.0.7:9100 behind core-1 fires":            {unknown},
		"an alert about no target behind core-1 fires": {none},
		"3 targets behind core-1 fire":                 {known, unknown, none},
	} {
		targets := map[*node]struct{}{}
		for _, n := range of {
			targets[n] = struct{}{}
		}
		if got := firing(targets, " behind core-1"); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// So has the last of several that fail at once.
func TestTheLastOfSeveralHasItsName(t *testing.T) {
	s := newStage(t, DefaultPolicy())
	for _, line := range strings.Split(`target a server nochecks team=oncall
target b server nochecks team=oncall
target c server nochecks team=oncall
target d server nochecks team=oncall
fire a HostDown
fire b HostDown
fire c HostDown
fire d HostDown
+10s
resolve a HostDown
resolve b HostDown
resolve c HostDown
+6m`, "\n") {
		s.do(line)
	}
	for _, want := range []string{"4 servers of team oncall fail at once: HostDown (4)", "d (server) of team oncall still fails: HostDown (1)"} {
		if !strings.Contains(s.said.String(), want) {
			t.Errorf("%q is not said:\n%s", want, s.said.String())
		}
	}
}
