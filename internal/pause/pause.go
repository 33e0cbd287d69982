// Package pause waits between attempts, and for what is under way when its time is over.
//
// In: how long. Out: whether the time passed, or a context that ends so much later. It promises to end with the context at
// once where nothing else is asked for, and to leave no timer behind. It never decides how long to wait.
package pause

import (
	"context"
	"time"
)

// For waits, or returns false when ctx ended.
func For(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
