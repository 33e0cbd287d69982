package view_test

import (
	"fmt"
	"maps"
	"testing"

	"pgregory.net/rapid"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/cmd/kemi/view"
)

// Whoever follows the changes knows the alerts that fire, however seldom it looks.
func TestWhoFollowsTheChangesKnowsWhatFires(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := view.NewState()
		known, position := map[string]*event.Alert{}, uint64(0)
		for range rapid.IntRange(0, 20).Draw(t, "rounds") {
			changes := rapid.IntRange(0, 20).Draw(t, "changes")
			if rapid.IntRange(0, 400).Draw(t, "flood") == 77 {
				changes = 110_000
			}
			for i := range changes {
				id := fmt.Sprint((i * 7) % 13)
				switch (i + changes) % 3 {
				case 0:
					s.SetAlert(&event.Alert{ID: id, State: event.AlertFiring})
				case 1:
					s.SetAlert(&event.Alert{ID: id, State: event.AlertResolved})
				default:
					s.RemoveAlert(id)
				}
			}
			ids, next, ok := s.ChangedSince(position)
			if changes < 50_000 && !ok && position > 0 {
				t.Fatalf("%d changes were forgotten", changes)
			}
			if position = next; !ok {
				known = maps.Collect(s.Firing())
			}
			for _, id := range ids {
				if delete(known, id); s.FiringOne(id) != nil {
					known[id] = s.FiringOne(id)
				}
			}
			if !maps.Equal(known, maps.Collect(s.Firing())) {
				t.Fatalf("knows %v of %v", known, maps.Collect(s.Firing()))
			}
		}
	})
}
