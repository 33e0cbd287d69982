package scheduler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/canary"
	"kemi.dev/kemi/internal/pause"
)

const (
	// tick is how often the plan is asked what is due.
	tick = 100 * time.Millisecond
	// attempt bounds one call of the bus, well under what counts as a pause.
	attempt = 2 * time.Second
	// longestWait between attempts while the bus does not take jobs: new ones come in all the time.
	longestWait = 500 * time.Millisecond
	// lingers is how long what is being published when the partition goes has to come to its end: less than it is waited for.
	lingers = time.Second
	// noteEvery is how often the progress is saved.
	noteEvery = time.Second
	// progressName is the piece of state it is saved under.
	progressName = "progress"
	// sayAgain is after how long what is wrong with a target is logged once more when it comes again.
	sayAgain = time.Hour
)

// Group is the room's name on the bus. Who owns a partition of the targets in it schedules them.
const Group = "scheduler"

// Run publishes what is due until ctx ends, and then returns nil. Several processes share the targets by partition. An
// error means that the bus can no longer be used.
func (r *Room) Run(ctx context.Context) error {
	return bus.Own(ctx, r.bus, Group, bus.Options{Start: bus.From{Snapshot: true}}, r.open)
}

// partition is the plan of one partition's targets, for one epoch.
type partition struct {
	room *Room
	own  *bus.Ownership
	plan *shared
	last progress
	owed tally // What was missed up to last and is not counted yet.
	left int   // Jobs that were not published in the end.
	// seen is the newest position that the plan began with: what is handed over up to it is older.
	seen int64
	done chan struct{}
}

// open begins with the targets that are there and goes on where the last owner was.
func (r *Room) open(ctx context.Context, own *bus.Ownership) (bus.Handler[event.Target], error) {
	p := &partition{room: r, own: own, owed: tally{}, done: make(chan struct{})}
	var err error
	if p.last, err = r.load(ctx, own); err != nil {
		return nil, fmt.Errorf("load the progress of partition %d: %w", own.Partition, err)
	}
	start := r.now()
	p.plan = &shared{plan: NewPlan(r.zones, start, p.last.Reached), start: start, refused: map[string]bool{}}
	err = bus.Snapshot(ctx, r.bus, func(m bus.Message[event.Target]) error {
		p.seen = max(p.seen, m.Position)
		r.take(p.plan, m)
		return nil
	}, own.Partition)
	if err != nil {
		return nil, fmt.Errorf("load the targets of partition %d: %w", own.Partition, err)
	}
	p.owed.add(p.last.Missed)
	p.owed.add(tally{missedStopped: r.begin(p.plan, p.last)})
	p.last.reach(start)
	go func() {
		defer close(p.done)
		r.loop(ctx, p)
	}()
	return p, nil
}

// Handle implements bus.Handler.
func (p *partition) Handle(_ context.Context, batch []bus.Message[event.Target]) error {
	for _, m := range batch {
		if m.Position > p.seen {
			p.room.take(p.plan, m)
		}
	}
	return nil
}

// Tick implements bus.Handler: the plan has a faster clock of its own.
func (p *partition) Tick(context.Context, time.Time) error { return nil }

// Close implements bus.Closer: the next owner is to know exactly how far this one came, and counts what this one did not.
func (p *partition) Close(ctx context.Context) {
	<-p.done
	_ = p.room.save(ctx, p.own, p.last.with(p.owed, p.left)) // It says so itself.
	p.room.targets.DeleteLabelValues(strconv.Itoa(p.own.Partition))
}

// shared is the plan between the goroutine that follows the targets and the one that looks at the clock.
type shared struct {
	mu      sync.Mutex
	plan    *Plan
	start   time.Time
	live    bool            // what was published before the start has been taken in
	refused map[string]bool // errors that were logged since cleared
	cleared time.Time
}

// take takes in one target.
func (r *Room) take(s *shared, m bus.Message[event.Target]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.Removed() {
		s.plan.Remove(m.Key)
		return
	}
	now := s.start
	if s.live {
		now = r.now()
	}
	err := s.plan.Set(m.Event, now)
	if err == nil {
		return
	}
	reason, about := "check", err.Error()
	if errors.Is(err, ErrZone) {
		reason, about = "zone", m.Event.Zone() // Thousands of targets may be in it: say it once.
	}
	r.refused.WithLabelValues(reason).Inc()
	if now.Sub(s.cleared) >= sayAgain {
		s.cleared = now
		clear(s.refused)
	}
	if !s.refused[about] {
		s.refused[about] = true
		r.scope.Log().Error("target is not scheduled", "err", err)
	}
}

