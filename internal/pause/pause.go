// Package pause waits between attempts.
//
// In: how long. Out: whether the time passed. It promises to end with the context at once, and to leave no timer behind.
// It never decides how long to wait.
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
