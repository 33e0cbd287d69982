package alerting

import (
	"time"

	"kemi.dev/kemi/bus/event"
)

// After a restart only the records say what was told of causes that nobody polls.

// restoreCleared takes in that an incident's record says that what was told as its cause is none.
func (d *Desk) restoreCleared(inc *incident) {
	r := &inc.rec
	if r.Cleared != "" && len(inc.told) > 0 && !inc.closed && !inc.byHand {
		inc.clear(d.graph.node(r.Cleared))
		inc.clearedBy = r.Updated
		d.keep(inc)
	}
}

// keep has the alerts of an incident find it again that its record does not list as its own.
func (d *Desk) keep(inc *incident) {
	inc.unlisted = inc.listedNot()
	d.leftovers = append(d.leftovers, inc)
}

// listedNot is how many of its alerts a record does not list as its own.
func (inc *incident) listedNot() int {
	n := inc.rec.Firing
	for _, a := range inc.rec.Alerts {
		if a.State == event.AlertFiring {
			n--
		}
	}
	return n
}

// doubtsAnew says whether the cause of a restored incident, of which only alerts tell, is none by now: they ended while
// nobody was there, or just before.
func (d *Desk) doubtsAnew(inc *incident) bool {
	n := inc.key.node
	switch {
	case inc.cleared == n:
		return true
	case inc.rec.Suspected:
		left := inc.rec.Firing
		for _, e := range inc.rec.Examples {
			if d.alerts[e.ID] != nil {
				continue
			}
			if left--; d.unreachable.MatchString(e.Name) {
				n.recovered = inc.rec.Updated // What failed before speaks no more against it.
			}
		}
		return left <= 0 || inc.closed
	case len(inc.told) == 0, n.pollable():
		return false
	}
	d.exonerate(n, " is up again: its own alert is over")
	d.keep(inc)
	return true
}

// recall finds the incident of before a restart that an alert was in.
func (d *Desk) recall(a *held, now time.Time) {
	if a.inc != nil {
		return
	}
	for _, inc := range d.leftovers {
		if d.incidents[inc.rec.ID] != inc || inc.unlisted <= 0 || inc.byHand || a.event.StartsAt.After(inc.asOf) {
			continue
		}
		found := inc.cleared != nil && d.graph.leads(a.node, inc.cleared)
		if found {
			inc.take(d, a, inc.causeOf(a))
		}
		if found || inc.cleared == nil && d.recallBehind(inc, a, now) {
			inc.unlisted--
			return
		}
	}
}
