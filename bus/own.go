package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/obs"
	"kemi.dev/kemi/internal/pause"
)

// Handler is what owns one partition for one epoch. All its methods are called by one goroutine.
type Handler[T any] interface {
	// Handle takes events in order. Nil commits them; an error has the same events handed over again after a
	// backoff, a Permanent one puts the event on dead.v1. With Options.More others may come after them.
	Handle(ctx context.Context, batch []Message[T]) error
	// Tick is called about once a second, and after Ownership.Wake: time passing is an input. An error is logged, the
	// next tick comes.
	Tick(ctx context.Context, now time.Time) error
}

// ErrFenced is what an Ownership says once its epoch is over.
var ErrFenced = driver.ErrFenced

// Closer is a Handler with something to bring to an end. Close is called once, by the same goroutine, after ctx of the
// others ended and, when the process leaves by its own will, before the partition is given back.
type Closer interface {
	Close(ctx context.Context)
}

// closing bounds one Closer's Close.
const closing = 2 * time.Second

// Ownership is one partition in one epoch, as its handler sees it.
type Ownership struct {
	Partition int
	Epoch     uint64
	// From is the position of the first event that will be handed over.
	From  int64
	bus   *Bus
	feed  driver.Feed
	topic event.Topic
	group string
	nudge chan struct{}
	// committed is the position after the last that Commit was told of.
	committed atomic.Int64
}

// Wake has the handler's Tick called at once, for what reached it by another way than the topic. It never blocks and may
// be called from any goroutine; calls that come before the Tick are one.
func (o *Ownership) Wake() {
	select {
	case o.nudge <- struct{}{}:
	default:
	}
}

// Commit says, while Handle is still at work, that everything up to a message is handled: whoever owns the partition next
// begins after it, and when Handle returns an error those are not handed over again. It may be called from any goroutine
// until Handle returns, with positions in any order. Of an error it is enough to know that Handle's own return will commit.
func (o *Ownership) Commit(ctx context.Context, position int64, stored time.Time) error {
	err := o.feed.Ack(ctx, driver.Delivery{
		Event: driver.Data, Record: driver.Record{Topic: o.topic.Name}, Partition: o.Partition, Epoch: o.Epoch, Position: position, Stored: stored,
	})
	if err != nil {
		return err
	}
	for {
		have := o.committed.Load()
		if position < have || o.committed.CompareAndSwap(have, position+1) {
			return nil
		}
	}
}

// Publish stores events as Bus.Publish does, but only while the epoch lasts: else driver.ErrFenced.
func (o *Ownership) Publish(ctx context.Context, events ...event.Event) error {
	_, err := o.bus.publish(ctx, o.fence(), events)
	return err
}

// Remove takes keys out of their topics as Bus.Remove does, but only while the epoch lasts: else driver.ErrFenced.
func (o *Ownership) Remove(ctx context.Context, events ...event.Event) error {
	return o.bus.remove(ctx, o.fence(), events)
}

// Held is nil while the epoch lasts, else driver.ErrFenced: what is done outside the bus in the partition's name, such as
// sending a page, asks right before. It costs nothing while the broker has confirmed the ownership lately.
func (o *Ownership) Held(ctx context.Context) error { return o.bus.d.Publish(ctx, nil, o.fence()) }

func (o *Ownership) fence() *driver.Fence {
	return &driver.Fence{Topic: o.topic.Name, Group: o.group, Partition: o.Partition, Epoch: o.Epoch}
}

// stateKey names a piece of the group's state of this partition.
func (o *Ownership) stateKey(name string) string {
	return fmt.Sprintf("%s/%s/%d/%s", o.group, o.topic.Name, o.Partition, name)
}

func (o *Ownership) statePartition() int { return Partition(o.stateKey(""), topicState.Partitions) }

// SaveState keeps a piece of what the handler knows for whoever owns the partition next; nil forgets it. At most
// 900 kB a piece.
func (o *Ownership) SaveState(ctx context.Context, name string, data []byte) error {
	return o.bus.store(ctx, []driver.Record{{
		Topic: topicState.Name, Partition: o.statePartition(), Key: o.stateKey(name), Value: data,
	}}, o.fence())
}

