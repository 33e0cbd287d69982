package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"kemi.dev/kemi/bus/driver"
)

// acksAll: every replica that is in sync has a record before it is acknowledged.
const acksAll = -1

// workRun is how many records of work stay together on their way over the partitions.
const workRun = 8

// parcel is records of one partition, in order, that fit into one batch.
type parcel struct {
	t         *topic
	partition int
	sealed
}

// Publish implements driver.Driver. While the brokers are away, or a partition has no leader, it waits for them, until the
// context's deadline or, when it has none, for 30 s.
//
// Without a fence records go out with a producer id and a sequence, so that what is sent again because its answer was lost
// is stored once. When a deadline ends a Publish whose answer is owed, what was sent last may still be stored, even after
// what is published next, should the broker have been stopped with it in its hands.
func (d *Driver) Publish(ctx context.Context, records []driver.Record, fence *driver.Fence) error {
	err := d.publish(ctx, records, fence)
	if len(records) > 0 {
		d.refusals.judge("publish", records[0].Topic, err, time.Now())
	}
	return err
}

func (d *Driver) publish(ctx context.Context, records []driver.Record, fence *driver.Fence) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	ctx, cancel, err := d.ready(ctx)
	defer cancel()
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	parcels, err := d.pack(ctx, records, fence)
	if err != nil {
		return err
	}
	if fence != nil {
		return d.publishFenced(ctx, parcels, fence)
	}
	return d.store(ctx, parcels)
}

// pack checks and encodes everything before anything is sent.
func (d *Driver) pack(ctx context.Context, records []driver.Record, fence *driver.Fence) ([]*parcel, error) {
	var epoch uint64
	if fence != nil {
		epoch = fence.Epoch
	}
	var parcels []*parcel
	open := map[address]*parcel{} // The last parcel of each partition.
	var t *topic
	start := 0 // The first of the records of t that follow each other.
	for i := range records {
		r := &records[i]
		if t == nil || t.Name != r.Topic {
			var err error
			if t, err = d.topic(ctx, r.Topic); err != nil {
				return nil, fmt.Errorf("publish to %s: %w", r.Topic, err)
			}
			start = i
		}
		partition := r.Partition
		if t.Kind == driver.Work {
			partition = d.spread(t, i-start)
		}
		at := address{t.name, partition}
		p := open[at]
		if p == nil {
			p = &parcel{t: t, partition: partition}
			p.bodies = d.buffers.get(room(t, records[i:]))
			open[at], parcels = p, append(parcels, p)
		}
		if err := p.add(r, t, epoch); err != nil {
			return nil, fmt.Errorf("publish %.100q to %s: %w", r.Key, r.Topic, err)
		}
		if p.size() <= t.maxBatch {
			continue
		}
		last := &parcel{t: t, partition: partition, sealed: p.drop()}
		if size := last.size(); size > t.maxBatch {
			return nil, fmt.Errorf("publish %.100q to %s: %d bytes, the topic takes %d: %w", r.Key, r.Topic, size, t.maxBatch, driver.ErrTooLarge)
		}
		open[at], parcels = last, append(parcels, last)
	}
	return parcels, d.admit(ctx, records)
}

// room is about how many bytes the records take that go to the partition of the first one.
func room(t *topic, records []driver.Record) int {
	var n int64
	for i := range records {
		switch {
		case t.Kind == driver.Work && i == workRun || records[i].Topic != t.Name || n > int64(t.maxBatch):
			return int(n)
		case t.Kind == driver.Work || records[i].Partition == records[0].Partition:
			n += weigh(&records[i]) + recordFrame
		}
	}
	return int(n)
}

// spread is the partition for the nth record of work in a call.
func (d *Driver) spread(t *topic, n int) int {
	if n%workRun == 0 {
		t.turn.Add(1)
	}
	return int(t.turn.Load() % uint32(t.parts))
}

// store stores parcels, those of one partition in their order.
func (d *Driver) store(ctx context.Context, parcels []*parcel) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // After an error what is still to be sent stays here.
	loads := make([]*load, len(parcels))
	for i, p := range parcels {
		loads[i] = &load{parcel: p, ctx: ctx, done: make(chan error, 1)}
		d.lane(p.t, p.partition).put(loads[i])
	}
	for _, l := range loads {
		var err error
		select {
		case err = <-l.done:
		case <-ctx.Done():
			select {
			case err = <-l.done:
			default:
				err = ctx.Err()
				if why := l.why(); why != nil {
					err = fmt.Errorf("%w: %w", away(why), err)
				}
			}
		}
		if err != nil {
			switch {
			case d.isClosed():
				err = errors.Join(driver.ErrClosed, err)
			case errors.Is(err, kafkago.UnknownTopicOrPartition):
				d.unknow(l.parcel.t)
			}
			return fmt.Errorf("publish %d to %s: %w", l.parcel.count(), l.parcel.t.Name, explain(kind(err)))
		}
	}
	for _, p := range parcels {
		d.buffers.put(p.bodies)
	}
	return nil
}

