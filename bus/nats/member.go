package nats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/driver/outlet"
)

// atOnce bounds what one Next of a group returns.
const atOnce = 256

// claim takes a partition whose owner is gone, with the next epoch.
func (o *owner) claim(ctx context.Context, p int) error {
	key := fmt.Sprintf("%sp%d", o.prefix, p)
	have := o.view[p]
	e := entry{Owner: o.name, Epoch: uint64(time.Now().Unix())}
	e.Epoch = max(e.Epoch, o.epochs[p]+1)
	born, end, err := o.t.birth(ctx)
	if err != nil {
		return err
	}
	e.Born = born
	if have != nil {
		e.Epoch = max(e.Epoch, have.Epoch+1)
		switch {
		case have.Born == born:
			if e.Next, err = o.t.resumeAt(ctx, p, from{position: have.Next, after: have.At}, end); err != nil {
				return err
			}
			if e.Next == have.Next {
				e.At = have.At
			}
		case have.Born == 0 && have.Next <= end+1: // An older Kemi's.
			e.Next = have.Next
		default:
			o.d.scope.Log().Warn("a stream was made again, its group begins anew", "topic", o.t.Name, "group", o.s.Group, "partition", p)
		}
	}
	if e.Next == 0 && !o.s.Start.Snapshot {
		// It is written down with the first lease: who takes over before the first commit begins there too.
		if e.Next, err = o.t.resolve(ctx, p, o.s.Start); err != nil {
			return err
		}
	}
	value, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode lease: %w", err)
	}
	sent := time.Now()
	var revision uint64
	if have != nil {
		revision, err = o.d.groups.Update(ctx, key, value, have.revision)
	} else {
		revision, err = o.d.groups.Create(ctx, key, value)
	}
	if isMismatch(err) { // Another was faster, or our view is old.
		now, err := o.d.groups.Get(ctx, key)
		switch {
		case err == nil && (have == nil || now.Revision() > have.revision):
			o.see(now)
			return nil
		case err == nil || errors.Is(err, jetstream.ErrKeyNotFound):
			return errors.New("the bucket of leases was made again")
		}
		return fmt.Errorf("read lease %s: %w", key, err)
	}
	if err != nil {
		return fmt.Errorf("take lease %s: %w", key, err)
	}
	o.view[p], o.epochs[p] = &seen{entry: e, revision: revision, at: time.Now()}, e.Epoch
	l := &lease{
		o: o, key: key, born: born, place: place{o.t.Name, o.s.Group, p}, partition: p, epoch: e.Epoch, revision: revision,
		valid: sent.Add(o.d.tuning.lease * 3 / 4), written: sent, wrote: e.Next, acked: e.Next, ackedAt: e.At,
	}
	o.d.mu.Lock()
	o.d.leases[l.place] = l
	o.d.mu.Unlock()
	l.reader(o.s.Start, e.Next, e.At)
	reading, cancel := context.WithCancel(o.Ctx)
	l.cancel = cancel
	o.Mu.Lock()
	o.leases[p] = l
	o.Mu.Unlock()
	o.Tasks.Go(func() { l.begin(reading, e.Next) })
	return nil
}

// over ends a lease that was given back or lost.
func (o *owner) over(l *lease) {
	o.d.mu.Lock()
	if o.d.leases[l.place] == l {
		delete(o.d.leases, l.place)
	}
	o.d.mu.Unlock()
	l.cancel()
	o.Mu.Lock()
	defer o.Mu.Unlock()
	if l.lost {
		return
	}
	l.lost = true
	if o.leases[l.partition] == l {
		delete(o.leases, l.partition)
	}
	if l.told {
		o.events = append(o.events, driver.Delivery{Event: driver.Revoked, Partition: l.partition, Epoch: l.epoch})
	}
	o.Nudge()
	o.stir()
}

