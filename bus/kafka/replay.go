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
	era    uint64        // The newest log that a partition was read of.
	buf    outlet.Buffer
}

func newReplay(d *Driver, t *topic, s driver.Subscription) *replay {
	return &replay{feed: newFeed(d, t, s), more: make(chan struct{}), era: t.era()}
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
	case start.Position > 0 && offsetOf(start.Position) <= ends[partitions[0]]: // Behind that it is of a log that is gone.
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
		one.era = r.era // What was looked up is of that log.
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

// anew says that what was delivered is gone, once for all partitions.
func (r *replay) anew(era uint64) {
	r.Mu.Lock()
	defer r.Mu.Unlock()
	if era <= r.era {
		return
	}
	r.era = era
	r.buf.Keep(func(d *driver.Delivery) bool { return d.Event != driver.Data })
	r.buf.Put(driver.Delivery{Event: driver.Revoked, Partition: -1})
	r.Nudge()
}

// put adds deliveries of a log when there is room for them, and it is still the newest.
func (r *replay) put(era uint64, ds []driver.Delivery) error {
	for len(ds) > 0 {
		r.Mu.Lock()
		if era < r.era {
			r.Mu.Unlock()
			return nil // Who read them learns it with the next fetch.
		}
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
	one.tell = func() { r.anew(one.era) }
	for r.s.Start.Snapshot && one.next < end {
		err := one.newest(r.Ctx, end, func(ds []driver.Delivery) error { return r.put(one.era, ds) })
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
		if err != nil || r.put(one.era, p.ds) != nil {
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
