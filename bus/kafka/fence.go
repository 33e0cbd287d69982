package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/internal/pause"
)

// writer publishes under the fence of a lease: each Publish is a Kafka transaction of the partition's own transactional
// id. Whoever takes the partition over makes itself the producer of that id, which aborts what the former one has open;
// from then on the brokers refuse everything of the former one, be it records or the end of a transaction.
//
// kafka-go has no transactional producer; this is one that does no more than that, on kafka-go's requests.
// Source: KIP-98, KIP-360.
type writer struct {
	d      *Driver
	l      *lease
	id     string
	home   *coordinator
	client *kafkago.Client // What is asked of the coordinator.
	turn   chan struct{}   // Holds a token while nobody writes: one transaction at a time.

	// Whoever has the token:
	ready    bool // We are the producer, and nothing of ours is open.
	producer producer
	next     map[address]int32 // The next sequence number.
}

// transaction is how long a broker waits for the end of a transaction before it aborts it. Readers of committed records
// wait so long for a process that died in one, unless its partition is taken over before.
const transaction = 10 * time.Second

func newWriter(d *Driver, l *lease) *writer {
	w := &writer{d: d, l: l, id: fmt.Sprintf("%s/%s/%s/%d", d.config.Prefix, l.place.group, l.place.topic, l.partition), turn: make(chan struct{}, 1)}
	w.home = &coordinator{link: d.link, key: w.id, kind: kafkago.CoordinatorKeyTypeTransaction, node: anyone}
	w.client = &kafkago.Client{Addr: d.link.addr, Transport: w.home}
	w.turn <- struct{}{}
	return w
}

// prepare makes the writers of leases that begin the producers of their ids, some at a time.
func prepare(ctx context.Context, leases []*lease) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	const atATime = 16
	slots, errs := make(chan struct{}, atATime), make(chan error, len(leases))
	for _, l := range leases {
		go func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(ctx, l.m.d.tuning.lease)
			defer cancel()
			errs <- l.writer.begin(ctx)
		}()
	}
	var first error
	for range leases {
		if err := <-errs; err != nil && first == nil {
			first = err
			cancel() // The others end soon, and are waited for: a writer has one user at a time.
		}
	}
	return first
}

// begin makes this the producer of the id.
func (w *writer) begin(ctx context.Context) error {
	err := w.insist(ctx, func() error {
		r, err := w.client.InitProducerID(ctx, &kafkago.InitProducerIDRequest{
			TransactionalID: w.id, TransactionTimeoutMs: int(transaction.Milliseconds()), ProducerID: -1, ProducerEpoch: -1,
		})
		if err != nil {
			return err
		}
		if r.Error != nil {
			return r.Error
		}
		w.producer = producer{id: int64(r.Producer.ProducerID), epoch: int16(r.Producer.ProducerEpoch), transactional: true}
		return nil
	})
	if err != nil {
		return fmt.Errorf("fence former owners of %s: %w", w.id, err)
	}
	w.next, w.ready = map[address]int32{}, true
	return nil
}

// insist asks the coordinator until it has an answer that stays: it may move, or not have ended what was before.
func (w *writer) insist(ctx context.Context, ask func() error) error {
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		err := ask()
		switch {
		case err == nil:
			return nil
		case errors.Is(err, kafkago.ConcurrentTransactions):
			wait = min(wait, 10*time.Millisecond) // The one before is just being ended.
		case moved(err):
			w.home.forget()
		case !passing(err):
			return err
		}
		if !pause.For(ctx, wait) {
			return errors.Join(err, ctx.Err())
		}
	}
}

// errUnknown: the end of a transaction was asked for, and no answer came.
var errUnknown = errors.New("the broker did not say whether it was stored")

// replaced says that the brokers take another for the producer of the id.
func replaced(err error) bool {
	return errors.Is(err, kafkago.InvalidProducerEpoch) || errors.Is(err, kafkago.ProducerFenced) || errors.Is(err, kafkago.InvalidProducerIDMapping)
}

// publishFenced implements Publish under a fence.
func (d *Driver) publishFenced(ctx context.Context, parcels []*parcel, f *driver.Fence) error {
	d.mu.Lock()
	l := d.groups.leases[place{f.Topic, f.Group, f.Partition}]
	d.mu.Unlock()
	err := driver.ErrFenced
	if l != nil && l.epoch == f.Epoch {
		err = l.m.hold(ctx, l, time.Time{})
		if err == nil && len(parcels) > 0 {
			err = l.writer.publish(ctx, parcels)
		}
	}
	if err != nil {
		return fmt.Errorf("epoch %d of %s/%d for %s: %w", f.Epoch, f.Topic, f.Partition, f.Group, explain(kind(err)))
	}
	return nil
}

// publish stores all parcels, or none.
func (w *writer) publish(ctx context.Context, parcels []*parcel) error {
	select {
	case <-w.turn:
	case <-ctx.Done():
		return fmt.Errorf("wait for an earlier transaction: %w", ctx.Err())
	}
	defer func() { w.turn <- struct{}{} }()
	for attempt := 0; ; attempt++ {
		// The token may have been long in coming.
		if err := w.l.m.hold(ctx, w.l, time.Time{}); err != nil {
			return err
		}
		if err := w.become(ctx); err != nil {
			return err
		}
		err := w.transact(ctx, parcels)
		if err == nil {
			return nil
		}
		w.abandon(ctx)
		if errors.Is(err, errUnknown) || attempt >= 3 || !replaced(err) && !passing(err) && !lostCount(err) {
			return err
		}
		if replaced(err) {
			// By the next owner of the partition, by one that was paused and does not know that it is none, or by the
			// broker, which had waited too long for us. The group's coordinator knows which.
			if err := w.l.m.hold(ctx, w.l, time.Now()); err != nil {
				return err
			}
		}
		if !pause.For(ctx, w.d.tuning.again) {
			return err
		}
	}
}

