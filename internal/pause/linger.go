package pause

import (
	"context"
	"time"
)

// Linger is a context for what is under way when ctx ends: it has so long to come to its end. leave ends it at once.
func Linger(ctx context.Context, d time.Duration) (lingering context.Context, leave context.CancelFunc) {
	lingering, end := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		For(lingering, d)
		end()
	})
	return lingering, func() {
		stop()
		end()
	}
}
