package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"kemi.dev/kemi/bus/driver"
)

var errNotWork = errors.New("only a record of a Work group can be given back")

// What a reader fetches ahead at most, in records and, roughly, in bytes: a page is added while there is less than this.
const (
	buffered      = 512
	bufferedBytes = 4 << 20
)

// buffer is what was fetched and not handed out yet.
type buffer struct {
	ds    []driver.Delivery
	bytes int
}

func (b *buffer) put(ds ...driver.Delivery) {
	b.ds = append(b.ds, ds...)
	for i := range ds {
		b.bytes += weight(&ds[i])
	}
}

// weight is about how much memory a delivery takes.
func weight(d *driver.Delivery) int { return len(d.Record.Key) + len(d.Record.Value) + 256 }

// take hands out the first n.
func (b *buffer) take(n int) []driver.Delivery {
	out := b.ds[:n:n]
	if b.ds = b.ds[n:]; len(b.ds) == 0 {
		*b = buffer{}
		return out
	}
	for i := range out {
		b.bytes -= weight(&out[i])
	}
	return out
}

func (b *buffer) room() bool { return b.bytes < bufferedBytes && len(b.ds) < buffered }

// feed is what all kinds of feed have in common.
type feed struct {
	d      *Driver
	t      *topic
	s      driver.Subscription
	ctx    context.Context // Ends with the feed.
	cancel context.CancelFunc
	wake   chan struct{}
	tasks  sync.WaitGroup

	mu     sync.Mutex
	closed bool
}

func newFeed(d *Driver, t *topic, s driver.Subscription) feed {
	ctx, cancel := context.WithCancel(context.Background())
	return feed{d: d, t: t, s: s, ctx: ctx, cancel: cancel, wake: make(chan struct{}, 1)}
}

// nudge wakes Next.
func (f *feed) nudge() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// wait calls take, with the feed locked, until it yields something.
func (f *feed) wait(ctx context.Context, take func() []driver.Delivery) ([]driver.Delivery, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("read %s: %w", f.t.Name, err)
		}
		f.mu.Lock()
		if f.closed {
			f.mu.Unlock()
			return nil, fmt.Errorf("read %s: %w", f.t.Name, driver.ErrClosed)
		}
		got := take()
		f.mu.Unlock()
		if len(got) > 0 {
			return got, nil
		}
		select {
		case <-ctx.Done():
		case <-f.ctx.Done():
		case <-f.wake:
		}
	}
}

// end closes the feed once, and says whether it did.
func (f *feed) end() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return false
	}
	f.closed = true
	f.cancel()
	return true
}

func (f *feed) isClosed() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return fmt.Errorf("acknowledge %s: %w", f.t.Name, driver.ErrClosed)
	}
	return nil
}