// begin is how much was missed since the last run.
func (r *Room) begin(s *shared, last progress) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live = true
	log := r.scope.Log().With("targets", s.plan.Len())
	if last.Tick.IsZero() || !last.Tick.Before(s.start) {
		log.Info("schedule")
		return 0
	}
	n := s.plan.Missed(last.Tick, s.start)
	log.Info("schedule", "stopped_for", s.start.Sub(last.Tick).Round(time.Millisecond), "missed_while_stopped", n)
	return n
}

// loop asks the plan what is due and has it published, until ctx ends. It never waits for the bus: what is due while that
// is slow waits its turn, and is dropped when it is late.
func (r *Room) loop(ctx context.Context, p *partition) {
	clock := time.NewTicker(tick)
	defer clock.Stop()
	var (
		// One batch is under way at a time; what does not fit in is pending.
		pending, under []*event.Job
		sent           = make(chan []*event.Job, 1) // what is left of the batch
		saves          = make(chan tally, 1)        // what is still owed after a save
		busy           bool
		saving, told   bool // told: the save under way has something to count
		saved          time.Time
		looked         = p.plan.start
		out            = outbox{room: r, own: p.own}
		count          = r.targets.WithLabelValues(strconv.Itoa(p.own.Partition))
		tasks          sync.WaitGroup
	)
	back := func(left []*event.Job) {
		p.owed.add(tally{missedRefused: out.refused})
		busy, under, out.refused = false, nil, 0
		pending = append(left, pending...)
	}
	lingering, leave := pause.Linger(ctx, lingers)
	defer leave()
	defer func() {
		tasks.Wait()
		if busy {
			back(<-sent)
		}
		if saving {
			p.owed.add(<-saves)
		}
		p.left = len(pending)
		p.last.reach(looked)
	}()
	for {
		now := r.now()
		looked = now
		p.plan.mu.Lock()
		jobs, skipped := p.plan.plan.Due(now)
		count.Set(float64(p.plan.plan.Len()))
		p.plan.mu.Unlock()
		p.owed.add(tally{missedPause: skipped})
		var late int
		pending, late = dropLate(append(pending, jobs...), now)
		p.owed.add(tally{missedLate: late})
		if !busy && ctx.Err() == nil && len(pending) > 0 && !out.waits(now) {
			pending, under, busy = nil, pending, true
			batch := slices.Clone(under)
			tasks.Go(func() { sent <- out.send(lingering, batch, now) })
		}
		p.last.reach(now)
		if !saving && (now.Sub(saved) >= noteEvery || now.Before(saved)) {
			saving, saved, told = true, now, len(p.owed) > 0
			last, owed := p.last.with(p.owed, len(pending)+len(under)), p.owed
			p.owed = tally{}
			tasks.Go(func() { saves <- r.settle(ctx, p.own, last, owed) })
		}
		select {
		case <-clock.C:
		case left := <-sent:
			back(left)
		case left := <-saves:
			saving = false
			p.owed.add(left)
			if told && left == nil {
				saved = time.Time{} // At once again, without what is counted now, so that nobody counts it after us.
			}
		case <-ctx.Done():
			return
		}
	}
}

// dropLate takes out the jobs that are no longer worth publishing, and says how many.
func dropLate(jobs []*event.Job, now time.Time) (kept []*event.Job, late int) {
	kept = jobs[:0]
	for _, j := range jobs {
		if now.Sub(j.Slot) <= lateAfter(j.Interval) {
			kept = append(kept, j)
		}
	}
	late = len(jobs) - len(kept)
	clear(jobs[len(kept):])
	return kept, late
}

// outbox publishes jobs and keeps those that the bus did not take.
type outbox struct {
	room  *Room
	own   *bus.Ownership
	wait  time.Duration
	again time.Time
	// refused counts the jobs of the batch that the bus put on dead.v1. It is read when the batch is done.
	refused int
}

// waits says that it is too early for another attempt.
func (o *outbox) waits(now time.Time) bool {
	return now.Before(o.again) && o.again.Sub(now) <= longestWait
}

