package view

import (
	"iter"
	"maps"

	"kemi.dev/kemi/bus/event"
)

// SetSilence keeps the newest word on a silence.
func (s *State) SetSilence(p *event.Silence) { s.silences[p.ID] = p }

// RemoveSilence forgets a silence.
func (s *State) RemoveSilence(id string) { delete(s.silences, id) }

// Silence returns the silence with an id, nil when there is none.
func (s *State) Silence(id string) *event.Silence { return s.silences[id] }

// Silences lists the silences by id in no order, those that are over since less than Kept too.
func (s *State) Silences() iter.Seq2[string, *event.Silence] { return maps.All(s.silences) }

// Problem returns the alert with an id, nil when there is none.
func (s *State) Problem(id string) *event.Alert { return s.alerts[id] }
