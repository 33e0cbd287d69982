package main

import (
	"context"
	"runtime/debug"
	"testing"
	"testing/synctest"
	"time"
)

// gcPercent is what it is set to.
func gcPercent() int {
	now := debug.SetGCPercent(100)
	debug.SetGCPercent(now)
	return now
}

func TestGarbageIsCollectedMoreOftenUntilKemiIsReady(t *testing.T) {
	t.Setenv("GOGC", "")
	usual := gcPercent()
	for name, ready := range map[string]time.Duration{"soon": 3 * time.Second, "never": time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				began, done := time.Now(), make(chan struct{})
				go func() {
					frugal(ctx, func() bool { return time.Since(began) >= ready })
					close(done)
				}()
				after(2500 * time.Millisecond)
				synctest.Wait()
				if got := gcPercent(); got != startGC {
					t.Errorf("%d %% at the start", got)
				}
				after(min(ready, startAtMost))
				synctest.Wait()
				if got := gcPercent(); got != usual {
					t.Errorf("%d %% afterwards", got)
				}
				cancel()
				<-done
			})
		})
	}
	t.Run("set by somebody", func(t *testing.T) {
		t.Setenv("GOGC", "80")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if frugal(ctx, func() bool { t.Error("asked"); return true }); gcPercent() != usual {
			t.Error("changed")
		}
	})
	t.Run("stopped before", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if frugal(ctx, func() bool { return false }); gcPercent() != usual {
			t.Error("not as before")
		}
	})
}
