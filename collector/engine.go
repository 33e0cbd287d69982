package collector

import (
	"fmt"
	"slices"
	"time"

	"kemi.dev/kemi/bus/event"
)

// engine is the collector's desk: it decides which job is polled when. It is pure: the time comes in, tickets come out.
// It is not safe for concurrent use.
//
// Every job is a ticket. A ticket starts when its target has no other poll under way and its lane has room. There are
// two lanes, so that targets which are dead or slow keep nobody else waiting. Who was slow the last time starts in the
// slow lane; who turns out to be slow is moved there and leaves its place to others.
//
// A job may come again while it is in hand: the bus does not know how long a poll takes. Such a ticket follows the first
// one of the job and has its outcome; it is never late or crowded by itself, which would be said in place of what the
// first finds out. Only when the first is not published it takes over.
type engine struct {
	limits  limits
	targets map[string]*target
	lanes   [2]lane
	swept   time.Time
	// young are the tickets that run in the fast lane, oldest first, and some that do not run any more.
	young []*ticket
}

// The lanes.
const (
	fast = iota
	slow
)

// limits bound what goes on at once.
type limits struct {
	fast    int // polls in the fast lane
	slow    int // polls that start in the slow lane; those that are moved there come on top
	waiting int // tickets of slow targets that wait for a place or for their turn
}

type lane struct {
	running int
	queue   queue
	waiting int // in the queue, or for their turn
}

// ticket is a job in the collector.
type ticket struct {
	target, check string
	slot          int64 // Unix milliseconds
	id            string
	// real tickets were asked for by somebody who waits: they go first, in the fast lane, and are never made cheap.
	real     bool
	deadline time.Time

	lane    int
	probing bool
	verdict verdict
	begun   time.Time
	over    bool
	// first is the ticket of the same job that this one follows, followers are those that follow it.
	first     *ticket
	followers []*ticket
	woken     chan struct{} // the door's: closed when the verdict of a ticket that waited has fallen
}

// verdict says what is to be done with a ticket.
type verdict int

const (
	wait verdict = iota
	start
	// late: it is past its deadline.
	late
	// repeated: it has had its outcome already.
	repeated
	// crowded: too many jobs of slow targets wait already.
	crowded
)

const (
	// perTarget is how many tickets of one target may wait for their turn.
	perTarget = 16
	// forgetAfter is how long a target without jobs is remembered.
	forgetAfter = 2 * time.Hour
)

// newEngine makes an engine with so many places in the fast lane. A poll that waits for an answer costs little but its
// place, so the slow lane has more of them: when half of everything is dead, each of it is still asked.
func newEngine(polls int) *engine {
	return &engine{
		limits:  limits{fast: polls, slow: 2 * polls, waiting: max(perTarget, polls)},
		targets: map[string]*target{},
	}
}

// arrive decides about a ticket that is new. One that it does not call repeated is in hand until finish or settle.
func (e *engine) arrive(t *ticket, now time.Time) verdict {
	tg := e.targets[t.target]
	if tg == nil {
		tg = &target{}
		e.targets[t.target] = tg
	}
	tg.used = now
	if tg.has(t) {
		return repeated
	}
	t.verdict = wait
	if first := tg.inHand(t); first != nil {
		t.first, first.followers = first, append(first.followers, t)
		return wait
	}
	tg.open = append(tg.open, t)
	if v := tg.judge(t, now); v != start {
		return v
	}
	t.lane = tg.lane(t)
	l := &e.lanes[t.lane]
	switch {
	case t.lane == slow && l.waiting >= e.limits.waiting, tg.busy && len(tg.queue) >= perTarget:
		return crowded
	case tg.busy:
		l.waiting++
		if t.real {
			tg.queue = append([]*ticket{t}, tg.queue...)
		} else {
			tg.queue = append(tg.queue, t)
		}
		return wait
	case !e.room(t.lane):
		tg.busy = true // Its turn among the target's tickets has come.
		l.waiting++
		l.queue.push(t)
		return wait
	}
	tg.busy = true
	e.begin(t, tg, now)
	return start
}

// room reports whether a lane has a place.
func (e *engine) room(lane int) bool {
	if lane == fast {
		return e.lanes[fast].running < e.limits.fast
	}
	return e.lanes[slow].running < e.limits.slow
}

func (e *engine) begin(t *ticket, tg *target, now time.Time) {
	e.lanes[t.lane].running++
	t.probing = tg.dead() && !t.real
	t.verdict, t.begun = start, now
	if t.lane == fast {
		e.young = append(e.young, t)
	}
}

// tick moves polls that take long into the slow lane. It returns tickets that start in their place.
func (e *engine) tick(now time.Time) []*ticket {
	for len(e.young) > 0 && (e.young[0].over || now.Sub(e.young[0].begun) >= slowFrom) {
		if t := e.young[0]; !t.over {
			t.lane = slow
			e.lanes[fast].running--
			e.lanes[slow].running++
		}
		e.young = e.young[1:]
	}
	if len(e.young) == 0 {
		e.young = nil
	}
	return e.advance(nil, now)
}

