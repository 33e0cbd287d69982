package nats

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/nats-io/nats.go"

	"kemi.dev/kemi/bus/driver"
)

var errNotWork = errors.New("only a record of a Work group can be given back")

// What a reader fetches ahead at most, in records and, roughly, in bytes.
const (
	buffered      = 512
	bufferedBytes = 8 << 20
)

// buffer is what was fetched and not handed out yet.
type buffer struct {
	ds    []driver.Delivery
	bytes int
}

func (b *buffer) put(d driver.Delivery) {
	b.ds = append(b.ds, d)
	b.bytes += len(d.Record.Value)
}

// take hands out the first n.
func (b *buffer) take(n int) []driver.Delivery {
	out := b.ds[:n:n]
	if b.ds = b.ds[n:]; len(b.ds) == 0 {
		*b = buffer{}
		return out
	}
	for i := range out {
		b.bytes -= len(out[i].Record.Value)
	}
	return out
}

// keep drops what is not to stay.
func (b *buffer) keep(stays func(*driver.Delivery) bool) {
	b.ds = slices.DeleteFunc(b.ds, func(d driver.Delivery) bool {
		if stays(&d) {
			return false
		}
		b.bytes -= len(d.Record.Value)
		return true
	})
}

func (b *buffer) room() int {
	if b.bytes >= bufferedBytes {
		return 0
	}
	return buffered - len(b.ds)
}

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

// delivered makes the delivery of a message.
func (t *topic) delivered(m *nats.Msg, meta *nats.MsgMetadata) (driver.Delivery, error) {
	r, err := t.decode(m)
	if err != nil {
		return driver.Delivery{}, err
	}
	if t.Kind != driver.Latest && r.Value == nil {
		r.Value = []byte{}
	}
	return driver.Delivery{
		Event: driver.Data, Partition: r.Partition, Position: int64(meta.Sequence.Stream), Record: r, Stored: meta.Timestamp,
	}, nil
}
