package kafka

import (
	"context"
	"slices"
	"time"

	"kemi.dev/kemi/bus/driver"
)

// workPartitions is how many partitions a Work topic has at least in Kafka. A partition belongs to one member, so it is
// how many members a group can have that work.
const workPartitions = 16

// stall is after how long a member that hands out nothing passes on what waits.
const stall = time.Second

// worker is a member's feed of a Work topic. Its records are acknowledged one by one: what is done behind the first that
// is not stands beside the position in the commit. What waits too long goes to another partition, and so to another
// member (docs/adr/0006-work-on-a-log.md).
type worker struct {
	*member
	moved   time.Time // When something was handed out last, or nothing waited. Guarded by the mutex, as is passing.
	passing bool      // Records are on their way to others.
}

func newWorker(d *Driver, t *topic, s driver.Subscription) *worker {
	w := &worker{member: newMember(d, t, s)}
	w.desks = w
	return w
}

func (w *worker) open(l *lease) { l.desk = newTally(l.begin, l.from) }
func (w *worker) over(*lease)   {}

// Next implements driver.Feed.
func (w *worker) Next(ctx context.Context) ([]driver.Delivery, error) {
	return w.Wait(ctx, func() []driver.Delivery {
		now := time.Now()
		if !now.Before(w.valid) {
			return nil
		}
		room := min(w.s.Window-w.inHand(), atOnce)
		var out []driver.Delivery
		for _, l := range w.leases { // In any order: none is always the first.
			g := l.desk.(*tally)
			if l.leaving || room <= 0 || l.cramped && g.taken > 0 {
				continue
			}
			some := g.take(room, now)
			for i := range some {
				some[i].Epoch = l.epoch
			}
			out = append(out, some...)
			room -= len(some)
			l.nudge()
		}
		if len(out) > 0 {
			w.moved = now
		}
		return out
	})
}

// inHand is how many records are in hand, with the feed locked.
func (w *worker) inHand() int {
	n := 0
	for _, l := range w.leases {
		n += l.desk.(*tally).taken
	}
	return n
}

// Ack implements driver.Feed. A late one still counts: the work was done.
func (w *worker) Ack(ctx context.Context, d driver.Delivery) error {
	return w.answer(ctx, d, func(g *tally) { g.done(d.Position) })
}

// Nack implements driver.Feed.
func (w *worker) Nack(ctx context.Context, d driver.Delivery, after time.Duration) error {
	return w.answer(ctx, d, func(g *tally) {
		now := time.Now()
		g.back(d.Position, now, now.Add(after))
		if after > 0 {
			time.AfterFunc(after, w.Nudge)
		}
	})
}

func (w *worker) answer(ctx context.Context, d driver.Delivery, do func(*tally)) error {
	if err := w.Open(); err != nil || d.Event != driver.Data {
		return err
	}
	l, err := w.mine(ctx, d)
	if err != nil {
		return err
	}
	w.Mu.Lock()
	defer w.Mu.Unlock()
	if l.lost {
		return w.fenced(d)
	}
	do(l.desk.(*tally))
	if l.leaving && l.desk.idle() {
		signal(w.kick)
	}
	l.nudge()
	w.Nudge()
	return nil
}

// tick puts back what was in hand for too long, and passes on what waits for too long: what a member that hands out
// nothing has read, and what it has read of partitions that it is to give back and cannot yet.
func (w *worker) tick(now time.Time) {
	w.Mu.Lock()
	defer w.Mu.Unlock()
	w.Nudge() // Something may be due.
	var out []passed
	waits := false
	for _, l := range w.leases {
		g := l.desk.(*tally)
		if w.s.Redeliver > 0 {
			g.expire(now, w.s.Redeliver)
		}
		waits = waits || len(g.open) > g.taken
		if (l.leaving || now.Sub(w.moved) >= stall) && !w.passing && len(w.leases) < w.t.parts {
			for _, it := range g.stuck(now.Add(-stall), atOnce-len(out)) {
				out = append(out, passed{l, it})
			}
		}
	}
	if !waits {
		w.moved = now
	}
	if len(out) > 0 && !w.Closed {
		w.passing = true
		var others []int
		for p := range w.t.parts {
			if w.leases[p] == nil {
				others = append(others, p)
			}
		}
		w.Tasks.Go(func() { w.pass(out, others) })
	}
}

// passed is a record that goes to another partition.
type passed struct {
	l  *lease
	it *item
}

// pass stores records in partitions that are others', and takes them off our books.
func (w *worker) pass(out []passed, others []int) {
	ctx, cancel := context.WithTimeout(w.life, w.d.tuning.lease)
	defer cancel()
	var parcels []*parcel
	open := map[int]*parcel{}
	var tooLarge []passed
	for i, x := range out {
		to := others[i%len(others)]
		r := x.it.wrap()
		var one sealed
		if err := one.add(&r, w.t, 0); err != nil || one.size() > w.t.maxBatch {
			tooLarge = append(tooLarge, x)
			continue
		}
		p := open[to]
		if p == nil || p.size()+one.size() > w.t.maxBatch {
			p = &parcel{t: w.t, partition: to}
			open[to] = p
			parcels = append(parcels, p)
		}
		_ = p.add(&r, w.t, 0) // It was added to one.
	}
	err := w.d.store(ctx, parcels)
	if err != nil {
		w.d.scope.Log().Warn("pass work on", "topic", w.t.Name, "group", w.s.Group, "records", len(out), "err", err)
	}
	w.Mu.Lock()
	defer w.Mu.Unlock()
	w.passing = false
	now := time.Now()
	for _, x := range out {
		g := x.l.desk.(*tally)
		switch {
		case slices.Contains(tooLarge, x):
			g.stay(x.it, now, true)
		case err != nil:
			g.stay(x.it, now, false)
		default:
			g.done(x.it.d.Position)
		}
		x.l.nudge()
	}
	w.Nudge()
	signal(w.kick)
}

// Close implements driver.Feed: what was not acknowledged others get at once.
func (w *worker) Close() error {
	if w.close() {
		w.d.forget(w)
	}
	return nil
}