// LoadState returns what former owners of the partition saved, by name.
func (o *Ownership) LoadState(ctx context.Context) (map[string][]byte, error) {
	prefix, pieces := o.stateKey(""), map[string][]byte{}
	err := o.bus.readStored(ctx, topicState.Name, o.statePartition(), From{Snapshot: true}, func(d *driver.Delivery) error {
		name, ours := strings.CutPrefix(d.Record.Key, prefix)
		switch {
		case !ours:
		case d.Record.Value == nil:
			delete(pieces, name)
		default:
			pieces[name] = d.Record.Value
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return pieces, nil
}

// Has says whether the partition has the record that was stored then at the position: whether a position that was written
// down is one of its log. A log that was removed and made again counts from the beginning.
func (o *Ownership) Has(ctx context.Context, position int64, stored time.Time) (bool, error) {
	if position < 1 || stored.IsZero() {
		return false, nil
	}
	found := false
	span := Span{Topic: o.topic.Name, From: From{Position: position}, Partition: &o.Partition, To: stored.Add(1)}
	err := o.bus.read(ctx, span, func(batch []driver.Delivery) error {
		found = batch[0].Position == position && batch[0].Stored.Equal(stored)
		return errDone
	})
	if err == nil {
		err = ctx.Err()
	}
	if err != nil && !errors.Is(err, errDone) {
		return false, fmt.Errorf("look for position %d of %s/%d: %w", position, o.topic.Name, o.Partition, err)
	}
	return found, nil
}

// Replay hands over again what this partition stored since a time, up to From and without it: to warm up what
// no state was saved of. It commits nothing.
func Replay[T any, W event.Word[T]](ctx context.Context, o *Ownership, since time.Time, handle func(Message[T]) error) error {
	s := driver.Subscription{Topic: o.topic.Name, Start: From{Time: since}, Partitions: []int{o.Partition}}
	err := follow[T, W](ctx, o.bus, s, "", func(m Message[T]) error {
		if m.Position >= o.From {
			return errDone
		}
		return handle(m)
	}, func() bool { return false }, func() {})
	if errors.Is(err, errDone) {
		return nil
	}
	return err
}

// Options of Own.
type Options struct {
	// Batch is how many events are handed over at once at most; 0 is 256.
	Batch int
	// More is how many events that came meanwhile are handed over along with those that a handler returned an error for, at
	// most each time; 0 is none. All together they are no more than four times Batch.
	More int
	// Attempts after which an event that keeps failing goes to dead.v1; 0 is never: the partition waits.
	Attempts int
	// Start is where a group that never committed begins; the zero From is the oldest event.
	Start From
	// Writes are the topics of what owners publish with Ownership.Publish: the broker refuses former owners there. The
	// topic of the state is always among them.
	Writes []event.Topic
}

// Own consumes a topic as one of the group's members: for every partition that becomes ours, open makes the handler
// (loading what it needs to know), which is dropped when the partition goes to another. It blocks until ctx ends.
func Own[T any, W event.Word[T]](ctx context.Context, b *Bus, group string, opts Options, open func(context.Context, *Ownership) (Handler[T], error)) error {
	topic := W(new(T)).Topic()
	if opts.Batch == 0 {
		opts.Batch = 256
	}
	writes := []string{topicState.Name}
	for _, t := range opts.Writes {
		writes = append(writes, t.Name)
	}
	feed, err := b.subscribe(ctx, driver.Subscription{Topic: topic.Name, Group: group, Start: opts.Start, Window: 4 * opts.Batch, Writes: writes})
	if err != nil {
		return ended(ctx, err)
	}
	defer feed.Close()

	owned := map[int]*owner[T, W]{}
	release := func(p int) {
		if o := owned[p]; o != nil {
			b.owned.remove(topic.Name, group, p)
			o.stop()
			delete(owned, p)
		}
	}
	defer func() {
		for p := range owned {
			release(p)
		}
	}()
	for {
		batch, err := feed.Next(ctx)
		if err != nil {
			return ended(ctx, err)
		}
		for _, d := range batch {
			switch d.Event {
			case driver.Assigned:
				release(d.Partition)
				o := &owner[T, W]{
					Ownership: Ownership{Partition: d.Partition, Epoch: d.Epoch, From: d.Position, bus: b, feed: feed, topic: topic, group: group, nudge: make(chan struct{}, 1)},
					opts:      opts, wake: make(chan struct{}, 1), gone: make(chan struct{}),
				}
				owned[d.Partition] = o
				b.owned.add(topic.Name, group, d.Partition)
				var octx context.Context
				octx, o.cancel = context.WithCancel(ctx)
				go o.run(octx, open)
			case driver.Revoked:
				release(d.Partition)
			case driver.Data:
				if o := owned[d.Partition]; o != nil && o.Epoch == d.Epoch {
					o.put(d)
				}
			}
		}
	}
}

// owner runs the handler of one partition. Its queue is bounded by the feed's window.
type owner[T any, W event.Word[T]] struct {
	Ownership
	opts   Options
	cancel context.CancelFunc
	gone   chan struct{}
	wake   chan struct{}

	log               *slog.Logger
	handling, ticking obs.Trouble

	mu    sync.Mutex
	queue []driver.Delivery
	hand  time.Time     // When the oldest event in hand was stored; zero when none is.
	worst time.Duration // The oldest age at which an event was taken since the last look.
}

func (o *owner[T, W]) put(d driver.Delivery) {
	o.mu.Lock()
	o.queue = append(o.queue, d)
	o.mu.Unlock()
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// take removes up to opts.Batch deliveries; more reports whether some are left.
func (o *owner[T, W]) take() (batch []driver.Delivery, more bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := min(len(o.queue), o.opts.Batch)
	batch = o.queue[:n:n]
	o.queue = o.queue[n:]
	if len(o.queue) == 0 {
		o.queue = nil
	}
	if n > 0 {
		o.hand = batch[0].Stored
		o.worst = max(o.worst, time.Since(o.hand))
	}
	return batch, len(o.queue) > 0
}

// handled says that nothing is in hand any more.
func (o *owner[T, W]) handled() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.hand = time.Time{}
}

// delay is the age of the oldest event that waits, is in hand or was taken since the last call; 0 when there is none.
func (o *owner[T, W]) delay(now time.Time) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	d := o.worst
	o.worst = 0
	if !o.hand.IsZero() {
		d = max(d, now.Sub(o.hand))
	} else if len(o.queue) > 0 {
		d = max(d, now.Sub(o.queue[0].Stored))
	}
	return d
}

// measure shows the delay once a second until ctx ends: by itself, for a handler that is stuck does nothing else.
func (o *owner[T, W]) measure(ctx context.Context) {
	labels := []string{o.topic.Name, o.group, strconv.Itoa(o.Partition)}
	defer o.bus.delay.DeleteLabelValues(labels...)
	gauge := o.bus.delay.WithLabelValues(labels...)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			gauge.Set(o.delay(now).Seconds())
		}
	}
}

