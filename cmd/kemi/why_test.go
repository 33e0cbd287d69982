package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"kemi.dev/kemi/bus/event"
)

// story is how an alert on tor-7 came to page jo once, and what became of a VM's alert behind it.
func story(now time.Time) ([]event.Event, *event.Alert, *event.Alert) {
	at := func(ago time.Duration) time.Time { return now.Add(-ago) }
	f := &event.Finding{
		Rule: "hosts/TargetDown", Alert: "TargetDown", Verdict: event.VerdictFiring, Target: "tor-7", Domain: "default", Labels: event.LabelsOf(map[string]string{"alertname": "TargetDown", "target": "tor-7"}),
		Value: 1, Since: at(10 * time.Minute), At: at(10 * time.Minute), Reason: event.Reason{Code: "condition", Text: "up == 0 for 30s"},
	}
	own := &event.Alert{
		ID: event.AlertID(f.Rule, f.Labels), Name: "TargetDown", Rule: f.Rule, State: event.AlertFiring, Target: "tor-7", Domain: "default", Labels: f.Labels, StartsAt: f.Since, Updated: f.At, Finding: f.Identity(),
	}
	vm := &event.Alert{ID: "vm-alert", Name: "VMDown", Rule: "vms/VMDown", State: event.AlertFiring, Target: "vm-1", Domain: "default", StartsAt: f.At, Updated: f.At}
	first := event.Incident{
		ID: "inc1", Domain: "default", State: event.IncidentVerifying, Kind: event.IncidentDown, Team: "network", Cause: "vm-1", Title: "vm-1 does not answer", Severity: "critical",
		OpenedAt: at(10 * time.Minute), Updated: at(10 * time.Minute), Revision: 1, Reason: event.Reason{Code: "alert", Text: "VMDown fires"},
	}
	rooted := first
	rooted.State, rooted.Cause, rooted.Title, rooted.Updated, rooted.Revision = event.IncidentOpen, "tor-7", "tor-7 does not answer", at(9*time.Minute), 2
	rooted.Reason = event.Reason{Code: "re-rooted", Text: "tor-7 explains it"}
	rooted.Alerts = []event.IncidentAlert{{ID: own.ID}}
	rooted.Examples = []event.SuppressedAlert{{ID: "vm-alert", Reason: event.Reason{Code: "parent-down", Text: "tor-7 is down"}}}
	muted := rooted
	muted.Revision, muted.Updated, muted.Muted = 3, at(8*time.Minute), []event.Reason{{Code: "maintenance", Text: "rack move until 04:00"}}
	called := rooted
	called.Revision, called.Updated, called.Step, called.Urgency = 4, at(5*time.Minute), 1, event.UrgencyPage
	called.Next = &event.NextStep{At: now.Add(5 * time.Minute), Text: "the secondary is called"}
	called.Acts = []event.Act{{Kind: event.Remark, By: "jo", At: at(3 * time.Minute), Text: "looking"}}
	page := &event.Page{
		ID: "page1", Incident: "inc1", Domain: "default", Receiver: "pager", Person: "jo", Kind: event.PageFiring, Stage: event.PageSent, Attempts: 1, Response: "202 accepted",
		Created: at(5 * time.Minute), Updated: at(5 * time.Minute), Reason: event.Reason{Code: "sent"},
	}
	return []event.Event{f, own, vm, &first, &rooted, &muted, &called, page}, own, vm
}

func TestWhyNamesEveryDecisionInItsOrder(t *testing.T) {
	events, own, vm := story(time.Now().UTC())
	run := asked(t, events...)
	out, _, err := run(newWhy(), own.ID)
	must(t, err)
	last := -1
	for _, want := range []string{
		"TargetDown on tor-7 is firing", "the rule hosts/TargetDown says firing", "up == 0 for 30s", "incident inc1", "the alert is the incident itself",
		"verifying, cause vm-1: alert: VMDown fires", "open, cause tor-7 instead of vm-1: re-rooted", "nobody is called: maintenance: rack move", "nothing holds pages back any more",
		"step 1 of the escalation", "page (firing) to jo by pager: sent", "jo: comment: looking", "202 accepted", "the secondary is called",
	} {
		at := strings.Index(out, want)
		if at <= last {
			t.Fatalf("%q is missing or out of order:\n%s", want, out)
		}
		last = at
	}
	if strings.Contains(out, "sent: sent") {
		t.Errorf("a word is said twice:\n%s", out)
	}
	out, _, err = run(newWhy(), vm.ID, "-o", "json")
	must(t, err)
	var w why
	must(t, json.Unmarshal([]byte(out), &w))
	if len(w.Incidents) != 1 || w.Incidents[0].Part != "the alert pages nobody, its cause is told: parent-down: tor-7 is down" || len(w.Incidents[0].Pages) != 1 {
		t.Errorf("why %s", out)
	}
	if out, _, err = run(newWhy(), "inc1"); err != nil || !strings.HasPrefix(out, "incident inc1") {
		t.Errorf("an incident: %v\n%s", err, out)
	}
	if _, _, err = run(newWhy(), "nothing"); err == nil || !strings.Contains(err.Error(), "no alert and no incident has the id nothing") {
		t.Errorf("nothing: %v", err)
	}
}

