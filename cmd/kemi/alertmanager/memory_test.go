package alertmanager_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/cmd/kemi/view"
)

// move says that tor-1 belongs elsewhere; without a domain it is gone.
func (h *house) move(domain, team string) {
	h.t.Helper()
	at := tor()
	at.Labels[event.LabelDomain], at.Team = domain, team
	at.Version = at.ComputeVersion()
	var err error
	if domain == "" {
		err = h.b.Remove(h.t.Context(), at)
	} else {
		err = h.b.Publish(h.t.Context(), at)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	h.model.Await(h.t.Context(), func(s *view.State) bool {
		now := s.Known("tor-1")
		return domain == "" && now == nil || now != nil && now.Domain() == domain
	})
}

// said is what stands on the bus of an alert, in order: verdict, target and domain.
func (h *house) said(name string) (all []string) {
	h.t.Helper()
	for _, f := range h.stored() {
		if f.Alert == name {
			all = append(all, fmt.Sprintf("%s %s/%s/%s", f.Verdict, f.Target, f.Team, f.Domain))
		}
	}
	return all
}

// Wherever its target goes meanwhile, an alert that fires is the same problem until it is over; what fires anew afterwards
// belongs where its target is then.
func TestAnAlertThatFiresStaysWhereItIsUntilItIsOver(t *testing.T) {
	h := serve(t, quiet, tor())
	down := func(n int, more ...string) {
		t.Helper()
		h.post(n, list(one(ls{"alertname": "Down", "instance": "tor-1:9100"}, more...)))
	}
	again := func(i int) []string { return []string{"annotations", fmt.Sprintf(`{"n":"%d"}`, i)} }
	down(1)
	h.move("east", "core")
	down(1, again(1)...)
	h.move("", "")
	down(1, again(2)...)
	down(0, "endsAt", when(-time.Second))
	down(1)
	h.move("east", "core")
	down(1) // It is known by now what it is about: that is said, and where the problem is stays.
	h.move("", "")
	down(1, again(3)...)
	h.move("east", "core")
	down(0, "endsAt", when(-time.Millisecond))
	down(1)
	want := []string{
		"firing tor-1/network/west", "firing tor-1/network/west", "firing tor-1/network/west", "ok tor-1/network/west",
		"firing //default", "firing tor-1/core/default", "firing tor-1/core/default", "ok tor-1/core/default", "firing tor-1/core/east",
	}
	if got := h.said("Down"); strings.Join(got, "; ") != strings.Join(want, "; ") {
		t.Errorf("said\n%s\nnot\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	// It is one alert with one history, though its records are in several partitions.
	h.model.Read(func(s *view.State) {
		if all := s.Alerts(view.Filter{}); len(all) != 1 || all[0].State != event.AlertFiring || all[0].Domain != "east" {
			t.Errorf("%+v", all)
		}
	})
}

// What comes right after something else is not judged by what the read model knew before that.
func TestWhatWasJustSaidCountsBeforeTheReadModelKnowsIt(t *testing.T) {
	h := build(t, plan{yaml: quiet, deaf: true}, tor())
	<-h.model.Ready()
	fire := list(one(ls{"alertname": "A", "target": "tor-1"}))
	over := func(ago time.Duration) string {
		return list(one(ls{"alertname": "A", "target": "tor-1"}, "endsAt", when(-ago)))
	}
	send := func(what string, n int, body string) {
		t.Helper()
		h.want("POST", "/alerts", body, nil)
		if got := h.said("A"); len(got) != n {
			t.Fatalf("%s: %d findings, not %d: %v", what, len(got), n, got)
		}
	}
	// follow does what the processors do: the alert of the newest finding is said.
	follow := func() *event.Alert {
		t.Helper()
		all := h.stored()
		f := all[len(all)-1]
		a := &event.Alert{
			ID: event.AlertID(f.Rule, f.Labels), Name: f.Alert, Rule: f.Rule, State: event.AlertFiring, Target: f.Target, Team: f.Team, Domain: f.Domain,
			Labels: f.Labels, Annotations: f.Annotations, StartsAt: f.Since, Until: f.Until, Updated: f.At,
		}
		if f.Verdict == event.VerdictOK {
			a.State, a.EndsAt = event.AlertResolved, f.Since
		}
		if err := h.b.Publish(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		h.model.Await(t.Context(), func(s *view.State) bool {
			now := s.Problem(a.ID)
			return now != nil && now.Updated.Equal(a.Updated)
		})
		return a
	}
	send("fires", 1, fire)
	send("is repeated", 1, fire)
	follow()
	ended := over(time.Second)
	send("is over", 2, ended)
	send("is over, repeated", 2, ended)
	send("fires right after that", 3, fire)
	h.move("east", "core")
	send("is over right after that", 4, over(time.Millisecond))
	send("fires", 5, fire)
	follow()
	send("fires, repeated", 5, fire)
	send("is over", 6, over(0))
	follow()
	send("fires after it is known to be over", 7, fire)
	want := "firing tor-1/network/west ok tor-1/network/west firing tor-1/network/west ok tor-1/network/west firing tor-1/core/east ok tor-1/core/east firing tor-1/core/east"
	if got := strings.Join(h.said("A"), " "); got != want {
		t.Errorf("said\n%s\nnot\n%s", got, want)
	}
	all := h.stored()
	for i := range all[1:] {
		if !all[i+1].At.After(all[i].At) {
			t.Errorf("finding %d of %s is not after %s", i+1, all[i+1].At, all[i].At)
		}
	}
}

// Another process whose clock is ahead said it last: what comes here later comes after it all the same.
func TestAClockOfAnotherProcessThatIsAheadSwallowsNothing(t *testing.T) {
	h := serve(t, quiet)
	labels := ls{"alertname": "A"}
	h.post(1, list(one(labels)))
	var a event.Alert
	h.model.Read(func(s *view.State) { a = *s.Alerts(view.Filter{})[0] })
	ahead := &event.Finding{
		Rule: a.Rule, Alert: a.Name, Verdict: event.VerdictFiring, Domain: a.Domain, Labels: a.Labels, Annotations: map[string]string{"from": "another"},
		Since: a.StartsAt, Until: time.Now().Add(time.Hour), At: time.Now().Add(30 * time.Second),
	}
	if err := h.b.Publish(t.Context(), ahead); err != nil {
		t.Fatal(err)
	}
	h.model.Await(t.Context(), func(s *view.State) bool { return s.Problem(a.ID).Annotations["from"] == "another" })
	h.post(0, list(one(labels, "endsAt", when(-time.Second))))
	h.post(1, list(one(labels)))
}
