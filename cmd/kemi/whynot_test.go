package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"kemi.dev/kemi/bus/event"
)

// nightly is what was there at a time at night, and shortly before.
func nightly(at time.Time) []event.Event {
	ago := func(d time.Duration) time.Time { return at.Add(-d) }
	incident := func(id, title string, opened time.Duration, change func(*event.Incident)) *event.Incident {
		i := &event.Incident{
			ID: id, Domain: "default", State: event.IncidentOpen, Kind: event.IncidentDown, Team: "network", Cause: id, Title: title, Severity: "critical", Urgency: event.UrgencyPage,
			OpenedAt: ago(opened), Updated: ago(opened), Revision: 1, Reason: event.Reason{Code: "cause-down"},
		}
		if change != nil {
			change(i)
		}
		return i
	}
	later := func(i *event.Incident, after time.Duration, change func(*event.Incident)) *event.Incident {
		next := *i
		next.Revision, next.Updated = i.Revision+1, at.Add(after)
		change(&next)
		return &next
	}
	page := func(id, incident, receiver, person string, stage event.PageStage, before time.Duration, reason event.Reason) *event.Page {
		return &event.Page{
			ID: id, Incident: incident, Domain: "default", Team: "network", Receiver: receiver, Person: person, Kind: event.PageFiring, Stage: stage, DedupKey: id,
			Title: incident, Created: ago(before), Updated: ago(before), Reason: reason,
		}
	}
	acked := incident("acked1", "core-1 is down", time.Hour, func(i *event.Incident) {
		i.Ack = &event.Ack{By: "sun", At: ago(50 * time.Minute), Until: at.Add(time.Hour)}
	})
	limited := page("p2", "limited1", "pager", "jo", event.PageHeld, 5*time.Minute, event.Reason{Code: "person-limit", Text: "10 calls within 10m0s"})
	limited.Summary = "summary1"
	return []event.Event{
		acked, later(acked, time.Minute, func(i *event.Incident) { i.Ack, i.Title = nil, "a title of later" }),
		incident("limited1", "disk is full", 10*time.Minute, nil),
		incident("muted1", "rack 7 is down", 20*time.Minute, func(i *event.Incident) {
			i.Muted = []event.Reason{{Code: "silenced", Text: "silence 7 of kim until 06:00"}}
		}),
		incident("asking1", "tor-9 is down", 3*time.Second, func(i *event.Incident) { i.State, i.Urgency = event.IncidentVerifying, "" }),
		incident("behind1", "srv-1 is down", 2*time.Minute, func(i *event.Incident) {
			i.State, i.ResolvedAt, i.Updated, i.Reason = event.IncidentResolved, ago(time.Minute), ago(time.Minute), event.Reason{Code: event.ReasonMerged, Causes: []string{"acked1"}}
		}),
		incident("quiet1", "backup is late", 4*time.Minute, func(i *event.Incident) { i.Urgency = event.UrgencyNotify }),
		incident("next1", "fan failed", 6*time.Minute, func(i *event.Incident) {
			i.Next = &event.NextStep{At: at.Add(4 * time.Minute), Text: "the primary jo"}
		}),
		incident("long1", "long over", 3*time.Hour, func(i *event.Incident) {
			i.State, i.ResolvedAt, i.Updated = event.IncidentResolved, ago(2*time.Hour), ago(2*time.Hour)
		}),
		incident("after1", "came later", -time.Minute, nil),
		page("p1", "acked1", "pager", "jo", event.PageSent, 55*time.Minute, event.Reason{}), page("p3", "acked1", "pager", "sun", event.PageSent, 51*time.Minute, event.Reason{}),
		limited, page("p4", "next1", "mail", "sun", event.PageFailed, 5*time.Minute, event.Reason{}), page("p5", "next1", "pager", "jo", event.PageSent, -4*time.Minute, event.Reason{}),
	}
}

// What was decided then is said as it was then: who was called, what held it back, and who was called instead.
func TestWhyNotAnswersFromWhatWasDecidedThen(t *testing.T) {
	s, err := newSite(t.TempDir(), dutyYAML)
	must(t, err)
	t.Cleanup(s.stop)
	at := time.Now().Add(-2 * time.Hour).Truncate(time.Second)
	must(t, s.bus.Publish(t.Context(), nightly(at)...))
	run := func(args ...string) string {
		t.Helper()
		var out bytes.Buffer
		cmd := newWhyNotOnCall()
		cmd.SilenceUsage, cmd.SilenceErrors = true, true
		cmd.SetOut(&out)
		cmd.SetArgs(append(args, "--server", s.url))
		must(t, cmd.ExecuteContext(t.Context()))
		return out.String()
	}
	asked := at
	if at.Second() == 0 {
		asked = at.Add(time.Second) // It is the instant that is asked for, not the minute.
	}
	out := run("jo", "--at", asked.UTC().Format(time.RFC3339))
	last := -1
	for _, want := range []string{
		"incident acked1  core-1 is down", "jo, firing by pager: sent", "sun looked after it since", "called instead: sun, firing by pager: sent",
		"incident muted1  rack 7 is down", "jo was not called for it until then", "held back: silenced: silence 7 of kim until 06:00",
		"incident limited1  disk is full", "jo, firing by pager: held: person-limit: 10 calls within 10m0s; it is in the summary summary1",
		"incident next1  fan failed", "jo was not called for it until then", "next was, at", "the primary jo", "called instead: sun, firing by mail: failed",
		"incident quiet1  backup is late", "its urgency was notify: nobody is called for that",
		"incident behind1  srv-1 is down", "incident acked1 explains it since",
		"incident asking1  tor-9 is down", "its cause was being verified",
		"jo is primary of network on", "jo is not primary of storage on",
	} {
		found := strings.Index(out[last+1:], want)
		if found < 0 {
			t.Fatalf("%q is missing or out of order:\n%s", want, out)
		}
		last += 1 + found
	}
	for _, not := range []string{"came later", "long over", "a title of later"} {
		if strings.Contains(out, not) {
			t.Errorf("%q is of another time:\n%s", not, out)
		}
	}
	var w whyNot
	must(t, json.Unmarshal([]byte(run("boss", "--at", "30d", "-o", "json")), &w))
	if len(w.Incidents) != 0 || len(w.Rotation) != 4 || len(w.Ways) != 1 || w.Ways[0] != "pager" {
		t.Errorf("a month ago: %+v", w)
	}
	if out := run("jo", "--at", time.Now().Add(48*time.Hour).UTC().Format(time.RFC3339)); !strings.Contains(out, "jo is primary of network") {
		t.Errorf("of what is to come:\n%s", out)
	}
}