// Until when an acknowledgement or a snooze holds is said, and how it ended: expired, taken back and by whom, with the incident.
func TestWhySaysHowAcknowledgementsAndSnoozesEnded(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Second)
	at := func(ago time.Duration) time.Time { return now.Add(-ago) }
	until := func(ago time.Duration) string { return localTime(at(ago)) }
	revision := 0
	rec := event.Incident{
		ID: "inc1", Domain: "default", State: event.IncidentOpen, Kind: event.IncidentOwn, Team: "network", Cause: "tor-7", Title: "tor-7 is slow", Severity: "critical",
		OpenedAt: at(5 * time.Hour), Reason: event.Reason{Code: "alert"},
	}
	var all []event.Event
	say := func(ago time.Duration, change func()) {
		if change != nil {
			change()
		}
		revision++
		r := rec
		r.Revision, r.Updated = revision, at(ago)
		all = append(all, &r)
	}
	act := func(kind event.CommandKind, by string, ago time.Duration) {
		rec.Acts = append(rec.Acts[:len(rec.Acts):len(rec.Acts)], event.Act{Kind: kind, By: by, At: at(ago)})
	}
	ack := func(by string, ago, end time.Duration) {
		rec.Ack = &event.Ack{By: by, At: at(ago), Until: at(end)}
		act(event.Acknowledge, by, ago)
	}
	const m = time.Minute
	say(300*m, nil)
	say(290*m, func() { ack("jo", 290*m, 230*m) })
	say(230*m, func() { rec.Ack = nil })
	say(220*m, func() { ack("sun", 220*m, 100*m) })
	say(210*m, func() { rec.Ack = nil; act(event.Unacknowledge, "lee", 210*m) })
	say(200*m, func() { rec.SnoozedUntil = at(150 * m); act(event.Snooze, "kim", 200*m) })
	say(190*m, func() { rec.SnoozedUntil = at(140 * m); act(event.Snooze, "kim", 190*m) })
	say(140*m, func() { rec.SnoozedUntil = time.Time{} })
	say(130*m, func() { ack("ada", 130*m, -60*m) })
	say(120*m, func() { ack("bob", 120*m, -60*m) })
	say(110*m, func() { rec.SnoozedUntil = at(-60 * m); act(event.Snooze, "bob", 110*m) })
	say(100*m, func() {
		rec.State, rec.ResolvedAt, rec.Ack, rec.SnoozedUntil, rec.Reason = event.IncidentResolved, at(100*m), nil, time.Time{}, event.Reason{Code: "over"}
	})
	out, _, err := asked(t, all...)(newWhy(), "inc1")
	must(t, err)
	last := -1
	for _, want := range []string{
		"jo looks after it until " + until(230*m), "the acknowledgement of jo is over: it expired at " + until(230*m),
		"sun looks after it until " + until(100*m), "the acknowledgement of sun is over: lee took it back at " + until(210*m),
		"nobody is to be called before " + until(150*m), "nobody is to be called before " + until(140*m) + ", instead of " + until(150*m),
		"the snooze is over: it expired at " + until(140*m), "ada looks after it", "bob looks after it until " + until(-60*m) + ", instead of ada",
		"the acknowledgement of bob is over: the incident is", "the snooze is over: the incident is",
	} {
		found := strings.Index(out, want)
		if found <= last {
			t.Fatalf("%q is missing or out of order:\n%s", want, out)
		}
		last = found
	}
}
