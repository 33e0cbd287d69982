package alerting

import (
	"context"
	"sync"
)

// audience are the partitions that hear of something that is read once for all of them.
type audience struct {
	mu       sync.Mutex // Guards what is read, too.
	watchers map[*partition]struct{}
	unread   int           // Topics of which not everything that was stored has been read.
	ready    chan struct{} // Closed when there are none.
}

func newAudience(topics int) audience {
	return audience{watchers: map[*partition]struct{}{}, unread: topics, ready: make(chan struct{})}
}

// read counts a topic of which everything that was stored has been read.
func (a *audience) read() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.unread--; a.unread == 0 {
		close(a.ready)
	}
}

// watch waits until everything has been read, has it told to a partition, and counts that among the watchers until ctx
// ends.
func (a *audience) watch(ctx context.Context, p *partition, tell func()) error {
	select {
	case <-a.ready:
	case <-ctx.Done():
		return ctx.Err()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	tell()
	a.watchers[p] = struct{}{}
	context.AfterFunc(ctx, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.watchers, p)
	})
	return nil
}
