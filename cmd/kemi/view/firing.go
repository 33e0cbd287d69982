package view

import (
	"iter"
	"maps"
	"slices"

	"kemi.dev/kemi/bus/event"
)

// journalled is how many changes of alerts are remembered at least for those who follow them.
const journalled = 50_000

// firing are the alerts that fire, and what changed lately among all alerts.
type firing struct {
	now     map[string]*event.Alert
	journal []string // Ids.
	from    uint64   // The number of the first of journal.
}

func newFiring(from uint64) firing { return firing{now: map[string]*event.Alert{}, from: from} }

// note takes in what an alert is now; nil is gone.
func (f *firing) note(id string, a *event.Alert) {
	if a != nil && a.State == event.AlertFiring {
		f.now[id] = a
	} else {
		delete(f.now, id)
	}
	if len(f.journal) == 2*journalled {
		f.journal = slices.Delete(f.journal, 0, journalled)
		f.from += journalled
	}
	f.journal = append(f.journal, id)
}

// clearAlerts forgets all alerts.
func (s *State) clearAlerts() {
	clear(s.alerts)
	s.elsewhere = elsewhere{}
	s.firing = newFiring(s.firing.from + uint64(len(s.firing.journal)) + 1)
}

// Firing lists the alerts that fire by id, in no order.
func (s *State) Firing() iter.Seq2[string, *event.Alert] { return maps.All(s.firing.now) }

// FiringOne returns the alert with an id if it fires, else nil.
func (s *State) FiringOne(id string) *event.Alert { return s.firing.now[id] }

// ChangedSince lists the ids of the alerts that changed since it was called with what it returned as next then, zero at
// first; ok is false when that is not known any more, and any of them may have.
func (s *State) ChangedSince(position uint64) (ids []string, next uint64, ok bool) {
	f := &s.firing
	next = f.from + uint64(len(f.journal))
	if position < f.from || position > next {
		return nil, next, false
	}
	return f.journal[position-f.from:], next, true
}