// batch is one record batch for one partition: in bytes, or what it is to be made of.
type batch struct {
	topic     *topic
	partition int
	data      []byte

	as    producer
	at    int64 // Unix milliseconds.
	parts []*sealed
}

func (b *batch) size() int {
	n := len(b.data)
	for _, s := range b.parts {
		n += s.size()
	}
	return n
}

func (b *batch) appendTo(dst []byte) []byte {
	if b.data != nil {
		return append(dst, b.data...)
	}
	return appendBatch(dst, b.as, b.at, b.parts...)
}

// buffers are bytes that were used and can be used again.
type buffers struct{ pool sync.Pool }

// get returns an empty buffer for about so many bytes.
func (b *buffers) get(size int) []byte {
	if had, _ := b.pool.Get().(*[]byte); had != nil && cap(*had) >= size {
		return (*had)[:0]
	}
	return make([]byte, 0, size)
}

// put takes back a buffer that nobody has any more.
func (b *buffers) put(data []byte) {
	if cap(data) >= 1<<10 {
		b.pool.Put(&data)
	}
}

// produce sends batches to those who lead their partitions, once, and returns the first refusal. transaction is the id of
// the transaction they are part of, "" of none.
func (d *Driver) produce(ctx context.Context, transaction string, batches []batch) error {
	byLeader := map[int32][]batch{}
	for _, b := range batches {
		node, err := d.link.leader(ctx, b.topic.name, b.partition)
		if err != nil {
			return err
		}
		byLeader[node] = append(byLeader[node], b)
	}
	if len(byLeader) == 1 {
		for node, some := range byLeader {
			return d.produceTo(ctx, node, transaction, some)
		}
	}
	var wg sync.WaitGroup
	errs := make(chan error, len(byLeader))
	for node, some := range byLeader {
		wg.Go(func() { errs <- d.produceTo(ctx, node, transaction, some) })
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *Driver) produceTo(ctx context.Context, node int32, transaction string, batches []batch) error {
	ctx, cancel := context.WithTimeout(ctx, d.tuning.answer)
	defer cancel()
	size := 256
	for i := range batches {
		size += batches[i].size() + len(batches[i].topic.name) + 32
	}
	m := d.link.messageIn(d.buffers.get(size), protocol.Produce, versionProduce, node)
	m.nullable(transaction)
	m.int16(acksAll)
	m.int32(int32(d.tuning.answer.Milliseconds() * 3 / 4)) // It says that replicas are late before the answer is.
	m.length(len(batches))
	for i := range batches {
		b := &batches[i]
		m.text(b.topic.name)
		m.length(1)
		m.int32(int32(b.partition))
		m.length(0)
		begin := len(m.data)
		m.data = b.appendTo(m.data)
		binary.BigEndian.PutUint32(m.data[begin-4:], uint32(len(m.data)-begin))
	}
	answer, err := d.link.send(ctx, m)
	if err == nil {
		d.buffers.put(m.data) // It was sent whole: there is an answer.
		err = parseProduce(answer, len(batches))
	}
	if err != nil {
		for _, b := range batches {
			d.link.stale(b.topic.name)
		}
		return fmt.Errorf("produce to broker %d: %w", node, err)
	}
	return nil
}

// parseProduce returns the first refusal in the answer to a request of so many batches.
func parseProduce(p *parser, batches int) error {
	var first error
	seen := 0
	for range p.length(6) {
		_ = p.text()
		for range p.length(30) {
			_ = p.int32()
			code := kafkago.Error(p.int16())
			_ = p.take(3 * 8) // The first offset, the time, the log's beginning.
			for range p.length(6) {
				_ = p.int32()
				_ = p.text()
			}
			what := p.text()
			seen++
			if code != 0 && first == nil {
				first = code
				if what != "" {
					first = fmt.Errorf("%w (%s)", code, what)
				}
			}
		}
	}
	switch {
	case p.bad || first == nil && seen != batches:
		return fmt.Errorf("an answer about %d of %d batches: %w", seen, batches, errNonsense)
	}
	return first
}
