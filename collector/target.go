package collector

import (
	"time"

	"kemi.dev/kemi/bus/event"
)

// target is what the engine knows of a target.
type target struct {
	busy  bool
	queue []*ticket
	open  []*ticket // the first ticket of each job in hand: it waits, is polled, or its outcome is being published
	done  []doneCheck
	asked [8]string // identities of the newest tickets that were not scheduled
	at    int       // where the next goes

	failures int // polls in a row without any answer
	since    time.Time
	sluggish bool // the newest poll took long
	used     time.Time
}

// doneCheck remembers the newest slots of a check that have had their outcome.
type doneCheck struct {
	check string
	slots []int64 // a ring
	next  int
}

const (
	// rememberSlots is how many slots of a check are remembered: redelivered jobs are a few slots old at most.
	rememberSlots = 16
	// breakAfter is how many polls in a row without an answer make a target dead.
	breakAfter = 3
	// slowFrom is how long a poll takes that makes its target slow.
	slowFrom = time.Second
)

// judge decides what needs no place: start means that the ticket is to be polled.
func (tg *target) judge(t *ticket, now time.Time) verdict {
	switch {
	case tg.has(t):
		return repeated
	case !now.Before(t.deadline):
		return late
	}
	return start
}

func (tg *target) dead() bool { return tg.failures >= breakAfter }

func (tg *target) slow() bool { return tg.failures > 0 || tg.sluggish }

// lane is where a ticket of the target starts.
func (tg *target) lane(t *ticket) int {
	if tg.slow() && !t.real {
		return slow
	}
	return fast
}

// learn takes how a poll went. A refused connection costs nothing, so it makes nobody dead.
func (tg *target) learn(status event.Status, took time.Duration, now time.Time) {
	tg.sluggish = took >= slowFrom
	if status != event.StatusTimeout && status != event.StatusUnreachable {
		tg.failures = 0
		return
	}
	if tg.failures == 0 {
		tg.since = now
	}
	tg.failures++
}

// inHand finds the ticket of the same job whose outcome is still to come.
func (tg *target) inHand(t *ticket) *ticket {
	for _, o := range tg.open {
		if o.id == t.id && (t.id != "" || o.check == t.check && o.slot == t.slot) {
			return o
		}
	}
	return nil
}

// has reports whether the ticket has had its outcome.
func (tg *target) has(t *ticket) bool {
	if t.id != "" {
		for _, id := range tg.asked {
			if id == t.id {
				return true
			}
		}
		return false
	}
	for i := range tg.done {
		if d := &tg.done[i]; d.check == t.check {
			for _, s := range d.slots {
				if s == t.slot {
					return true
				}
			}
		}
	}
	return false
}

func (tg *target) mark(t *ticket) {
	if t.id != "" {
		tg.asked[tg.at] = t.id
		tg.at = (tg.at + 1) % len(tg.asked)
		return
	}
	for i := range tg.done {
		if d := &tg.done[i]; d.check == t.check {
			if len(d.slots) < rememberSlots {
				d.slots = append(d.slots, t.slot)
				return
			}
			d.slots[d.next] = t.slot
			d.next = (d.next + 1) % rememberSlots
			return
		}
	}
	tg.done = append(tg.done, doneCheck{check: t.check, slots: []int64{t.slot}})
}
