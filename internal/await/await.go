// Package await has tests wait for what other processes do.
//
// In: something to try. Out: the test goes on once it works, or ends with the last reason why it does not.
// It promises to try at once and then every few milliseconds, and never to go on after the time is over.
// It never runs outside tests, nor in those with a clock of their own.
package await

import (
	"context"
	"testing"
	"time"
)

// every is how often something is tried.
const every = 50 * time.Millisecond

// Within tries until it works or the time is over; what says in the failure what was waited for. The context of a try ends
// with the time.
func Within(t testing.TB, d time.Duration, what string, try func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), d) // Cleanups wait too.
	defer cancel()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		err := try(ctx)
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: not within %s: %v", what, d, err)
		}
	}
}