// send returns the jobs that are left to be published later.
func (o *outbox) send(ctx context.Context, jobs []*event.Job, now time.Time) []*event.Job {
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	err := o.publish(ctx, jobs)
	log := o.room.scope.Log()
	if err == nil {
		o.wait, o.again = 0, time.Time{}
		o.room.publishing.Works(log, o.room.now(), "jobs are published again")
		return nil
	}
	left, sent := jobs, 0
	if len(jobs) > 1 && ctx.Err() == nil {
		left, sent = o.oneByOne(ctx, jobs)
	}
	if o.wait = min(2*o.wait, longestWait); sent > 0 || o.wait == 0 {
		o.wait = tick
	}
	o.again = now.Add(o.wait)
	if ctx.Err() == nil || context.Cause(ctx) == context.DeadlineExceeded {
		o.room.publishing.Failed(log, o.room.now(), "jobs cannot be published, it is tried again", "jobs", len(left), "err", err)
	}
	return left
}

// oneByOne finds out whether the bus is away or one job spoils it for the others, by publishing each by itself until two
// in a row fail. Those that failed come last among what is left.
func (o *outbox) oneByOne(ctx context.Context, jobs []*event.Job) (left []*event.Job, sent int) {
	row := 0
	for i := range jobs {
		if o.publish(ctx, jobs[i:i+1]) == nil {
			row = 0
			sent++
			continue
		}
		left = append(left, jobs[i])
		if row++; row == 2 {
			return append(slices.Clone(jobs[i+1:]), left...), sent
		}
	}
	return left, sent
}

// publish stores the jobs and notes that they are.
func (o *outbox) publish(ctx context.Context, jobs []*event.Job) error {
	events := make([]event.Event, len(jobs))
	for i, j := range jobs {
		events[i] = j
	}
	// Not under the fence, which costs a transaction on some brokers: a job that two owners said is one job, and a late one
	// is not run. Who has lost the partition for certain says nothing.
	if err := o.own.Held(ctx); err != nil {
		return err
	}
	buried, err := o.room.bus.PublishTold(ctx, events...)
	if err != nil { // All are said again, and what is buried is counted then.
		return err
	}
	o.refused += len(buried)
	o.room.jobs.WithLabelValues().Add(float64(len(jobs) - len(buried)))
	delay, stored := o.room.delay.WithLabelValues(), o.room.now()
	slices.Sort(buried)
	for i, j := range jobs {
		if _, is := slices.BinarySearch(buried, i); is {
			continue
		}
		delay.Observe(stored.Sub(j.Slot).Seconds())
		if j.Target == event.CanaryTarget {
			o.room.canary.Mark(canary.StageSchedule, j.Slot)
		}
	}
	return nil
}

// load reads what the last owner left. Progress that cannot be read is as good as none.
func (r *Room) load(ctx context.Context, own *bus.Ownership) (p progress, err error) {
	state, err := own.LoadState(ctx)
	data := state[progressName]
	if err != nil || data == nil {
		return progress{}, err
	}
	if err := json.Unmarshal(data, &p); err != nil {
		r.scope.Log().Warn("read the progress of the last run", "err", err)
		return progress{}, nil
	}
	return p, nil
}

// settle stores the progress and then counts what was missed. What is left is not counted: the progress was not stored, or
// may not have been. Whoever lost the partition counts nothing any more: the next owner does, by what was stored.
func (r *Room) settle(ctx context.Context, own *bus.Ownership, p progress, owed tally) (left tally) {
	switch err := r.save(ctx, own, p); {
	case err == nil:
		r.count(owed)
		return nil
	case errors.Is(err, bus.ErrFenced):
		return nil
	}
	return owed
}

// save stores the progress, and logs that it cannot.
func (r *Room) save(ctx context.Context, own *bus.Ownership, p progress) error {
	data, err := json.Marshal(p)
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, attempt)
		defer cancel()
		err = own.SaveState(ctx, progressName, data)
	}
	log := r.scope.Log()
	switch {
	case err == nil:
		r.saving.Works(log, r.now(), "the progress is saved again")
	case ctx.Err() == nil && !errors.Is(err, bus.ErrFenced):
		r.saving.Failed(log, r.now(), "the progress cannot be saved, it is tried again", "err", err)
	}
	return err
}
