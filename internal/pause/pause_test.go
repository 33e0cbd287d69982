package pause_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"kemi.dev/kemi/internal/pause"
)

// What is under way has its time when the context ends, and no more; who is done before leaves nothing behind.
func TestLingerEndsLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		lingering, leave := pause.Linger(ctx, time.Second)
		defer leave()
		cancel()
		began := time.Now()
		time.Sleep(999 * time.Millisecond)
		synctest.Wait()
		if lingering.Err() != nil {
			t.Error("it ended with the other")
		}
		<-lingering.Done()
		if took := time.Since(began); took != time.Second {
			t.Errorf("it ended after %s", took)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		lingering, leave := pause.Linger(ctx, time.Hour)
		cancel()
		began := time.Now()
		leave()
		<-lingering.Done()
		synctest.Wait()
		if took := time.Since(began); took != 0 {
			t.Errorf("it stayed for %s", took)
		}
	})
}
