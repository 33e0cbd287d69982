package nats

import (
	"context"
	"fmt"
	"hash/maphash"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/driver/outlet"
)

// replay reads without a group.
type replay struct {
	feed
	in       intake
	filters  []string
	next     from
	born     int64 // When the stream was made that next is a position of.
	moved    bool  // Next is after a record that came, not where the caller wanted to begin.
	target   int64 // The newest record when the replay began.
	caughtUp bool
	// Where a newer record can replace one before its turn, having reached the target is not enough, unless nothing was
	// stored since it was the newest: each subject that is there must have come once. The server's own count of what is
	// pending is wrong while records are replaced.
	replaces bool
	newest   int64 // The newest record when it was looked last, from target on, looks times.
	looks    int
	seed     maphash.Seed
	came     map[uint64]struct{} // Sums of the subjects, until caught up: that two have the same one does not happen.
	missing  map[string]struct{} // Those that have not come, once the target was reached and records kept coming.
	// Where several records of a key stay, one that came may have had a newer one that went before its turn. What it went
	// for was stored before the target was reached, so it has come when the newest record of that moment has.
	second int64
	buf    outlet.Buffer
}

func newReplay(d *Driver, t *topic, s driver.Subscription) *replay {
	return &replay{feed: newFeed(d, t, s)}
}

func (r *replay) begin(ctx context.Context) error {
	if err := r.prepare(ctx); err != nil {
		return err
	}
	r.in = intake{
		link: r.t.link, log: r.d.scope.Log().With("topic", r.t.Name), more: make(chan struct{}, 1), own: true, take: r.take,
		stream: r.t.stream, open: r.open,
		room: func() int {
			r.Mu.Lock()
			defer r.Mu.Unlock()
			return r.buf.Room()
		},
		idle: r.idle,
	}
	if len(r.filters) > 0 {
		r.Tasks.Go(func() { r.in.run(r.Ctx) })
	}
	return nil
}

// prepare finds out what is there, and where to begin.
func (r *replay) prepare(ctx context.Context) error {
	r.filters = r.t.chosen(r.s.Partitions, r.s.Keys)
	if err := r.aim(ctx); err != nil {
		return err
	}
	if r.s.Start.Position > r.target+1 {
		end, err := r.t.end(ctx)
		if err != nil {
			return err
		}
		if r.s.Start.Position > end+1 { // Of a stream that is gone.
			r.s.Start.Position = 0
		}
	}
	if r.s.Start.Snapshot || r.t.PerKey() > 0 {
		r.replaces, r.seed, r.came = true, maphash.MakeSeed(), map[uint64]struct{}{}
	}
	r.next = from{snapshot: r.s.Start.Snapshot, position: r.s.Start.Position, time: r.s.Start.Time}
	if r.s.Start.End {
		last, err := r.t.end(ctx)
		if err != nil {
			return err
		}
		r.next.position = last + 1
	}
	if r.target == 0 || r.next.position > r.target || len(r.filters) == 0 {
		r.catchUp()
	}
	return nil
}

// chosen are the filters of a replay of some partitions and keys; nil is all.
func (t *topic) chosen(partitions []int, keys []string) []string {
	if partitions == nil && keys == nil {
		return []string{t.before + "*.*"}
	}
	if partitions == nil {
		for p := range t.Partitions {
			partitions = append(partitions, p)
		}
	}
	var all []string
	for _, p := range partitions {
		if keys == nil {
			all = append(all, t.filter(p))
		}
		for _, key := range keys {
			all = append(all, t.subject(p, key))
		}
	}
	return all
}

// aim notes which records are there.
func (r *replay) aim(ctx context.Context) error {
	born, _, err := r.t.birth(ctx)
	if err != nil {
		return err
	}
	r.born = born
	r.target, err = r.last(ctx)
	r.newest, r.looks = r.target, 0
	return err
}

// last is the position of the newest record that is there, 0 when there is none.
func (r *replay) last(ctx context.Context) (newest int64, err error) {
	for _, f := range r.filters {
		last, _, err := r.t.lastOf(ctx, f)
		if err != nil {
			return 0, err
		}
		newest = max(newest, last)
	}
	return newest, nil
}

// open makes the consumer. It begins anew when the stream is another than the one that was read, and at the end of one
// that has lost its newest records.
func (r *replay) open(ctx context.Context) (jetstream.Consumer, error) {
	born, end, err := r.t.birth(ctx)
	if err != nil {
		return nil, err
	}
	if born != r.born {
		r.d.scope.Log().Warn("a stream was made again, it is read from its beginning", "topic", r.t.Name)
		if err := r.aim(ctx); err != nil {
			return nil, err
		}
		r.Mu.Lock()
		r.next = from{snapshot: r.next.snapshot, position: 1}
		r.buf.Put(driver.Delivery{Event: driver.Revoked, Partition: -1})
		if r.came != nil {
			r.came, r.missing, r.second = map[uint64]struct{}{}, nil, 0
		}
		if r.target == 0 {
			r.catchUp()
		}
		r.Mu.Unlock()
		r.Nudge()
	}
	r.Mu.Lock()
	at := r.next
	r.Mu.Unlock()
	if r.moved || r.s.Start.Position == 0 {
		if at, err = r.t.resume(ctx, at, end); err != nil {
			return nil, err
		}
		r.Mu.Lock()
		r.next = at
		r.Mu.Unlock()
	}
	if at.position == 0 && !at.time.IsZero() {
		// Where a time leads to after the newest record is looked up once: it would be behind what is stored meanwhile.
		end, newest, err := r.t.latest(ctx)
		if err != nil {
			return nil, err
		}
		if at.time.After(newest) {
			at = from{position: end + 1}
			r.Mu.Lock()
			r.next = at
			r.Mu.Unlock()
		}
	}
	return r.t.reading(ctx, r.filters, at)
}

