package rule

import (
	"fmt"
	"time"

	"kemi.dev/kemi/bus/event"
)

// check is the newest reading of one check of a target.
type check struct {
	name     string
	slot     time.Time
	interval time.Duration
	up       bool
	status   event.Status
}

// reach is what was last said of a target being reachable.
type reach struct {
	verdict event.Verdict
	since   time.Time
	// said is when it was said last, by the readings' time in Unix milliseconds.
	said int64
	// unsaid: whoever must know may not, it is to be said at the next reading.
	unsaid bool
	// loaded: it is what was saved, which readings that were judged before do not change.
	loaded bool
}

// check notes the reading and returns the number of its check.
func (tg *target) check(r *event.Reading) uint8 {
	i := 0
	for i < len(tg.checks) && tg.checks[i].name != r.Check {
		i++
	}
	if i == len(tg.checks) {
		if i == 255 {
			return 255 // More checks than that share a number.
		}
		tg.checks = append(tg.checks, check{name: r.Check})
	}
	if c := &tg.checks[i]; !r.Slot.Before(c.slot) {
		c.slot, c.up, c.status = r.Slot, r.Status.Up(), r.Status
		if r.Interval > 0 { // A verifying reading has no interval of its own.
			c.interval = r.Interval
		}
	}
	return uint8(i)
}

// waitFor is how long a target is taken to answer at most because a check that is not due yet found it so.
const waitFor = 2 * time.Minute

// sayReachable is how often it is said that a target answers, or still does not, though nothing changed: who comes later
// looks back an hour.
const sayReachable = 30 * time.Minute

// reachable says whether the target answers: on first sight, on change, after a restart, to whoever asked to verify, and
// now and then.
// A target answers if the newest reading of any of its checks was answered. Readings older than three intervals of its
// quickest check do not count: a check once a day must not speak for a target that another has seen go since. Only a
// check that is due within waitFor is waited for, or else a target that answers it alone would come and go with it.
func (d *Desk) reachable(tg *target, r *event.Reading, judge bool) {
	if judge {
		tg.reach.loaded = false
	} else if tg.reach.loaded {
		return
	}
	newest := tg.newestSlot()
	quickest := time.Duration(0)
	for i := range tg.checks {
		// One that has fallen silent, or was taken away, makes the others no slower than they are.
		if c := &tg.checks[i]; c.interval > 0 && newest.Sub(c.slot) <= 3*c.interval && (quickest == 0 || c.interval < quickest) {
			quickest = c.interval
		}
	}
	verdict, text := event.VerdictFiring, ""
	for i := range tg.checks {
		c := &tg.checks[i]
		counts := 3 * quickest
		if due := c.interval + quickest; c.interval <= waitFor && due > counts {
			counts = due
		}
		if quickest > 0 && newest.Sub(c.slot) > counts {
			continue
		}
		if c.up {
			verdict = event.VerdictOK
			text = fmt.Sprintf("its check %s answers", c.name)
		} else if verdict == event.VerdictFiring {
			text = fmt.Sprintf("its check %s found %s", c.name, c.status)
		}
	}
	d.settleIn(tg, domainOf(r.Labels), tg.reach.verdict != event.VerdictFiring)
	changed := verdict != tg.reach.verdict
	if changed {
		tg.reach = reach{verdict: verdict, since: r.Slot}
		d.dirty[tg.bucket] = true
	}
	if !judge {
		return // Who judged it has said so.
	}
	again := tg.at-tg.reach.said >= sayReachable.Milliseconds()
	if !changed && !tg.reach.unsaid && !again && r.Cause != event.CauseVerify {
		return
	}
	tg.reach.unsaid, tg.reach.said = false, tg.at
	code := "reachable"
	if verdict == event.VerdictFiring {
		code = "unreachable"
	}
	d.out = append(d.out, &event.Finding{
		Rule: event.RuleReachable, Verdict: verdict, Target: tg.id, Team: r.Labels.Get("team"), Domain: tg.home,
		Labels: r.Labels, Value: map[event.Verdict]float64{event.VerdictOK: 1}[verdict], Since: tg.reach.since,
		At: time.UnixMilli(tg.at).UTC(), Reading: r.JobID, AskedBy: r.AskedBy,
		Reason: event.Reason{Code: code, Text: text, Causes: []string{r.JobID}},
	})
}

func (tg *target) newestSlot() time.Time {
	newest := time.Time{}
	for i := range tg.checks {
		if tg.checks[i].slot.After(newest) {
			newest = tg.checks[i].slot
		}
	}
	return newest
}
