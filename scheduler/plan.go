package scheduler

import (
	"fmt"
	"slices"
	"time"

	"kemi.dev/kemi/bus/event"
)

// heldUp is the gap between two looks at the clock, in milliseconds, from which on the scheduler counts as having been
// away: the process was stopped, the machine slept or the clock was put forward. What was due meanwhile is not caught up.
const heldUp = 5000

// lateFirst is how old, in milliseconds, the first slot of a changed target may be when the plan hears of the change.
const lateFirst = 10_000

// step is how far the clock may be put back, in milliseconds, without more ado: nothing is due until it is where it was.
const step = 1000

// Plan is the scheduler's desk: it knows when each check of each target is due next. It is not safe for concurrent use.
type Plan struct {
	zones   []string
	targets map[string]*item
	queue   queue
	pool    pool
	start   int64
	floor   int64 // when the clock was put back between two runs: up to here slots were the other run's
	now     int64 // of the last Due
	ready   []*event.Job
	skipped int
}

// NewPlan makes an empty plan of a run that starts now. No slot up to start is handed out: those were an earlier run's,
// or nobody's; see Missed. reached is the latest time that earlier runs have seen, the zero time when that is not known;
// it matters when the clock was put back since.
func NewPlan(zones []string, start, reached time.Time) *Plan {
	p := &Plan{zones: zones, targets: map[string]*item{}, start: start.UnixMilli(), now: start.UnixMilli()}
	if reached.After(start) {
		p.floor = reached.UnixMilli()
	}
	return p
}

// Len is the number of targets with something to do.
func (p *Plan) Len() int { return len(p.targets) }

// Set takes in a target or its new version; for what was published before the run, now is the start. An error says what of it cannot be scheduled; the rest is.
func (p *Plan) Set(t *event.Target, now time.Time) error {
	old := p.targets[t.ID]
	if old != nil && old.version == t.Version {
		return nil
	}
	if !slices.Contains(p.zones, t.Zone()) {
		p.Remove(t.ID)
		return fmt.Errorf("schedule %s: %w %q", t.ID, ErrZone, t.Zone())
	}
	p.pool.tidy(len(p.targets))
	it, err := p.pool.itemOf(t)
	if err != nil {
		err = fmt.Errorf("schedule %s: %w", t.ID, err)
	}
	at := now.UnixMilli()
	if old != nil {
		for i := range old.entries {
			p.settle(&old.entries[i], at)
		}
	}
	p.Remove(t.ID)
	if t.Lifecycle == event.Retired || len(it.entries) == 0 {
		return err
	}
	p.targets[t.ID] = it
	for i := range it.entries {
		e := &it.entries[i]
		var done int64
		if old != nil {
			if k := slices.IndexFunc(old.entries, func(o entry) bool { return o.check.Name == e.check.Name }); k >= 0 {
				done, e.shift = old.entries[k].last, old.entries[k].shift
			}
		}
		e.last = max(done, p.floor)
		if e.first > at+heldUp {
			e.first = 0 // The clock of whoever changed the target is far ahead of ours: do not wait for it.
		}
		switch {
		case e.first > p.start && e.first > done && e.first > at-lateFirst:
			e.next = e.first
		case e.first > p.start && e.first > done: // We hear of it too late.
			n, newest := e.count(e.first-1, at)
			p.skipped += n
			e.last = max(e.last, newest)
			fallthrough
		default:
			e.place(at)
		}
		p.queue.push(e)
	}
	return err
}

// settle keeps what an entry that is about to be replaced still owes.
func (p *Plan) settle(e *entry, now int64) {
	if e.next > now {
		return
	}
	if n, newest := e.count(e.next-1, now); n > 0 {
		p.skipped += n - 1
		p.ready = append(p.ready, e.job(newest))
		e.last = newest
	}
}

// Remove forgets a target.
func (p *Plan) Remove(id string) {
	it := p.targets[id]
	if it == nil {
		return
	}
	for i := range it.entries {
		p.queue.remove(&it.entries[i])
	}
	delete(p.targets, id)
}

// Due hands out the jobs whose slot has come, at most one of each check, and counts the slots that are skipped because
// nobody looked at the clock when they were due.
func (p *Plan) Due(now time.Time) (jobs []*event.Job, skipped int) {
	t := now.UnixMilli()
	jobs, skipped = p.ready, p.skipped
	p.ready, p.skipped = nil, 0
	if t < p.now-step {
		p.rewind(t)
	}
	away := t-p.now > heldUp
	for len(p.queue) > 0 && p.queue[0].next <= t {
		e := p.queue[0]
		n, newest := e.count(e.next-1, t)
		switch {
		case away || n == 0:
			skipped += n
		default:
			skipped += n - 1
			jobs = append(jobs, e.job(newest))
		}
		e.last = max(e.last, newest)
		e.place(t)
		p.queue.down(0)
	}
	p.now = max(p.now, t)
	return jobs, skipped
}

// rewind plans anew when the clock was put back.
func (p *Plan) rewind(t int64) {
	p.now = t
	for _, e := range p.queue {
		e.place(t)
	}
	for i := len(p.queue)/2 - 1; i >= 0; i-- {
		p.queue.down(i)
	}
}

// Missed counts the slots later than since and not later than until.
func (p *Plan) Missed(since, until time.Time) int {
	total := 0
	for _, e := range p.queue {
		n, _ := e.count(since.UnixMilli(), until.UnixMilli())
		total += n
	}
	return total
}

// Next is when something is due next; the zero time when nothing ever is.
func (p *Plan) Next() time.Time {
	if len(p.queue) == 0 || p.queue[0].next == never {
		return time.Time{}
	}
	return time.UnixMilli(p.queue[0].next)
}