// finish takes back a ticket that was started. published says that its outcome is on the bus; heard that the target was
// asked, in which case status and took tell how it went. It returns tickets whose verdict has fallen by that.
func (e *engine) finish(t *ticket, published, heard bool, status event.Status, took time.Duration, now time.Time) []*ticket {
	tg := e.targets[t.target]
	tg.used = now
	e.lanes[t.lane].running--
	t.over = true
	if heard {
		tg.learn(status, took, now)
	}
	return e.advance(e.release(tg, now, e.close(tg, t, published)), now)
}

// settle takes back a ticket that was not started. published says that its outcome is on the bus. It returns tickets
// whose verdict has fallen by that.
func (e *engine) settle(t *ticket, published bool, now time.Time) (woken []*ticket) {
	tg := e.targets[t.target]
	if tg == nil {
		return nil
	}
	woken = e.close(tg, t, published)
	if !tg.busy {
		woken = e.release(tg, now, woken)
	}
	return e.advance(woken, now)
}

// close ends the hold of a ticket on its job. Those that follow it have its outcome, or the first of them is next.
func (e *engine) close(tg *target, t *ticket, published bool) (woken []*ticket) {
	at := slices.Index(tg.open, t)
	if at < 0 {
		return nil // It was repeated, or only followed another.
	}
	tg.open = slices.Delete(tg.open, at, at+1)
	followers := t.followers
	t.followers = nil
	if published {
		tg.mark(t)
		for _, f := range followers {
			f.first, f.verdict = nil, repeated
		}
		return followers
	}
	if len(followers) == 0 {
		return nil
	}
	heir := followers[0]
	heir.first, heir.followers, heir.lane = nil, followers[1:], tg.lane(heir)
	for _, f := range heir.followers {
		f.first = heir
	}
	tg.open = append(tg.open, heir)
	tg.queue = append([]*ticket{heir}, tg.queue...)
	e.lanes[heir.lane].waiting++
	return nil
}

// leave takes out a ticket that does not wait any longer. It returns false when its verdict has fallen already.
func (e *engine) leave(t *ticket, now time.Time) (left bool, woken []*ticket) {
	if t.verdict != wait {
		return false, nil
	}
	t.verdict = late
	if first := t.first; first != nil {
		at := slices.Index(first.followers, t)
		t.first, first.followers = nil, slices.Delete(first.followers, at, at+1)
		return true, nil
	}
	tg, l := e.targets[t.target], &e.lanes[t.lane]
	l.waiting--
	if at := slices.Index(tg.queue, t); at >= 0 {
		tg.queue = slices.Delete(tg.queue, at, at+1)
		return true, nil
	}
	l.queue.leave()
	return true, e.advance(e.release(tg, now, nil), now)
}

// release ends a target's turn and gives it to the next of its tickets.
func (e *engine) release(tg *target, now time.Time, woken []*ticket) []*ticket {
	tg.busy = false
	for len(tg.queue) > 0 && !tg.busy {
		t := tg.queue[0]
		tg.queue = tg.queue[1:]
		v := tg.judge(t, now)
		if v != start {
			e.lanes[t.lane].waiting--
			t.verdict = v
			woken = append(woken, t)
			continue
		}
		tg.busy = true
		e.lanes[t.lane].queue.push(t)
	}
	if len(tg.queue) == 0 {
		tg.queue = nil
	}
	return woken
}

// advance starts what there is room for.
func (e *engine) advance(woken []*ticket, now time.Time) []*ticket {
	for {
		lane := fast
		if e.lanes[fast].queue.len() == 0 || !e.room(fast) {
			lane = slow
		}
		l := &e.lanes[lane]
		if l.queue.len() == 0 || !e.room(lane) {
			return woken
		}
		t := l.queue.pop()
		l.waiting--
		tg := e.targets[t.target]
		if v := tg.judge(t, now); v != start {
			t.verdict = v
			woken = e.release(tg, now, append(woken, t)) // Its next ticket may be in the other lane.
			continue
		}
		e.begin(t, tg, now)
		woken = append(woken, t)
	}
}

// sweep forgets targets that have no jobs any more.
func (e *engine) sweep(now time.Time) {
	if now.Sub(e.swept) < forgetAfter/4 {
		return
	}
	e.swept = now
	for id, tg := range e.targets {
		if !tg.busy && len(tg.open) == 0 && now.Sub(tg.used) > forgetAfter {
			delete(e.targets, id)
		}
	}
}

// backingOff says since when a dead target has not answered, with the poll that just failed; "" when it is not dead.
func (e *engine) backingOff(id string) string {
	tg := e.targets[id]
	if tg == nil || !tg.dead() {
		return ""
	}
	return fmt.Sprintf("backing off since %s, %d failures", tg.since.UTC().Format(time.RFC3339), tg.failures+1)
}
