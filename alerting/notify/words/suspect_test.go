package words

import (
	"strings"
	"testing"

	"kemi.dev/kemi/alerting/notify"
	"kemi.dev/kemi/bus/event"
)

// A page says of a cause no more than is known of it.
func TestACauseIsSaidAsItIsKnown(t *testing.T) {
	env := notify.Env{ExternalURL: "https://kemi.example"}
	for _, c := range []struct {
		name     string
		i        event.Incident
		has, not []string
	}{
		{
			"suspected",
			event.Incident{Kind: event.IncidentDown, State: event.IncidentOpen, Cause: "core-1", Suspected: true},
			[]string{"Cause: probably core-1 (suspected: everything that fails needs it, and nobody could ask it)"},
			[]string{"does not answer"},
		},
		{
			"suspected and over",
			event.Incident{Kind: event.IncidentDown, State: event.IncidentResolved, Cause: "core-1", Suspected: true},
			[]string{"Cause: unknown; core-1 was suspected, and nobody could ask it"},
			[]string{"did not answer"},
		},
		{
			"cleared, and what is left is not known yet",
			event.Incident{
				Kind: event.IncidentDown, State: event.IncidentOpen, Cause: "core-1",
				Reason: event.Reason{Code: "cause-exonerated", Text: "core-1 is up now: srv-1 behind it is back", Causes: []string{"core-1"}},
			},
			nil,
			[]string{"Cause:", "does not answer"},
		},
		{
			"cleared, and one thing is left",
			event.Incident{
				Kind: event.IncidentDown, State: event.IncidentOpen, Cause: "srv-2",
				Reason: event.Reason{Code: "cause-exonerated", Text: "core-1 is up: it answers", Causes: []string{"core-1"}},
			},
			[]string{"Cause: srv-2 does not answer\n", "Where: srv-2\n"},
			nil,
		},
		{
			"cleared, and several are left",
			event.Incident{Kind: event.IncidentSimilar, State: event.IncidentOpen, Cause: "behind/net/core-1"},
			[]string{"Where: behind core-1\n", "Graphs of core-1: https://kemi.example/targets/core-1\n"},
			[]string{"behind/net", "Cause:"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &event.Page{ID: "p1", Incident: "i1", Kind: event.PageFiring, Title: "a title", Snapshot: &c.i}
			text := Of(p, env).Plain + "\n"
			for _, s := range c.has {
				if !strings.Contains(text, s) {
					t.Errorf("no %q in\n%s", s, text)
				}
			}
			for _, s := range c.not {
				if strings.Contains(text, s) {
					t.Errorf("%q in\n%s", s, text)
				}
			}
		})
	}
}
