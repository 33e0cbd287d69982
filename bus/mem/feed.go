package mem

import (
	"context"
	"fmt"
	"time"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/driver/outlet"
)

// atOnce bounds what one Next returns, so that members share and a slice stays small.
const atOnce = 128

// feed is what all kinds of feed have in common.
type feed struct {
	d      *Driver
	t      *topic
	s      driver.Subscription
	wake   chan struct{}
	done   chan struct{}
	closed bool
}

func newFeed(d *Driver, t *topic, s driver.Subscription) *feed {
	f := &feed{d: d, t: t, s: s, wake: make(chan struct{}, 1), done: make(chan struct{})}
	t.feeds[f] = struct{}{}
	return f
}

// wait calls take, with the broker locked, until it yields something. take also says after how long to look
// again although nothing woke the feed; 0 is never.
func (f *feed) wait(ctx context.Context, take func(now time.Time) ([]driver.Delivery, time.Duration)) ([]driver.Delivery, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("read %s: %w", f.t.Name, err)
		}
		f.d.b.mu.Lock()
		if f.closed {
			f.d.b.mu.Unlock()
			return nil, fmt.Errorf("read %s: %w", f.t.Name, driver.ErrClosed)
		}
		now := time.Now()
		f.t.expire(now)
		got, again := take(now)
		f.d.b.mu.Unlock()
		if len(got) > 0 {
			return got, nil
		}
		var alarm <-chan time.Time
		var timer *time.Timer
		if again > 0 {
			timer = time.NewTimer(again)
			alarm = timer.C
		}
		select {
		case <-ctx.Done():
		case <-f.done:
		case <-f.wake:
		case <-alarm:
		}
		if timer != nil {
			timer.Stop()
		}
	}
}

// nudge makes the feed look again.
func (f *feed) nudge() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// end closes the feed once, and says whether it did.
func (f *feed) end() bool {
	if f.closed {
		return false
	}
	f.closed = true
	close(f.done)
	delete(f.t.feeds, f)
	return true
}

// replay reads without a group.
type replay struct {
	*feed
	partitions []int
	cursors    map[int]int64
	until      int64 // The snapshot's end, 0 when there is none.
	target     int64 // What was stored last when the replay began.
	left       int   // How many of the records up to the target were not delivered yet, or replaced.
	caughtUp   bool
	era        int // Of the log that is read.
}

func newReplay(d *Driver, t *topic, s driver.Subscription) *replay {
	r := &replay{feed: newFeed(d, t, s), partitions: s.Partitions, cursors: map[int]int64{}, target: t.last, era: t.eras}
	if s.Start.Snapshot {
		r.until = t.last
	}
	if r.partitions == nil {
		for p := range t.Partitions {
			r.partitions = append(r.partitions, p)
		}
	}
	for _, p := range r.partitions {
		r.cursors[p] = t.begin(p, s.Start)
		for at := r.cursors[p]; ; r.left++ {
			s := t.next(p, at, r.until)
			if s == nil {
				break
			}
			at = s.position + 1
		}
	}
	return r
}

// Next implements driver.Feed.
func (r *replay) Next(ctx context.Context) ([]driver.Delivery, error) {
	return r.wait(ctx, func(time.Time) ([]driver.Delivery, time.Duration) {
		var out []driver.Delivery
		if r.era != r.t.eras {
			r.era, r.until, r.target, r.left = r.t.eras, 0, 0, 0
			clear(r.cursors)
			out = append(out, driver.Delivery{Event: driver.Revoked, Partition: -1})
		}
		for len(out) < atOnce {
			first := r.first()
			// A record that was replaced before its turn comes as its successor, beyond the target.
			if !r.caughtUp && (first == nil || r.left == 0) {
				r.caughtUp = true
				out = append(out, driver.Delivery{Event: driver.CaughtUp, Partition: -1})
				continue
			}
			if first == nil {
				break
			}
			r.cursors[first.record.Partition] = first.position + 1
			if first.position <= r.target {
				r.left--
			}
			out = append(out, delivery(first))
		}
		return out, 0
	})
}

// first is the oldest record not yet delivered.
func (r *replay) first() *stored {
	var first *stored
	for _, p := range r.partitions {
		s := r.t.next(p, r.cursors[p], r.until)
		if s == nil {
			r.cursors[p] = max(r.cursors[p], r.t.last+1)
			continue
		}
		r.cursors[p] = s.position // What was passed over need not be looked at again.
		if first == nil || s.position < first.position {
			first = s
		}
	}
	return first
}

// Ack implements driver.Feed: a replay commits nothing.
func (r *replay) Ack(context.Context, driver.Delivery) error {
	r.d.b.mu.Lock()
	defer r.d.b.mu.Unlock()
	return r.ackable()
}

func (f *feed) ackable() error {
	if f.closed {
		return fmt.Errorf("acknowledge %s: %w", f.t.Name, driver.ErrClosed)
	}
	return nil
}

// Nack implements driver.Feed.
func (r *replay) Nack(context.Context, driver.Delivery, time.Duration) error {
	return outlet.ErrNotWork
}

// Close implements driver.Feed.
func (r *replay) Close() error {
	r.d.b.mu.Lock()
	defer r.d.b.mu.Unlock()
	r.shut()
	delete(r.d.feeds, r)
	return nil
}

func (r *replay) shut() { r.end() }

func (r *replay) lose() {}
