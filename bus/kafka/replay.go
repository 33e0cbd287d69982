package kafka

import (
	"context"
	"errors"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/driver/outlet"
	"kemi.dev/kemi/internal/pause"
)

// replay reads without a group, each partition by itself.
type replay struct {
	feed
	more   chan struct{} // Told when the buffer was emptied.
	behind int           // Partitions that have not caught up.
	buf    outlet.Buffer
}

func newReplay(d *Driver, t *topic, s driver.Subscription) *replay {
	return &replay{feed: newFeed(d, t, s), more: make(chan struct{})}
}

func (r *replay) begin(ctx context.Context) error {
	partitions := r.s.Partitions
	if partitions == nil || r.t.Kind == driver.Work { // Work is wherever there was room.
		partitions = nil
		for p := range r.t.parts {
			partitions = append(partitions, p)
		}
	}
	if len(partitions) == 0 {
		r.caughtUp()
		return nil
	}
	// What is stored now, in open transactions too, comes before CaughtUp.
	ends, err := r.d.offsets(ctx, r.t, partitions, kafkago.LastOffset)
	if err != nil {
		return err
	}
	from := map[int]int64{}
	switch start := r.s.Start; {
	case start.End:
		from = ends
	case !start.Time.IsZero():
		from, err = r.d.offsets(ctx, r.t, partitions, start.Time.UnixMilli())
	case start.Position > 0:
		from[partitions[0]] = offsetOf(start.Position)
	default:
		from, err = r.d.offsets(ctx, r.t, partitions, kafkago.FirstOffset)
	}
	if err != nil {
		return err
	}
	r.behind = len(partitions)
	for _, p := range partitions {
		one := newReader(r.d, r.t, p, from[p])
		r.Tasks.Go(func() { r.read(one, ends[p]) })
	}
	return nil
}

// caughtUp tells that everything is there.
func (r *replay) caughtUp() {
	r.Mu.Lock()
	defer r.Mu.Unlock()
	if r.behind--; r.behind <= 0 {
		r.buf.Put(driver.Delivery{Event: driver.CaughtUp, Partition: -1})
		r.Nudge()
	}
}

// put adds deliveries when there is room for them.
func (r *replay) put(ds []driver.Delivery) error {
	for len(ds) > 0 {
		r.Mu.Lock()
		room := r.buf.Room() > 0
		more := r.more
		if room {
			r.buf.Put(ds...)
		}
		r.Mu.Unlock()
		if room {
			r.Nudge()
			return nil
		}
		select {
		case <-more:
		case <-r.Ctx.Done():
			return r.Ctx.Err()
		}
	}
	return nil
}

// read reads one partition. The error that ends it is the feed's end.
func (r *replay) read(one *reader, end int64) {
	for r.s.Start.Snapshot && one.next < end {
		err := one.newest(r.Ctx, end, r.put)
		if errors.Is(err, errAnew) {
			end, one.next = 0, 0 // All of it, and whatever the end is, follows.
			break
		}
		if err != nil {
			return
		}
	}
	// A record that Kafka cleaned up before its turn went for a newer one, which may be behind what was the end when the
	// replay began, and is before what is the end when that is reached.
	reached := r.t.Kind != driver.Latest
	begun := 0
	for behind := true; ; {
		if one.begun != begun {
			begun, reached, end = one.begun, false, 0 // What was the end is of the log before.
		}
		if behind && one.next >= end {
			if !reached {
				now, err := r.d.offsets(r.Ctx, r.t, []int{one.partition}, kafkago.LastOffset)
				if err != nil {
					if r.Ctx.Err() != nil || !pause.For(r.Ctx, r.d.tuning.again) {
						return
					}
					continue
				}
				reached, end = true, now[one.partition]
				continue
			}
			behind = false
			r.caughtUp()
		}
		p, err := one.fetch(r.Ctx)
		if err != nil || r.put(p.ds) != nil {
			return
		}
	}
}

// Next implements driver.Feed.
func (r *replay) Next(ctx context.Context) ([]driver.Delivery, error) {
	return r.Wait(ctx, func() []driver.Delivery {
		out := r.buf.Take(r.buf.Len())
		if len(out) > 0 {
			close(r.more)
			r.more = make(chan struct{})
		}
		return out
	})
}

// Ack implements driver.Feed: a replay commits nothing.
func (r *replay) Ack(context.Context, driver.Delivery) error { return r.Open() }

// Nack implements driver.Feed.
func (r *replay) Nack(context.Context, driver.Delivery, time.Duration) error {
	return outlet.ErrNotWork
}

// Close implements driver.Feed.
func (r *replay) Close() error {
	if r.End() {
		r.Tasks.Wait()
		r.d.forget(r)
	}
	return nil
}
