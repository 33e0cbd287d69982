package alerting

import (
	"slices"
	"testing"
	"time"

	"kemi.dev/kemi/bus/event"
)

// post says an alert of somebody else's, as processors/alert does: once a target is known, it stays.
func (s *stage) post(f []string) {
	name, instance, target := f[len(f)-2], f[len(f)-1], ""
	labels := event.LabelsOf(map[string]string{"alertname": name, "instance": instance})
	rule := event.RulePrefixElsewhere + name
	a := &event.Alert{
		ID: event.AlertID(rule, labels), Name: name, Rule: rule, State: event.AlertFiring, Domain: "default",
		Severity: "critical", Labels: labels, StartsAt: s.now, Updated: s.now,
	}
	if f[0] == "post" && f[1] != "-" {
		target = f[1]
		a.Team = s.known(target).Team
	}
	if old := s.alerts[a.ID]; old != nil {
		a.StartsAt, a.Team = old.StartsAt, old.Team
		if target == "" {
			target = old.Target
		} else if old.Target == "" {
			a.Team = s.known(target).Team
		}
	}
	a.Target = target
	if s.alerts[a.ID] = a; f[0] == "ended" {
		a.State, a.EndsAt = event.AlertResolved, s.now
		delete(s.alerts, a.ID)
	}
	s.desk.Hushed()
	s.desk.Alert(a)
}

// A target goes to another domain, which is another partition's, while it is down and has an alert of its own. What is said
// of it goes on in the domain where it fired (processors/rule sees to that): there nothing is over, elsewhere nothing begins,
// also when the process is another by then.
func TestATargetThatGoesToAnotherPartitionIsOverOnce(t *testing.T) {
	for name, crash := range map[string]bool{"running": false, "taken over": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, h *house) {
				time.Sleep(5 * time.Second)
				all := h.room.partitions()
				here, there := domainIn(t, all[:1]), domainIn(t, all[1:2])
				of := func(domain string) *event.Target {
					return &event.Target{
						ID: "sw-1", Class: "switch", Team: "net", Lifecycle: event.Active, Labels: map[string]string{event.LabelDomain: domain}, Updated: time.Now(),
						Version: domain, Checks: []event.Check{{Name: "snmp", Kind: "snmp", Every: 10 * time.Second}},
					}
				}
				reach := func(v event.Verdict) {
					h.say(&event.Finding{Rule: event.RuleReachable, Verdict: v, Target: "sw-1", Domain: here, Since: time.Now(), At: time.Now(), Labels: event.LabelsOf(map[string]string{"target": "sw-1"})})
				}
				h.say(of(here))
				time.Sleep(time.Second)
				began := time.Now()
				reach(event.VerdictFiring)
				h.abroad(here, "TargetDown", "sw-1", began, time.Time{})
				time.Sleep(time.Minute)
				if got := h.told("net-box"); !slices.Equal(got, []string{"firing sw-1 (switch) is down"}) {
					t.Fatalf("told %q", got)
				}
				h.say(of(there))
				if time.Sleep(time.Second); crash {
					h.crash()
					h.start()
				}
				time.Sleep(5 * time.Minute)
				if got := h.told("net-box"); len(got) != 1 {
					t.Fatalf("when it went to another domain: told %q", got)
				}
				reach(event.VerdictOK)
				h.abroad(here, "TargetDown", "sw-1", began, time.Now())
				time.Sleep(2 * time.Minute)
				if got := h.told("net-box"); len(got) != 2 || got[1][:len("resolved sw-1 (switch) is up")] != "resolved sw-1 (switch) is up" {
					t.Errorf("when it is over: told %q", got)
				}
			})
		})
	}
}
