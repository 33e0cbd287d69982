package rule

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/bus/mem"
	"kemi.dev/kemi/internal/obs"
)

// Targets that come and go for years cost nothing in the end, and stay gone as long as a reading of theirs may be on
// its way.
func TestTargetsThatLeftAreForgottenAfterAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bus.New(mem.New(), bus.Settings{}, obs.Scope{})
		defer b.Close()
		if err := b.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		r, err := New(Options{Bus: b})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		synctest.Wait()
		known := func() int {
			r.mu.RLock()
			defer r.mu.RUnlock()
			return len(r.alive)
		}
		back := &event.Target{ID: "t1", Class: "switch", Lifecycle: event.Active, Version: "2"}
		for i := range 5 {
			id := fmt.Sprint("t", i)
			target := &event.Target{ID: id, Class: "switch", Lifecycle: event.Active, Version: "1"}
			if i == 4 {
				target.Lifecycle = event.Retired
			}
			if err := b.Publish(ctx, target); err != nil {
				t.Fatal(err)
			}
			if i < 3 {
				if err := b.Remove(ctx, target); err != nil {
					t.Fatal(err)
				}
			}
		}
		time.Sleep(5 * time.Minute) // In the bubble's time.
		if err := b.Publish(ctx, back); err != nil {
			t.Fatal(err)
		}
		time.Sleep(9 * time.Minute)
		synctest.Wait()
		if known() != 5 || !r.gone("t0") || !r.gone("t4") || r.gone("t1") || r.gone("t3") {
			t.Errorf("after 14 minutes %d are known, gone: %v", known(), r.alive)
		}
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if known() != 2 || r.gone("t1") || r.gone("t3") || !r.lost("t0") || !r.lost("t4") {
			t.Errorf("after 17 minutes %d are known, want t1 and t3: %v", known(), r.alive)
		}
		for _, id := range []string{"t1", "t3"} {
			if err := b.Remove(ctx, &event.Target{ID: id}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(17 * time.Minute)
		synctest.Wait()
		if known() != 0 || !r.lost("t1") {
			t.Errorf("%d are known after all left, want none; t1 lost: %v", known(), r.lost("t1"))
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