func (o *owner[T, W]) stop() {
	o.cancel()
	<-o.gone
}

func (o *owner[T, W]) run(ctx context.Context, open func(context.Context, *Ownership) (Handler[T], error)) {
	defer close(o.gone)
	var measuring sync.WaitGroup
	defer measuring.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	measuring.Go(func() { o.measure(ctx) })
	o.log = o.bus.scope.Log().With("topic", o.topic.Name, "group", o.group, "partition", o.Partition, "epoch", o.Epoch)
	var h Handler[T]
	for attempt := 0; ; attempt++ {
		var err error
		if h, err = open(ctx, &o.Ownership); err == nil {
			break
		}
		if ctx.Err() != nil {
			return
		}
		o.log.Error("open partition", "err", err)
		if !pause.For(ctx, backoff(attempt)) {
			return
		}
	}
	if c, ok := h.(Closer); ok {
		defer func() {
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), closing)
			defer cancel()
			c.Close(last)
		}()
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	pass := func(now time.Time) {
		switch err := h.Tick(ctx, now); {
		case err == nil && o.bus.Health() == nil: // One that had nothing to say says nothing of a bus that is away.
			o.ticking.Works(o.log, now, "tick works again")
		case err != nil && ctx.Err() == nil:
			o.ticking.Failed(o.log, now, "tick", "err", err)
		}
	}
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			pass(now)
		case <-o.nudge:
			pass(time.Now())
		case <-o.wake:
			batch, more := o.take()
			if more {
				select {
				case o.wake <- struct{}{}:
				default:
				}
			}
			if !o.handle(ctx, h, batch) {
				return
			}
		}
	}
}

// handle hands a batch over until it is committed; false means that the epoch or ctx is over.
func (o *owner[T, W]) handle(ctx context.Context, h Handler[T], batch []driver.Delivery) bool {
	if len(batch) == 0 {
		return true
	}
	defer o.handled()
	all := &handed[T, W]{owner: o, last: batch[len(batch)-1]}
	if !all.add(ctx, batch) || !all.try(ctx, h) {
		return false
	}
	last := all.last
	for attempt := 0; ; attempt++ {
		err := o.feed.Ack(ctx, last)
		switch {
		case err == nil:
			o.bus.handled.WithLabelValues(o.topic.Name, o.group).Add(float64(all.all))
			return true
		case ctx.Err() != nil, errors.Is(err, driver.ErrFenced), errors.Is(err, driver.ErrClosed):
			return false
		}
		if !pause.For(ctx, backoff(attempt)) {
			return false
		}
	}
}
