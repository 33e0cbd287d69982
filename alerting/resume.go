package alerting

import (
	"cmp"
	"time"

	"kemi.dev/kemi/bus/event"
)

// resume goes on with restored incidents: somebody is told of what was to be told while nobody was there to do it. What is
// behind one that flaps, of which people were told, may have gone there: suspicions are judged first, and that was only not
// stored.
func (d *Desk) resume(now time.Time) {
	var behind []*incident
	for _, inc := range d.restored {
		if inc.closed { // What fires again comes after its end.
			d.end(inc, ReasonOver, now)
			continue
		}
		if other := cmp.Or(d.wentInto(inc), d.wouldGo(inc, now)); other != nil {
			d.merge(inc, other, now)
			continue
		}
		inc.pageAt = inc.pageAt.Add(d.groupWait(inc, now) - d.policy.GroupWait)
		// It is told now, even if it should be over meanwhile. Of what fired again and is over they were told that already, and
		// what flaps comes again.
		over := len(inc.members) == 0 && (len(inc.former) > 0 || d.flapping[inc.fire] == inc)
		switch {
		case !d.untold(inc):
		case len(inc.former) == 0 && d.flapsAbove(inc) != nil:
			behind = append(behind, inc)
		case !over:
			d.tellWhenDue(inc, now)
		}
	}
	d.restored = nil
	d.unclaim()
	if len(behind) == 0 {
		return
	}
	d.judgeAll(now)
	d.suspect(now)
	for _, inc := range behind {
		if other := d.flapsAbove(inc); d.untold(inc) && other != nil && !other.key.node.gone() && !now.Before(inc.pageAt) {
			d.merge(inc, other, now)
		}
	}
}

// untold says whether an incident is open and nobody was told of it.
func (d *Desk) untold(inc *incident) bool {
	return d.incidents[inc.rec.ID] == inc && !inc.closed && len(inc.told) == 0 && inc.rec.State == event.IncidentOpen
}

// flapsAbove finds the incident above one, which people were told of and which flaps: what is behind it is
// told by it until it is calm.
func (d *Desk) flapsAbove(inc *incident) (found *incident) {
	for _, f := range d.flapping {
		if f != inc && !f.key.own && !inc.key.node.group && len(f.told) > 0 && !f.byHand && f.key.node.target != nil && (found == nil || f.rec.ID < found.rec.ID) && d.graph.leads(inc.key.node, f.key.node) {
			found = f
		}
	}
	return found
}
