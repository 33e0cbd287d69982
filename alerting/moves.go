package alerting

import (
	"slices"
	"strings"
	"time"

	"kemi.dev/kemi/bus/event"
)

// What fires stays where it is until it is over, whatever the CMDB says meanwhile: who was told of it hears of its end, and
// nobody is called for it twice. A target that is taken out leaves its alerts behind; one that comes later is what the alerts
// that name it are about from then on; one that goes to another domain is a guest in the one where it fired.

// nodeOf is what an alert is about: its target, or, when it names none, what it is called.
func (d *Desk) nodeOf(e *event.Alert) *node {
	target := e.Target
	if target == "" {
		target = noTarget + e.Name
		if e.Team != "" {
			target = noTarget + e.Team + "/" + e.Name // Never across teams.
		}
	}
	return d.graph.node(target)
}

// put puts an alert on what it is about.
func (d *Desk) put(a *held, n *node) {
	a.node = n
	if n.alerts == nil {
		n.alerts = map[string]*held{}
	}
	n.alerts[a.event.ID] = a
	d.graph.fires++
	d.invite(n)
	d.report(a)
}

// rehome puts an alert on the target that it is known to be about by now.
func (d *Desk) rehome(a *held, n *node) {
	old := a.node
	delete(old.alerts, a.event.ID)
	d.put(a, n)
	d.withdraw(old, a.event.Updated)
	d.graph.forget(old)
}

// follow has the incident of an alert that named no target be about the one that is known by now. Where others are in it
// that name none, the alert stays with them, unless it is another team's, or nobody was told yet.
func (d *Desk) follow(a *held, now time.Time) {
	inc := a.inc
	if inc == nil || a.cause != nil || !inc.key.own || inc.key.node == a.node || inc.byHand || inc.key.node.target != nil || !strings.HasPrefix(inc.key.node.id, noTarget) {
		return
	}
	alone := true
	for _, other := range inc.members {
		alone = alone && other.node == a.node
	}
	switch {
	case alone:
		old := inc.key.node
		often := inc.rec.Flapping
		d.refuse(inc)
		inc.detach(d)
		d.rekey(inc, key{a.node, true}, now)
		if inc.fire = (fireKey{a.node.id, a.event.Name}); often != "" {
			d.flaps(inc, often)
		}
		d.graph.forget(old)
	case len(inc.told) == 0, a.node.target != nil && a.node.target.Team != d.teamOf(inc):
		inc.leave(d, a)
	}
}

// explained says whether people are to hear of what an incident turned out to be about, and that is behind what is down.
func (d *Desk) explained(inc *incident, now time.Time) bool {
	if inc.updateAt.IsZero() || !inc.key.own || inc.rec.Reason.Code != ReasonMerged {
		return false
	}
	if inc.first.IsZero() { // Restored: the wait begins anew.
		inc.first = now
		return true
	}
	return d.graph.blame(inc.key.node).root != nil
}

// forsaken says whether an alert is on a target that the CMDB does not know any more, and nobody here ends it: its rule is
// judged elsewhere.
func forsaken(a *held) bool {
	return a.node.target == nil && a.event.Target != "" && strings.HasPrefix(a.event.Rule, event.RulePrefixElsewhere)
}

// stillBehind says whether a forsaken alert was explained by what is down yet, also before a restart.
func (d *Desk) stillBehind(a *held, now time.Time) bool {
	if a.inc != nil {
		return a.cause != nil && a.cause.gone()
	}
	for _, inc := range d.order {
		if named := func(s event.SuppressedAlert) bool { return s.ID == a.event.ID }; !inc.released && !inc.closed && !inc.key.own && slices.ContainsFunc(inc.rec.Examples, named) {
			a.placed = now
			inc.take(d, a, inc.key.node)
			return a.cause.gone()
		}
	}
	return false
}

// invite has a target of another domain known as long as something here is about it.
func (d *Desk) invite(n *node) {
	if n.target != nil || d.everywhere == nil {
		return
	}
	if t := d.everywhere(n.id); t != nil && t.Lifecycle != event.Retired {
		d.SetTarget(t)
		d.guests[n] = time.Time{}
	}
}

// Guest takes in a new or changed target of another domain. It matters when something here is about it: it was of this
// domain when that began.
func (d *Desk) Guest(t *event.Target) {
	n := d.graph.nodes[t.ID]
	switch {
	case n == nil:
	case t.Lifecycle != event.Retired && (n.target != nil || len(n.alerts)+len(n.incidents) > 0) && !n.rests():
		since := d.guests[n] // Nobody waits anew because it changed.
		d.SetTarget(t)
		d.guests[n] = since
	default:
		d.RemoveTarget(t.ID)
	}
}

// rests says whether nothing is wrong with a target, so that it need not be known here when it is of another domain.
func (n *node) rests() bool { return len(n.alerts)+len(n.incidents) == 0 && n.state != down }

// seeOff forgets the guests that nothing is about any more.
func (d *Desk) seeOff() {
	for n := range d.guests {
		if n.rests() {
			d.RemoveTarget(n.id)
		}
	}
}
