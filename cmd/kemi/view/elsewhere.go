package view

import (
	"iter"
	"strings"

	"kemi.dev/kemi/bus/event"
)

// elsewhere counts the alerts that others judge, who told of them by Alertmanager's API.
type elsewhere struct{ firing, known int }

// count adds an alert so many times; nil is none.
func (e *elsewhere) count(a *event.Alert, n int) {
	if a == nil || !isElsewhere(a) {
		return
	}
	if e.known += n; a.State == event.AlertFiring {
		e.firing += n
	}
}

// Elsewhere counts the alerts from elsewhere that fire, and those that are known: that fire or are over since less than
// Kept.
func (s *State) Elsewhere() (firing, known int) { return s.elsewhere.firing, s.elsewhere.known }

// FromElsewhere lists the alerts that Elsewhere counts as known, in no order.
func (s *State) FromElsewhere() iter.Seq[*event.Alert] {
	return func(yield func(*event.Alert) bool) {
		for _, a := range s.alerts {
			if isElsewhere(a) && !yield(a) {
				return
			}
		}
	}
}

func isElsewhere(a *event.Alert) bool { return strings.HasPrefix(a.Rule, event.RulePrefixElsewhere) }
