package kafka

import (
	"context"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"kemi.dev/kemi/bus/driver"
)

// replay reads without a group, each partition by itself.
type replay struct {
	feed
	more   chan struct{} // Told when the buffer was emptied.
	behind int           // Partitions that have not caught up.
	buf    buffer
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
		r.tasks.Go(func() { r.read(one, ends[p]) })
	}
	return nil
}

// caughtUp tells that everything is there.
func (r *replay) caughtUp() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.behind--; r.behind <= 0 {
		r.buf.put(driver.Delivery{Event: driver.CaughtUp, Partition: -1})
		r.nudge()
	}
}

// put adds deliveries when there is room for them.
func (r *replay) put(ds []driver.Delivery) error {
	for len(ds) > 0 {
		r.mu.Lock()
		room := r.buf.room()
		more := r.more
		if room {
			r.buf.put(ds...)
		}
		r.mu.Unlock()
		if room {
			r.nudge()
			return nil
		}
		select {
		case <-more:
		case <-r.ctx.Done():
			return r.ctx.Err()
		}
	}
	return nil
}

// read reads one partition. The error that ends it is the feed's end.
func (r *replay) read(one *reader, end int64) {
	if r.s.Start.Snapshot && one.next < end {
		if one.newest(r.ctx, end, r.put) != nil {
			return
		}
	}
	// A record that Kafka cleaned up before its turn went for a newer one, which may be behind what was the end when the
	// replay began, and is before what is the end when that is reached.
	reached := r.t.Kind != driver.Latest
	for behind := true; ; {
		if behind && one.next >= end {
			if !reached {
				now, err := r.d.offsets(r.ctx, r.t, []int{one.partition}, kafkago.LastOffset)
				if err != nil {
					if r.ctx.Err() != nil || !pause(r.ctx, r.d.tuning.again) {
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
		p, err := one.fetch(r.ctx)
		if err != nil || r.put(p.ds) != nil {
			return
		}
	}
}

// Next implements driver.Feed.
func (r *replay) Next(ctx context.Context) ([]driver.Delivery, error) {
	return r.wait(ctx, func() []driver.Delivery {
		out := r.buf.take(len(r.buf.ds))
		if len(out) > 0 {
			close(r.more)
			r.more = make(chan struct{})
		}
		return out
	})
}

// Ack implements driver.Feed: a replay commits nothing.
func (r *replay) Ack(context.Context, driver.Delivery) error { return r.isClosed() }

// Nack implements driver.Feed.
func (r *replay) Nack(context.Context, driver.Delivery, time.Duration) error { return errNotWork }

// Close implements driver.Feed.
func (r *replay) Close() error {
	if r.end() {
		r.tasks.Wait()
		r.d.forget(r)
	}
	return nil
}
