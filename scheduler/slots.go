package scheduler

import (
	"math"
	"time"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/scheduler/cron"
)

// A slot is a time at which a check is due, in Unix milliseconds. It is computed from the target and the check alone:
//
//   - an interval check has a slot whenever the time is its phase, modulo the interval; the phase is a hash of target and
//     check, which spreads the work evenly;
//   - after a target became new or changed there is a first slot at once, a hash of up to 3 s later, and the others
//     begin at least half an interval after it;
//   - a cron check has the slots its expression says, and no first slot: who names times means those times.
//
// So two schedulers, or one before and after a restart, mean the same job when they say the same slot.
type entry struct {
	of    *item
	check *event.Check
	cron  *cron.Schedule
	every int64
	phase int64
	// first is the slot that follows a change, 0 when there is none.
	first int64
	// shift moves all but the first slot, so that time that comes a second time has slots of its own.
	shift int64
	// next is the slot that comes next; last is up to where slots were handed out or counted as missed.
	next, last int64
	index      int // in the queue, -1 outside
}

const never = math.MaxInt64

// spreadFirst is within what time the first slots of targets that change together lie: with what it takes to notice the
// change they are polled within 5 s of the file's save.
const spreadFirst = 3000

// hash is FNV-1a over target and check with the finalizer of MurmurHash3, because the low bits of FNV alone follow
// counting names too closely.
func hash(target, check string) uint64 {
	h := uint64(14695981039346656037)
	for _, s := range [2]string{target, check} {
		for i := range len(s) {
			h = (h ^ uint64(s[i])) * 1099511628211
		}
		h = (h ^ 0xff) * 1099511628211
	}
	return mix(h)
}

func mix(h uint64) uint64 {
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// begin is the earliest that a slot after the first can be.
func (e *entry) begin() int64 {
	if e.first == 0 {
		return math.MinInt64 / 2
	}
	return e.first + (e.every+1)/2
}

// floorDiv rounds towards the past also before the phase.
func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// after is the first slot later than t.
func (e *entry) after(t int64) int64 {
	if e.cron != nil {
		next := e.cron.Next(time.UnixMilli(t - e.shift))
		if next.IsZero() {
			return never
		}
		return next.UnixMilli() + e.shift
	}
	if e.first > t {
		return e.first
	}
	phase := e.phase + e.shift
	return phase + (floorDiv(max(t, e.begin()-1)-phase, e.every)+1)*e.every
}

// maxCount bounds how far slots of cron expressions are counted, one by one: a week of every minute.
const maxCount = 10_080

// count is how many slots are later than from and not later than to, and the newest of them.
func (e *entry) count(from, to int64) (n int, newest int64) {
	if e.cron != nil {
		for at := e.after(from); at <= to && n < maxCount; at = e.after(at) {
			n, newest = n+1, at
		}
		return n, newest
	}
	if e.first > from && e.first <= to {
		n, newest = 1, e.first
	}
	phase := e.phase + e.shift
	low, high := floorDiv(max(from, e.begin()-1)-phase, e.every), floorDiv(to-phase, e.every)
	if high > low {
		n, newest = n+int(high-low), phase+high*e.every
	}
	return n, newest
}

// interval is the time from a slot to the one after it.
func (e *entry) interval(slot int64) int64 {
	if e.cron == nil {
		return e.every
	}
	if next := e.after(slot); next != never {
		return next - slot
	}
	return 0
}

// place finds the next slot as seen from now. No slot is given twice: when the clock was put back, slots that were handed
// out already are waited for, if that takes no longer than an interval; else the time that comes a second time gets slots
// of its own, a millisecond beside the old ones.
func (e *entry) place(now int64) {
	if e.last > now && e.last-now > e.interval(e.last) {
		if e.first <= e.last {
			e.first = 0
		}
		e.shift++
		e.last = now
	}
	e.next = e.after(max(now, e.last))
}
