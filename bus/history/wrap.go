package history

import (
	"context"
	"time"

	"kemi.dev/kemi/bus/driver"
)

// Wrap returns a driver that does what d does and notes it. It is a driver.Sizer and a driver.Inspector when d is both.
func (r *Recorder) Wrap(d driver.Driver) driver.Driver {
	r.mu.Lock()
	r.drivers++
	w := &recorded{Driver: d, r: r, n: r.drivers}
	r.mu.Unlock()
	sizer, sizes := d.(driver.Sizer)
	inspector, inspects := d.(driver.Inspector)
	if sizes && inspects {
		return struct {
			*recorded
			driver.Sizer
			driver.Inspector
		}{w, sizer, inspector}
	}
	return w
}

type recorded struct {
	driver.Driver
	r *Recorder
	n int
}

// Ensure implements driver.Driver.
func (d *recorded) Ensure(ctx context.Context, topics []driver.Topic) error {
	err := d.Driver.Ensure(ctx, topics)
	if err == nil {
		for i := range topics {
			d.r.tell(Event{Op: OpTopic, Driver: d.n, Topic: topics[i].Name, Spec: &topics[i]})
		}
	}
	return err
}

// Publish implements driver.Driver.
func (d *recorded) Publish(ctx context.Context, records []driver.Record, fence *driver.Fence) error {
	e := Event{Op: OpPublish, Driver: d.n, Fence: fence}
	for i := range records {
		it := item(&records[i])
		it.Topic, it.Partition = records[i].Topic, records[i].Partition
		e.Records = append(e.Records, it)
	}
	call := d.r.begin(&e)
	err := d.Driver.Publish(ctx, records, fence)
	d.r.end(call, judge(err, len(records)), err)
	return err
}

// Subscribe implements driver.Driver.
func (d *recorded) Subscribe(ctx context.Context, s driver.Subscription) (driver.Feed, error) {
	d.r.mu.Lock()
	d.r.feeds++
	f := &recordedFeed{d: d, s: s, n: d.r.feeds}
	d.r.mu.Unlock()
	e := f.event(OpSubscribe)
	e.Start, e.Partitions = &s.Start, s.Partitions
	call := d.r.begin(&e)
	var err error
	if f.Feed, err = d.Driver.Subscribe(ctx, s); err != nil {
		d.r.end(call, Failed, err)
		return nil, err
	}
	d.r.end(call, OK, nil)
	return f, nil
}

type recordedFeed struct {
	driver.Feed
	d *recorded
	s driver.Subscription
	n int
}

func (f *recordedFeed) event(op Op) Event {
	return Event{Op: op, Driver: f.d.n, Feed: f.n, Topic: f.s.Topic, Group: f.s.Group}
}

var told = [...]Op{driver.Data: OpData, driver.Assigned: OpAssigned, driver.Revoked: OpRevoked, driver.CaughtUp: OpCaughtUp}

// Next implements driver.Feed.
func (f *recordedFeed) Next(ctx context.Context) ([]driver.Delivery, error) {
	got, err := f.Feed.Next(ctx)
	es := make([]Event, len(got))
	for i := range got {
		e := f.event(told[got[i].Event])
		e.Partition, e.Epoch, e.Position, e.Attempt = got[i].Partition, got[i].Epoch, got[i].Position, got[i].Attempt
		if got[i].Event == driver.Data {
			it := item(&got[i].Record)
			e.Item = &it
		}
		es[i] = e
	}
	f.d.r.tell(es...)
	return got, err
}

// call notes an acknowledgement or its contrary.
func (f *recordedFeed) call(op Op, d *driver.Delivery, do func() error) error {
	if d.Event != driver.Data { // It means nothing.
		return do()
	}
	e := f.event(op)
	e.Partition, e.Epoch, e.Position, e.Attempt = d.Partition, d.Epoch, d.Position, d.Attempt
	call := f.d.r.begin(&e)
	err := do()
	f.d.r.end(call, judge(err, 1), err)
	return err
}

// Ack implements driver.Feed.
func (f *recordedFeed) Ack(ctx context.Context, d driver.Delivery) error {
	return f.call(OpAck, &d, func() error { return f.Feed.Ack(ctx, d) })
}

// Nack implements driver.Feed.
func (f *recordedFeed) Nack(ctx context.Context, d driver.Delivery, after time.Duration) error {
	return f.call(OpNack, &d, func() error { return f.Feed.Nack(ctx, d, after) })
}

// Close implements driver.Feed.
func (f *recordedFeed) Close() error {
	err := f.Feed.Close()
	f.d.r.tell(f.event(OpClose))
	return err
}
