package history

import (
	"context"
	"errors"
	"fmt"
	"time"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/internal/pause"
)

// Own is a member of the group that owns the log: for what it is given of a partition it writes a record to the output and
// its state, under its fence, and then commits. Of an epoch that is over it tries to write, to commit and to be told that
// it lasts, which has to be refused.
func (w Workload) Own(ctx context.Context, d driver.Driver) { w.own(ctx, d, func(*driver.Delivery) {}) }

func (w Workload) own(ctx context.Context, d driver.Driver, done func(*driver.Delivery)) {
	w = w.withDefaults()
	o := owner{w: w, d: d, done: done, epochs: map[int]uint64{}, last: map[int]driver.Delivery{}}
	s := driver.Subscription{Topic: w.log(), Group: groupOwners, Window: w.Window, Writes: []string{w.out(), w.state()}}
	w.read(ctx, d, s, func(f driver.Feed, got []driver.Delivery) { o.take(ctx, f, got) })
	ended, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	for p, epoch := range o.epochs { // The feed is closed.
		o.haunt(ended, nil, p, epoch)
	}
}

type owner struct {
	w      Workload
	d      driver.Driver
	done   func(*driver.Delivery)
	epochs map[int]uint64
	last   map[int]driver.Delivery
}

func (o *owner) take(ctx context.Context, f driver.Feed, got []driver.Delivery) {
	for len(got) > 0 {
		d := got[0]
		n := 1
		switch d.Event {
		case driver.Assigned:
			o.epochs[d.Partition] = d.Epoch
		case driver.Revoked:
			delete(o.epochs, d.Partition)
			o.haunt(ctx, f, d.Partition, d.Epoch)
		case driver.Data:
			for n < len(got) && got[n].Event == driver.Data && got[n].Partition == d.Partition && got[n].Epoch == d.Epoch {
				n++
			}
			if o.epochs[d.Partition] == d.Epoch && !o.handle(ctx, f, got[:n]) {
				delete(o.epochs, d.Partition) // Refused: what follows of the epoch is not ours.
			}
		}
		got = got[n:]
	}
}

func (o *owner) fence(partition int, epoch uint64) *driver.Fence {
	return &driver.Fence{Topic: o.w.log(), Group: groupOwners, Partition: partition, Epoch: epoch}
}

// written is what an owner makes of deliveries.
func (o *owner) written(got []driver.Delivery) []driver.Record {
	last := got[len(got)-1]
	var out []driver.Record
	for i := range got {
		r := got[i].Record
		out = append(out, driver.Record{
			Topic: o.w.out(), Partition: last.Partition, Key: r.Key, ID: fmt.Sprintf("out/%d/%s", last.Epoch, r.ID), Value: []byte(r.ID),
		})
	}
	return append(out, driver.Record{
		Topic: o.w.state(), Partition: last.Partition, Key: fmt.Sprintf("state-%d", last.Partition),
		ID: fmt.Sprintf("state/%d/%d/%d", last.Partition, last.Epoch, last.Position), Value: fmt.Append(nil, last.Position),
	})
}

// handle writes and commits; false means that the epoch is over.
func (o *owner) handle(ctx context.Context, f driver.Feed, got []driver.Delivery) bool {
	last := got[len(got)-1]
	fence := o.fence(last.Partition, last.Epoch)
	o.last[last.Partition] = last
	if last.Position%7 == 0 {
		_ = o.d.Publish(ctx, nil, fence) // The answer is in the log.
	}
	if !o.w.insist(ctx, o.d, o.written(got), fence) {
		return false
	}
	if !o.w.ack(ctx, f, last) {
		return false
	}
	for i := range got {
		o.done(&got[i])
	}
	return true
}

// haunt tries what a former owner may not do. Whether it was refused is in the log.
func (o *owner) haunt(ctx context.Context, f driver.Feed, partition int, epoch uint64) {
	fence := o.fence(partition, epoch)
	_ = o.d.Publish(ctx, nil, fence)
	last, ok := o.last[partition]
	if !ok || last.Epoch != epoch {
		return
	}
	last.Record.ID = "ghost of " + last.Record.ID
	_ = o.d.Publish(ctx, o.written([]driver.Delivery{last})[:1], fence)
	if f != nil {
		_ = f.Ack(ctx, last)
	}
}

// ack acknowledges until that is accepted, or refused, or ctx is over. It says whether it was accepted.
func (w Workload) ack(ctx context.Context, f driver.Feed, d driver.Delivery) bool {
	for ctx.Err() == nil {
		once, cancel := context.WithTimeout(ctx, w.Timeout)
		err := f.Ack(once, d)
		cancel()
		switch {
		case err == nil:
			return true
		case errors.Is(err, driver.ErrFenced), errors.Is(err, driver.ErrClosed):
			return false
		}
		pause.For(ctx, 20*time.Millisecond)
	}
	return false
}

// Mirror is a member of a group that reads the keep-latest topic.
func (w Workload) Mirror(ctx context.Context, d driver.Driver) {
	w.mirror(ctx, d, func(*driver.Delivery) {})
}

func (w Workload) mirror(ctx context.Context, d driver.Driver, done func(*driver.Delivery)) {
	w = w.withDefaults()
	s := driver.Subscription{Topic: w.latest(), Group: groupMirrors, Window: w.Window}
	w.read(ctx, d, s, func(f driver.Feed, got []driver.Delivery) {
		for i := range got {
			if got[i].Event == driver.Data && w.ack(ctx, f, got[i]) {
				done(&got[i])
			}
		}
	})
}

// Work is a member of the group that does the work: some it gives back first, the rest it acknowledges.
func (w Workload) Work(ctx context.Context, d driver.Driver) { w.work(ctx, d, func() {}) }

func (w Workload) work(ctx context.Context, d driver.Driver, came func()) {
	w = w.withDefaults()
	s := driver.Subscription{Topic: w.jobs(), Group: groupWorkers, Window: w.Window}
	w.read(ctx, d, s, func(f driver.Feed, got []driver.Delivery) {
		for i := range got {
			if got[i].Event != driver.Data {
				continue
			}
			came()
			if got[i].Attempt <= 1 && got[i].Position%31 == 0 && f.Nack(ctx, got[i], 10*time.Millisecond) == nil {
				continue
			}
			w.ack(ctx, f, got[i])
		}
	})
}
