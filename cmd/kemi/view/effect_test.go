package view_test

import (
	"testing"
	"time"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/cmd/kemi/view"
)

func TestWhatCameOfACommandIsReadFromTheRecord(t *testing.T) {
	now := time.Date(2026, 11, 22, 10, 0, 0, 1, time.UTC)
	act := func(kind event.CommandKind, by string, at time.Time) event.Act {
		return event.Act{Kind: kind, By: by, At: at}
	}
	many := func(from time.Time) (all []event.Act) {
		for i := range 20 {
			all = append(all, act(event.Remark, "sun", from.Add(time.Duration(i)*time.Second)))
		}
		return all
	}
	held := &event.Ack{By: "sun"}
	for name, c := range map[string]struct {
		kind        event.CommandKind
		inc         *event.Incident
		taken, late bool
	}{
		"nobody knows it":            {event.Acknowledge, nil, false, false},
		"not yet":                    {event.Acknowledge, &event.Incident{State: event.IncidentOpen}, false, false},
		"taken in":                   {event.Acknowledge, &event.Incident{State: event.IncidentOpen, Acts: []event.Act{act(event.Acknowledge, "jo", now.Local())}}, true, false},
		"another's":                  {event.Acknowledge, &event.Incident{State: event.IncidentOpen, Acts: []event.Act{act(event.Acknowledge, "sun", now)}}, false, false},
		"another moment's":           {event.Acknowledge, &event.Incident{State: event.IncidentOpen, Acts: []event.Act{act(event.Acknowledge, "jo", now.Add(1))}}, false, false},
		"over before":                {event.Acknowledge, &event.Incident{State: event.IncidentResolved}, false, true},
		"over after":                 {event.Acknowledge, &event.Incident{State: event.IncidentResolved, Acts: []event.Act{act(event.Acknowledge, "jo", now)}}, true, false},
		"older than what is kept":    {event.Remark, &event.Incident{State: event.IncidentOpen, Acts: many(now.Add(time.Second))}, true, false},
		"newer than what is kept":    {event.Remark, &event.Incident{State: event.IncidentOpen, Acts: many(now.Add(-time.Second))}, false, false},
		"somebody else took it back": {event.Unacknowledge, &event.Incident{State: event.IncidentOpen}, true, false},
		"still to be taken back":     {event.Unacknowledge, &event.Incident{State: event.IncidentOpen, Ack: held}, false, false},
	} {
		s := view.NewState()
		if c.inc != nil {
			c.inc.ID = "inc1"
			s.SetIncident(c.inc)
		}
		e := s.EffectOf(&event.Command{Kind: c.kind, Subject: "inc1", By: "jo", At: now})
		if e.Taken != c.taken || e.Late != c.late || (e.Incident == nil) != (c.inc == nil) {
			t.Errorf("%s: %+v", name, e)
		}
	}
}
