package alerting

import (
	"slices"
	"strings"
	"testing"
	"time"

	"kemi.dev/kemi/bus/event"
)

// An alert that named no target which was known began in the default domain. It turns out to be about one of another domain,
// behind what is down there, and people are told of that there: nobody more is called, until that is over and the alert is
// still there.
func TestACauseInTheTargetsOwnDomainExplainsAnAlertThatBeganElsewhere(t *testing.T) {
	for name, c := range map[string]struct {
		crash, over bool
		needs       []event.Need
		called      bool
	}{
		"still there":               {needs: []event.Need{{"tor-1"}}},
		"over with its cause":       {needs: []event.Need{{"tor-1"}}, over: true},
		"taken over meanwhile":      {needs: []event.Need{{"tor-1"}}, crash: true},
		"itself":                    {needs: nil},
		"one of two is there":       {needs: []event.Need{{"tor-1", "tor-2"}}, called: true},
		"nothing that it needs":     {needs: []event.Need{{"tor-2"}}, called: true},
		"one of two ways to be cut": {needs: []event.Need{{"tor-2"}, {"tor-1"}}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, h *house) {
				time.Sleep(5 * time.Second)
				others := slices.DeleteFunc(slices.Clone(h.room.partitions()), func(p int) bool { return domainIn(t, []int{p}) == "" || slices.Contains(h.owning("default"), p) })
				west := domainIn(t, others[:1])
				say := func(id, team string, needs ...event.Need) {
					target := &event.Target{ID: id, Class: "switch", Team: team, Lifecycle: event.Active, Labels: map[string]string{event.LabelDomain: west}, Relations: map[string][]event.Need{event.ConnectedTo: needs}}
					target.Version = target.ComputeVersion()
					h.say(target)
				}
				say("core-1", "other")
				say("tor-1", "other", event.Need{"core-1"})
				say("tor-2", "other")
				down, began := "core-1", time.Now()
				if c.needs == nil {
					down = "srv-9"
					say(down, "net")
				}
				h.abroad(west, "TargetDown", down, began, time.Time{})
				time.Sleep(20 * time.Second)
				before := len(h.told("net-box"))
				labels := event.LabelsOf(map[string]string{"alertname": "Slow", "instance": "srv-9:9100", "severity": "critical"})
				rule := event.RulePrefixElsewhere + "Slow"
				slow := event.Alert{
					ID: event.AlertID(rule, labels), Name: "Slow", Rule: rule, State: event.AlertFiring, Domain: "default", Severity: "critical", Labels: labels,
					StartsAt: time.Now(), Updated: time.Now(), Until: time.Now().Add(240 * time.Hour),
				}
				first := slow
				h.say(&first)
				time.Sleep(20 * time.Second)
				if c.needs != nil {
					say("srv-9", "net", c.needs...)
				}
				tied := slow
				tied.Target, tied.Team, tied.Updated = "srv-9", "net", tied.Updated.Add(1)
				h.say(&tied)
				time.Sleep(5 * time.Second)
				if c.crash {
					h.crash()
					h.start()
				}
				time.Sleep(10 * time.Minute)
				called := func() int {
					n := 0
					for _, said := range h.told("net-box")[before:] {
						if strings.HasPrefix(said, "firing") {
							n++
						}
					}
					return n
				}
				want := 0
				if c.called {
					want = 1
				}
				if got := called(); got != want {
					t.Fatalf("while %s is down: told %q", down, h.told("net-box"))
				}
				if c.over {
					resolved := tied
					resolved.State, resolved.EndsAt, resolved.Updated = event.AlertResolved, time.Now(), time.Now()
					h.say(&resolved)
				}
				h.abroad(west, "TargetDown", down, began, time.Now())
				time.Sleep(5 * time.Minute)
				if !c.over {
					want = 1
				}
				if got := called(); got != want {
					t.Errorf("when that is over: told %q and %q", h.told("net-box"), h.told("other-box"))
				}
			})
		})
	}
}

// owning are the partitions of a domain, which is one.
func (h *house) owning(domain string) (all []int) {
	h.room.sources.mu.Lock()
	defer h.room.sources.mu.Unlock()
	for p := range h.room.sources.watchers {
		if p.owns(domain) {
			all = append(all, p.own.Partition)
		}
	}
	return all
}
