package scheduler

import (
	"sync"
	"time"
)

// progress is what one owner of a partition leaves for the next. Up to Tick every slot was published, counted as missed or is
// among Missed. Reached is the latest time that any of them has seen; it is later than Tick when the clock was put back.
type progress struct {
	Tick    time.Time `json:"tick"`
	Reached time.Time `json:"reached"`
	// Missed is what had no job when this was written and was not counted. The owner counts it when he hears that it is
	// stored; if he is no more by then, or did not hear it, whoever owns the partition next does.
	Missed tally `json:"missed,omitempty"`
}

// reach notes that every slot up to now was handed out or missed.
func (p *progress) reach(now time.Time) {
	p.Tick = now
	if now.After(p.Reached) {
		p.Reached = now
	}
}

// with is the progress as it is stored: with what was missed, and as stopped the jobs that wait, if nobody publishes them.
func (p progress) with(owed tally, waiting int) progress {
	p.Missed = tally{}
	p.Missed.add(owed)
	p.Missed.add(tally{missedStopped: waiting})
	return p
}

// tally is how many slots were missed, by reason, and are not counted yet. They are with the first progress that says so
// and is stored under the partition's fence: so who counts is who owned the partition, and whoever owns it next, also
// after a broker was away, begins where that ends and counts the rest.
type tally map[string]int

// add takes up what another tally has.
func (t tally) add(more tally) {
	for reason, n := range more {
		if n != 0 {
			t[reason] += n
		}
	}
}

// missedSaid is what is logged for each reason.
var missedSaid = map[string]string{
	missedPause: "skip what was due while nobody looked at the clock",
	missedLate:  "drop jobs that are late",
	// Nothing is polled for them until somebody raises the limit.
	missedRefused: "jobs are on dead.v1, the topic does not take them: see the reason there, and raise the topic's limit of a record",
}

// count makes known what was missed: in the log at most once a minute for each reason, with what came meanwhile.
func (r *Room) count(t tally) {
	for reason, n := range t {
		r.missed.WithLabelValues(reason).Add(float64(n))
		if said := missedSaid[reason]; said != "" && n > 0 {
			if slots := r.unsaid.more(reason, n, r.now()); slots > 0 {
				r.scope.Log().Warn(said, "slots", slots)
			}
		}
	}
}

// unsaid is what was missed and not logged yet.
type unsaid struct {
	mu    sync.Mutex
	slots tally
	said  map[string]time.Time
}

// more adds slots, and returns how many are to be logged now.
func (u *unsaid) more(reason string, n int, now time.Time) (slots int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.slots == nil {
		u.slots, u.said = tally{}, map[string]time.Time{}
	}
	u.slots[reason] += n
	if ago := now.Sub(u.said[reason]); ago >= 0 && ago < time.Minute {
		return 0
	}
	slots, u.slots[reason], u.said[reason] = u.slots[reason], 0, now
	return slots
}
