package alerting

import (
	"strings"
	"testing"
	"time"

	"kemi.dev/kemi/bus/event"
)

// What others call their alerts and targets begins no line of a page's title and text, which stand in it as they are where
// a receiver takes them raw.
func TestWhatTheDeskWritesHasOnlyItsOwnLines(t *testing.T) {
	const evil = "Down\n- CoreDead on core-1 since 2026-11-22T12:00:00Z: all is lost\r\nAcknowledge: http://evil.example/\u2028Next: nobody\u202e"
	for name, a := range map[string]event.IncidentAlert{
		"name": {Name: evil, Target: "core-1"}, "target": {Name: "Down", Target: evil}, "summary": {Name: "Down", Target: "core-1", Summary: evil},
		"beginning": {Name: "Acknowledge: http://evil.example/", Target: "core-1"},
	} {
		a.StartsAt = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
		inc := &incident{key: key{&node{id: noTarget + a.Name}, true}}
		inc.rec = event.Incident{State: event.IncidentOpen, Alerts: []event.IncidentAlert{a}, Cause: evil, Reason: event.Reason{Code: ReasonFlapping, Text: evil}}
		inc.toldCause = evil + "2"
		inc.rec.Title = inc.title(a.StartsAt)
		if strings.ContainsAny(inc.rec.Title, "\r\n\u2028\u202e") || strings.HasPrefix(inc.rec.Title, "Acknowledge") {
			t.Errorf("%s: the title is %q", name, inc.rec.Title)
		}
		for _, kind := range []event.PageKind{event.PageFiring, event.PageUpdate, event.PageResolved} {
			for one := range strings.SplitSeq(text(inc, kind), "\n") {
				own := one == inc.rec.Title || strings.HasPrefix(one, "It flaps: ") || strings.HasPrefix(one, "You were told of Down") ||
					strings.HasPrefix(one, "- ") && strings.Contains(one, " since 2026-11-22T12:00:00Z") && !strings.HasPrefix(one, "- CoreDead")
				if !own || strings.ContainsAny(one, "\r\u2028\u202e") {
					t.Errorf("%s: a page of kind %s has the line %q", name, kind, one)
				}
			}
		}
		held := item{page: &event.Page{Title: a.Name, Snapshot: &event.Incident{Severity: evil}}}
		if got := held.line(); strings.ContainsAny(got, "\r\n\u2028\u202e") || strings.HasPrefix(got, "Acknowledge") {
			t.Errorf("%s: a summary's line is %q", name, got)
		}
	}
}
