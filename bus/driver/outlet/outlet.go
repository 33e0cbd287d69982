// Package outlet is where a feed hands out what it read: the half of a feed that is the same for all brokers.
//
// In: what a reader fetched, and the news that there is something. Out: what Next returns.
// It promises that Next returns as soon as there is something, its context ends or the feed is closed, and that what is
// fetched ahead of it is bounded by what it takes in memory.
// It never talks to a broker, and does not know whose turn it is.
package outlet

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"kemi.dev/kemi/bus/driver"
)

// ErrNotWork is what Nack of any other feed says.
var ErrNotWork = errors.New("only a record of a Work group can be given back")

// Outlet is embedded by a feed. Make it with New.
type Outlet struct {
	// Ctx ends with the feed; Tasks are the feed's goroutines, which end with it.
	Ctx   context.Context
	Tasks sync.WaitGroup
	// Mu guards Closed, and whatever of the feed is handed out.
	Mu     sync.Mutex
	Closed bool

	topic  string
	cancel context.CancelFunc
	wake   chan struct{}
}

// New makes the outlet of a feed of the topic.
func New(topic string) Outlet {
	ctx, cancel := context.WithCancel(context.Background())
	return Outlet{Ctx: ctx, cancel: cancel, topic: topic, wake: make(chan struct{}, 1)}
}

// Nudge has Wait look again. It never blocks.
func (o *Outlet) Nudge() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// Wait calls take, with the outlet locked, until it yields something: the body of a feed's Next.
func (o *Outlet) Wait(ctx context.Context, take func() []driver.Delivery) ([]driver.Delivery, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("read %s: %w", o.topic, err)
		}
		o.Mu.Lock()
		if o.Closed {
			o.Mu.Unlock()
			return nil, fmt.Errorf("read %s: %w", o.topic, driver.ErrClosed)
		}
		got := take()
		o.Mu.Unlock()
		if len(got) > 0 {
			return got, nil
		}
		select {
		case <-ctx.Done():
		case <-o.Ctx.Done():
		case <-o.wake:
		}
	}
}

// End closes the outlet once, and says whether it did.
func (o *Outlet) End() bool {
	o.Mu.Lock()
	defer o.Mu.Unlock()
	if o.Closed {
		return false
	}
	o.Closed = true
	o.cancel()
	return true
}

// Open is nil until the outlet is closed, then ErrClosed of an acknowledgement that comes too late.
func (o *Outlet) Open() error {
	o.Mu.Lock()
	defer o.Mu.Unlock()
	if o.Closed {
		return fmt.Errorf("acknowledge %s: %w", o.topic, driver.ErrClosed)
	}
	return nil
}