// idle has caught up when the newest record that is there has come: what was aimed at may have gone.
func (r *replay) idle(ctx context.Context) error {
	r.Mu.Lock()
	done, next := r.caughtUp, r.next
	r.Mu.Unlock()
	if done {
		return nil
	}
	for _, f := range r.filters {
		last, at, err := r.t.lastOf(ctx, f)
		if err != nil {
			return err
		}
		if last >= max(next.position, 1) && (next.position > 0 || !at.Before(next.time)) {
			return nil // It is on its way.
		}
	}
	r.Mu.Lock()
	defer r.Mu.Unlock()
	r.catchUp()
	return nil
}

// catchUp is called with the mutex held, or before anything runs.
func (r *replay) catchUp() {
	if !r.caughtUp {
		r.caughtUp, r.next.snapshot = true, false
		r.buf.Put(driver.Delivery{Event: driver.CaughtUp, Partition: -1})
		r.Nudge()
	}
}

// take runs in the intake's goroutine, as does open; next, came and missing are theirs alone.
func (r *replay) take(m *nats.Msg, meta *nats.MsgMetadata) error {
	position := int64(meta.Sequence.Stream)
	if position < r.next.position || r.next.position == 0 && meta.Timestamp.Before(r.next.time) {
		return nil // A snapshot had to begin anew, or the consumer is with a server that did not know where to begin.
	}
	before := r.meet(m.Subject)
	all, err := r.complete(position)
	if err != nil {
		return err
	}
	d, err := r.t.delivered(m, meta)
	if err != nil {
		r.d.scope.Log().Error("skip a record that is not Kemi's", "topic", r.t.Name, "position", position, "err", err)
	}
	r.Mu.Lock()
	if position > r.target && !r.replaces {
		r.catchUp()
	}
	// A server of a cluster that has not heard of a removal yet hands over what was removed, and the removal then.
	if err == nil && (!r.next.snapshot || d.Record.Value != nil || position > r.target || before) {
		r.buf.Put(d)
	}
	if all {
		r.catchUp()
	}
	r.next.position, r.next.after, r.moved = position+1, meta.Timestamp.UnixNano(), true
	r.Mu.Unlock()
	r.Nudge()
	return nil
}

// meet notes that a subject came, and says whether it had before.
func (r *replay) meet(subject string) (before bool) {
	if r.came == nil {
		return false
	}
	sum := maphash.String(r.seed, subject)
	_, before = r.came[sum]
	r.came[sum] = struct{}{}
	delete(r.missing, subject)
	return before
}

// complete says whether with the record at a position everything came that was there at the beginning.
func (r *replay) complete(position int64) (bool, error) {
	if !r.replaces {
		return position >= r.target, nil
	}
	r.Mu.Lock()
	caughtUp := r.caughtUp
	r.Mu.Unlock()
	if caughtUp {
		r.came, r.missing = nil, nil
		return true, nil
	}
	if r.missing == nil && position >= r.newest {
		ctx, cancel := context.WithTimeout(r.Ctx, 10*time.Second)
		defer cancel()
		if quiet, err := r.quiet(ctx); quiet || err != nil {
			return quiet, err
		}
		if r.looks < looks && !r.t.replicated {
			return false, nil
		}
		var err error
		r.missing, err = r.t.without(ctx, r.filters, func(subject string) bool {
			_, came := r.came[maphash.String(r.seed, subject)]
			return came
		})
		if err != nil {
			return false, err
		}
		if !r.s.Start.Snapshot && r.t.PerKey() > 1 {
			if r.second, err = r.last(ctx); err != nil {
				return false, err
			}
		}
	}
	return r.missing != nil && len(r.missing) == 0 && position >= r.second, nil
}

// looks is how often the end is looked for before subjects are listed, which takes a server and us a kilobyte for each.
const looks = 5

// quiet says whether nothing was stored since the newest record that came was the newest that was there: then none of those
// before it was replaced before its turn. Of several servers one may not have heard of what was stored.
func (r *replay) quiet(ctx context.Context) (bool, error) {
	if r.t.replicated {
		return false, nil
	}
	last, err := r.last(ctx)
	if err != nil || last <= r.newest {
		return err == nil, err
	}
	r.newest, r.looks = last, r.looks+1
	return false, nil
}

// without lists the subjects that are there now, but for those that came.
func (t *topic) without(ctx context.Context, filters []string, came func(subject string) bool) (map[string]struct{}, error) {
	s, err := t.link.js.Stream(ctx, t.stream)
	if err != nil {
		return nil, fmt.Errorf("look up stream %s: %w", t.stream, err)
	}
	missing := map[string]struct{}{}
	for _, f := range filters {
		info, err := s.Info(ctx, jetstream.WithSubjectFilter(f))
		if err != nil {
			return nil, fmt.Errorf("list subjects of stream %s: %w", t.stream, err)
		}
		for subject := range info.State.Subjects {
			if !came(subject) {
				missing[subject] = struct{}{}
			}
		}
	}
	return missing, nil
}

// Next implements driver.Feed.
func (r *replay) Next(ctx context.Context) ([]driver.Delivery, error) {
	return r.Wait(ctx, func() []driver.Delivery {
		out := r.buf.Take(r.buf.Len())
		if r.in.more != nil && len(out) > 0 {
			r.in.nudge()
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
		r.settled()
		r.d.forget(r)
	}
	return nil
}
