package alerting

import (
	"time"

	"kemi.dev/kemi/bus/event"
)

// decide finds the incident that an alert belongs to.
func (d *Desk) decide(a *held, now time.Time) {
	n := a.node
	d.recall(a, now)
	d.follow(a, now)
	if inc := a.inc; inc != nil && a.cause == nil {
		told, back := len(inc.told) > 0, !inc.key.own && !n.gone()
		if told {
			inc.review(d)
		}
		switch {
		case told && !back:
			d.tie(a)
			_, _, similar := inc.rec.Similar()
			inc.found = inc.found || similar && d.explanation(a) != nil
			return // People were told of it there: there it stays, whatever becomes of that incident.
		case inc.exonerated():
			return
		case told && back && forsaken(a):
			inc.detach(d)
			d.rekey(inc, key{n, true}, now)
			d.tie(a)
			return
		case back && (told || len(inc.rec.Muted) > 0 || d.flapping[inc.fire] == inc) && !d.settled(a, now):
			return // The target that was down is not at the moment, and this may be over with it.
		case told:
			a.spoke = inc.rec.ID // They were told that the target is down. It is not, and this is still there.
		}
	}
	answered := n.answered(a.event.StartsAt)
	b := d.graph.blame(n)
	if !answered && d.stays(a, b.root) {
		d.tie(a)
		return
	}
	// When the cause is back, what it took along comes back one by one: what is still down on the way is no new cause.
	returning := a.cause != nil && !a.cause.gone() && b.root != nil && d.graph.leads(b.root, a.cause)
	if a.inc != nil && a.inc.exonerated() && (b.root == nil || answered || returning) {
		a.inc.review(d)
		return
	}
	if b.root != nil && !answered && (!returning || d.settled(a, now)) {
		d.tie(a)
		d.place(a, key{b.root, false}, b.root, now)
		return
	}
	if forsaken(a) && d.stillBehind(a, now) {
		d.tie(a)
		return // It is held to be what it was.
	}
	if a.inc != nil && a.cause != nil && a.cause.acquitted.Before(a.placed) {
		if !d.settled(a, now) {
			return
		}
		a.spoke = a.inc.rec.ID
	}
	d.tie(a)
	if d.keeps(a) {
		a.spoke = ""
		return
	}
	d.place(a, key{n, answered || !n.gone()}, nil, now)
}

// tie notes that an alert belongs where it is: nothing is waited for any more.
func (d *Desk) tie(a *held) {
	delete(d.loose, a)
	a.loose = time.Time{}
}

// settled says whether a suppressed alert has outlived its cause for long enough.
func (d *Desk) settled(a *held, now time.Time) bool {
	if a.loose.IsZero() {
		a.loose = now
		d.loose[a] = struct{}{}
	}
	return now.Sub(a.loose) >= d.settle(a.node)
}

// settle is how long an alert on n may outlive its cause: until it was polled twice.
func (d *Desk) settle(n *node) time.Duration {
	const most = 15 * time.Minute
	return max(d.policy.Settle, min(2*n.interval(), most))
}

// place puts an alert into the incident of a key.
func (d *Desk) place(a *held, k key, cause *node, now time.Time) {
	if a.inc != nil && a.inc.rec.Kind == event.IncidentSimilar && a.cause == cause {
		return
	}
	if a.inc != nil && a.inc.key == k {
		if a.cause != cause {
			a.inc.take(d, a, cause)
		}
		return
	}
	inc := d.home(a, k, cause, now)
	if was := a.inc; inc == nil && was != nil && was.key.node == k.node && !k.own && len(was.former) > 0 && len(was.told) == 0 {
		was.detach(d)
		d.rekey(was, k, now) // It fires again, and is down as it was.
		return
	}
	if inc == nil {
		inc = d.start(k, a, now)
	}
	if a.inc == inc {
		if a.cause != cause {
			inc.take(d, a, cause)
		}
		return
	}
	if a.inc != nil {
		a.inc.into = inc.rec.ID
		a.inc.leave(d, a)
	}
	a.placed = now
	inc.take(d, a, cause)
}

// home finds the open incident that an alert of a key belongs to; nil when there is none. What an alert was in before comes
// first, then what its target does now, then what it resembles.
func (d *Desk) home(a *held, k key, cause *node, now time.Time) *incident {
	if cause == nil {
		if inc := d.wasIn(a, k, now); inc != nil {
			return inc
		}
	}
	if k.own {
		if f := d.flapping[fireKey{k.node.id, a.event.Name}]; f != nil {
			return f
		}
	}
	inc := d.about(k)
	if inc != nil && inc.byHand && a.event.StartsAt.After(inc.rec.ResolvedAt) {
		delete(d.byKey, k) // It fires anew.
		inc = nil
	}
	if inc == nil && cause == nil && a.node.unrelated() {
		if inc = d.joins(a); inc != nil { // There is nothing to verify.
			inc.join()
		}
	}
	return inc
}