// lostCount says that the broker and we count a partition's records differently; a new producer begins at 0.
func lostCount(err error) bool {
	return errors.Is(err, kafkago.OutOfOrderSequenceNumber) || errors.Is(err, kafkago.DuplicateSequenceNumber) || errors.Is(err, kafkago.UnknownProducerId) || errors.Is(err, kafkago.InvalidTransactionState)
}

// become makes this the producer when it is not.
func (w *writer) become(ctx context.Context) error {
	if w.ready {
		return nil
	}
	if err := w.begin(ctx); err != nil {
		return err
	}
	// Had we been paused before that, it would have been the next owner's place that we took. It takes it back; we must
	// not use it.
	if err := w.l.m.hold(ctx, w.l, time.Now()); err != nil {
		w.ready = false
		return err
	}
	return nil
}

// transact is one transaction.
func (w *writer) transact(ctx context.Context, parcels []*parcel) error {
	if err := w.enlist(ctx, parcels); err != nil {
		return fmt.Errorf("begin transaction of %s: %w", w.id, err)
	}
	if err := w.deliver(ctx, parcels); err != nil {
		return fmt.Errorf("publish in the transaction of %s: %w", w.id, err)
	}
	return w.finish(ctx, true)
}

// enlist tells the coordinator which partitions take part, which begins the transaction.
func (w *writer) enlist(ctx context.Context, parcels []*parcel) error {
	add := &kafkago.AddPartitionsToTxnRequest{TransactionalID: w.id, ProducerID: int(w.producer.id), ProducerEpoch: int(w.producer.epoch), Topics: map[string][]kafkago.AddPartitionToTxn{}}
	for _, p := range parcels {
		if one := (kafkago.AddPartitionToTxn{Partition: p.partition}); !slices.Contains(add.Topics[p.t.name], one) {
			add.Topics[p.t.name] = append(add.Topics[p.t.name], one)
		}
	}
	return w.insist(ctx, func() error {
		r, err := w.client.AddPartitionsToTxn(ctx, add)
		if err != nil {
			return err
		}
		for _, ps := range r.Topics {
			for _, p := range ps {
				if p.Error != nil && !errors.Is(p.Error, operationNotAttempted) {
					return p.Error
				}
			}
		}
		return nil
	})
}

// deliver sends the records. A request to a leader takes one batch of each partition.
func (w *writer) deliver(ctx context.Context, parcels []*parcel) error {
	now := time.Now().UnixMilli()
	for len(parcels) > 0 {
		var batches []batch
		var later []*parcel
		seen := map[address]bool{}
		for _, p := range parcels {
			to := address{p.t.name, p.partition}
			if seen[to] {
				later = append(later, p)
				continue
			}
			seen[to] = true
			w.producer.sequence = w.next[to]
			w.next[to] += int32(p.count())
			batches = append(batches, batch{topic: p.t, partition: p.partition, as: w.producer, at: now, parts: []*sealed{&p.sealed}})
		}
		if err := w.send(ctx, batches); err != nil {
			return err
		}
		parcels = later
	}
	return nil
}

// operationNotAttempted is said of partitions beside one that was refused.
const operationNotAttempted = kafkago.Error(55)

// send sends batches until all are stored; one that comes twice the broker knows by its sequence.
func (w *writer) send(ctx context.Context, batches []batch) error {
	for {
		err := w.d.produce(ctx, w.id, batches)
		if err == nil || !passing(err) {
			return err
		}
		if !pause.For(ctx, w.d.tuning.again) {
			return errors.Join(err, ctx.Err())
		}
	}
}

// finish ends the transaction. The coordinator may be asked again: it has one outcome.
func (w *writer) finish(ctx context.Context, commit bool) error {
	asked := false
	err := w.insist(ctx, func() error {
		r, err := w.client.EndTxn(ctx, &kafkago.EndTxnRequest{TransactionalID: w.id, ProducerID: int(w.producer.id), ProducerEpoch: int(w.producer.epoch), Committed: commit})
		if err != nil {
			asked = true
			return err
		}
		return r.Error
	})
	switch {
	case err == nil:
		return nil
	case asked:
		return fmt.Errorf("end transaction of %s: %w: %v", w.id, errUnknown, err)
	}
	return fmt.Errorf("end transaction of %s: %w", w.id, err)
}

// abandon aborts what is open, so that readers need not wait for it, and begins anew with the next transaction.
func (w *writer) abandon(ctx context.Context) {
	w.ready = false
	if w.d.link.health() != nil {
		return // Nobody is there to be told: it is aborted when its time is over, or by the next owner.
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.d.tuning.lease/6)
	defer cancel()
	if err := w.finish(ctx, false); err != nil {
		w.d.scope.Log().Debug("abort transaction", "id", w.id, "err", err)
	}
}
