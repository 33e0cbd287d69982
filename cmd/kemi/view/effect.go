package view

import (
	"context"
	"time"

	"kemi.dev/kemi/bus/event"
)

// ShowsWithin is how long somebody who said something is kept waiting until it shows what came of it.
const ShowsWithin = 3 * time.Second

// Effect is what came of what somebody said about an incident, as far as it can be seen.
type Effect struct {
	// Incident is its newest record; nil when there is none.
	Incident *event.Incident
	// Taken says that alerting has taken it in: the record shows it.
	Taken bool
	// Late says that the incident was over before it was taken in: nothing came of it and nothing will.
	Late bool
}

// EffectOf says what came of a command so far.
func (s *State) EffectOf(c *event.Command) Effect {
	i := s.incidents[c.Subject]
	if i == nil {
		return Effect{}
	}
	copied := *i
	e := Effect{Incident: &copied, Taken: shows(i, c)}
	e.Late = !e.Taken && i.State == event.IncidentResolved
	return e
}

// shows reports whether a record shows a command. An acknowledgement that is gone was taken back, whoever said so.
func shows(i *event.Incident, c *event.Command) bool {
	return i.Shows(c) || c.Kind == event.Unacknowledge && i.State == event.IncidentOpen && i.Ack == nil
}

// Effect waits until it can be seen what came of a command, for ShowsWithin at most, and says what can be seen then.
func (m *Model) Effect(ctx context.Context, c *event.Command) (e Effect) {
	ctx, cancel := context.WithTimeout(ctx, ShowsWithin)
	defer cancel()
	m.Await(ctx, func(s *State) bool {
		e = s.EffectOf(c)
		return e.Taken || e.Late
	})
	return e
}
