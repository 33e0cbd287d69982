package view_test

import (
	"context"
	"testing"
	"testing/synctest"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/bus/mem"
	"kemi.dev/kemi/cmd/kemi/view"
	"kemi.dev/kemi/internal/obs"
)

// What a record without a value takes out of a topic is shown no more, whoever said it.
func TestWhatIsRemovedIsShownNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bus.New(mem.New(), bus.Settings{}, obs.Scope{})
		if err := b.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		things := []event.Event{
			&event.Target{ID: "core-1", Class: "switch"}, &event.Alert{ID: "a1", Domain: "default", State: event.AlertFiring},
			&event.Incident{ID: "i1", Domain: "default", State: event.IncidentOpen}, &event.Page{ID: "p1", Domain: "default", Stage: event.PageRetrying},
		}
		if err := b.Publish(t.Context(), things...); err != nil {
			t.Fatal(err)
		}
		m := view.New(b)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()
		<-m.Ready()
		shown := func() (n [4]int) {
			synctest.Wait()
			m.Read(func(s *view.State) {
				f := view.Filter{}
				n = [4]int{len(s.Targets(f)), len(s.Alerts(f)), len(s.Incidents(f)), len(s.Pages(f))}
			})
			return n
		}
		if got := shown(); got != [4]int{1, 1, 1, 1} {
			t.Fatalf("at first: %v", got)
		}
		if err := b.Remove(t.Context(), things...); err != nil {
			t.Fatal(err)
		}
		if got := shown(); got != [4]int{} {
			t.Errorf("removed, and still there: %v (targets, alerts, incidents, pages)", got)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
