package alert_test

import (
	"context"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/bus/mem"
	"kemi.dev/kemi/internal/obs"
	"kemi.dev/kemi/processors/alert"
)

// What others told and what is over since more than a week is no more on the topic; what fires, what is ours and what was over
// lately is, also when it was there before the start.
func TestWhatCameFromElsewhereAndIsLongOverIsRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bus.New(mem.New(), bus.Settings{}, obs.Scope{})
		if err := b.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		say := func(id, rule string, state event.AlertState, ago time.Duration) {
			t.Helper()
			at := time.Now().Add(-ago)
			a := &event.Alert{ID: id, Rule: rule, State: state, Domain: "west", StartsAt: at.Add(-time.Minute), EndsAt: at, Updated: at}
			if state == event.AlertFiring {
				a.EndsAt, a.Until = time.Time{}, at.Add(1000*time.Hour)
			}
			if err := b.Publish(t.Context(), a); err != nil {
				t.Fatal(err)
			}
		}
		const day = 24 * time.Hour
		elsewhere := event.RulePrefixElsewhere + "A"
		say("old", elsewhere, event.AlertResolved, 8*day)
		say("ours", "g/A", event.AlertResolved, 8*day)
		say("fires", elsewhere, event.AlertFiring, 8*day)
		say("lately", elsewhere, event.AlertResolved, 6*day)
		room, err := alert.New(alert.Options{Bus: b})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- room.Run(ctx) }()
		left := func() []string {
			t.Helper()
			synctest.Wait()
			ids := map[string]bool{}
			if err := bus.Snapshot(t.Context(), b, func(m bus.Message[event.Alert]) error {
				if ids[m.Key] = true; m.Removed() {
					delete(ids, m.Key)
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			return slices.Sorted(maps.Keys(ids))
		}
		time.Sleep(5 * time.Second)
		if got := left(); !slices.Equal(got, []string{"fires", "lately", "ours"}) {
			t.Errorf("after the start: %v", got)
		}
		time.Sleep(day + 2*time.Hour)
		if got := left(); !slices.Equal(got, []string{"fires", "ours"}) {
			t.Errorf("a day later: %v", got)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