// resolve is the position at which a group begins that never was in the partition.
func (t *topic) resolve(ctx context.Context, p int, s driver.Start) (int64, error) {
	if !s.End && s.Time.IsZero() {
		return max(s.Position, 1), nil
	}
	end, err := t.end(ctx)
	if err != nil || s.End {
		return end + 1, err
	}
	last, at, err := t.lastOf(ctx, t.filter(p))
	if err != nil || last == 0 || at.Before(s.Time) {
		return end + 1, err
	}
	// There is one, though in a cluster the consumer may be with a server that has not heard of it yet.
	consumer, err := t.reading(ctx, []string{t.filter(p)}, from{time: s.Time})
	if err != nil {
		return 0, err
	}
	info := consumer.CachedInfo()
	defer func() { _ = t.link.js.DeleteConsumer(ctx, info.Stream, info.Name) }()
	m, err := consumer.Next(jetstream.FetchContext(ctx))
	if err != nil {
		return 0, fmt.Errorf("look for the first record after %s: %w", s.Time, err)
	}
	meta, err := m.Metadata()
	if err != nil {
		return 0, fmt.Errorf("look for the first record after %s: %w", s.Time, err)
	}
	return int64(meta.Sequence.Stream), nil
}

// Next implements driver.Feed.
func (o *owner) Next(ctx context.Context) ([]driver.Delivery, error) {
	return o.Wait(ctx, func() []driver.Delivery {
		out := o.events
		o.events = nil
		room := atOnce
		now := time.Now()
		for _, l := range o.leases { // In any order: none is always the first.
			n := min(l.buf.Len(), o.s.Window-len(l.open), room)
			if n <= 0 || l.leaving || !now.Before(l.valid) {
				continue
			}
			some := l.buf.Take(n)
			for i := range some {
				l.open = append(l.open, some[i].Position)
			}
			out = append(out, some...)
			room -= n
			l.in.nudge()
		}
		return out
	})
}

// Ack implements driver.Feed.
func (o *owner) Ack(ctx context.Context, d driver.Delivery) error {
	o.Mu.Lock()
	if o.Closed {
		o.Mu.Unlock()
		return fmt.Errorf("commit %s: %w", o.t.Name, driver.ErrClosed)
	}
	l := o.leases[d.Partition]
	o.Mu.Unlock()
	if d.Event != driver.Data {
		return nil
	}
	err := driver.ErrFenced
	if l != nil && l.epoch == d.Epoch {
		ctx, cancel := context.WithTimeout(ctx, o.d.tuning.lease/2)
		err = l.hold(ctx)
		cancel()
	}
	if err != nil {
		return fmt.Errorf("commit %s/%d for %s at epoch %d: %w", o.t.Name, d.Partition, o.s.Group, d.Epoch, err)
	}
	o.Mu.Lock()
	defer o.Mu.Unlock()
	if l.lost {
		return fmt.Errorf("commit %s/%d for %s at epoch %d: %w", o.t.Name, d.Partition, o.s.Group, d.Epoch, driver.ErrFenced)
	}
	if d.Position < l.acked {
		return nil
	}
	l.acked, l.ackedAt = d.Position+1, 0
	if !d.Stored.IsZero() {
		l.ackedAt = d.Stored.UnixNano()
	}
	done := 0
	for done < len(l.open) && l.open[done] <= d.Position {
		done++
	}
	l.open = l.open[done:]
	if l.leaving && len(l.open) == 0 {
		o.stir()
	}
	o.Nudge()
	return nil
}

// Nack implements driver.Feed.
func (o *owner) Nack(context.Context, driver.Delivery, time.Duration) error { return outlet.ErrNotWork }

// Close implements driver.Feed: it commits, gives the partitions back and takes the announcement away, so that others
// need not wait for the leases to end.
func (o *owner) Close() error {
	if !o.End() {
		return nil
	}
	there := o.settled()
	o.d.forget(o)
	o.Mu.Lock()
	mine := make([]*lease, 0, len(o.leases))
	for _, l := range o.leases {
		mine = append(mine, l)
	}
	o.Mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), goodbye)
	defer cancel()
	log := o.d.scope.Log()
	for _, l := range mine {
		if there && ctx.Err() == nil {
			if err := l.write(ctx, true); err != nil && !errors.Is(err, driver.ErrFenced) {
				log.Warn("give a partition back", "topic", o.t.Name, "group", o.s.Group, "partition", l.partition, "err", err)
			}
		}
		o.over(l)
	}
	if there && !o.beaten.IsZero() {
		if err := o.d.members.Delete(ctx, o.prefix+"m-"+o.name); err != nil {
			log.Debug("take the announcement away", "err", err)
		}
	}
	return nil
}
