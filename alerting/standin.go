package alerting

import (
	"maps"
	"slices"
	"strings"
	"time"

	"kemi.dev/kemi/bus/event"
)

// A cause that is known only by what fires behind it (suspected, or found to be down) has no alert of its own. So that it can
// be gathered with its like, something stands in for that alert: it is among its incident's own as long as the target is not
// there, and is no member, as it is no alert. What it explains goes into the incident with it.

// standsIn begins the ID of what stands in for an alert: that of no alert, which is a hash.
const standsIn = "root/"

// maxRoots is how many bytes the names of the targets may have that a record lists as its roots.
const maxRoots = 8 << 10

// single is what an incident about nothing but one target is told by: its first alert, or what stands in for it; nil of
// any other.
func (d *Desk) single(inc *incident) *held {
	if inc.rec.Kind == event.IncidentSimilar {
		return nil
	}
	n := inc.key.node
	if a := inc.firstOwn(); a != nil && (inc.key.own || !n.suspected) || inc.key.own || !n.gone() {
		return a
	}
	severity := ""
	for _, a := range inc.members {
		severity = worse(severity, a.event.Severity)
	}
	if severity == "" {
		severity = inc.rec.Severity
	}
	return newStandIn(n, event.Alert{Domain: inc.rec.Domain, Team: d.ownerOf(inc), Severity: severity, StartsAt: n.since})
}

func newStandIn(n *node, e event.Alert) *held {
	e.ID, e.Target, e.State, e.Updated = standsIn+n.id, n.id, event.AlertFiring, e.StartsAt
	a := &held{event: &e, node: n}
	a.relabel()
	return a
}

// relabel gives what stands in the labels by which its target would be told.
func (a *held) relabel() {
	if t := a.node.target; t != nil {
		a.event.Labels = append(t.EffectiveLabels(), event.Label{Name: "severity", Value: a.event.Severity})
	}
}

// standsIn says whether this is no alert but stands in for one.
func (a *held) standsIn() bool { return strings.HasPrefix(a.event.ID, standsIn) }

// absorb has an incident of which nobody was told go into one of similar alerts; a is what it is told by.
func (d *Desk) absorb(inc *incident, a *held, group *incident, now time.Time) {
	if a.standsIn() {
		group.stand(d, a)
	}
	group.join()
	d.merge(inc, group, now)
}

// stand has an incident be about a target, too, that has no alert of its own.
func (inc *incident) stand(d *Desk, a *held) {
	if old := a.node.standIn; old != nil {
		d.unstand(old)
	}
	a.node.standIn, a.inc = a, inc
	a.blame(nil)
	inc.standing++
	inc.counted, d.moved = 0, true
	inc.touch(d)
}

// explain has an incident of similar alerts blame a target that is in it, too, for one of its own.
func (d *Desk) explain(inc *incident, a *held, root *node) {
	if a.standsIn() {
		d.unstand(a)
	} else {
		inc.take(d, a, root)
	}
}

// unstand ends that; what the target explained is judged anew.
func (d *Desk) unstand(s *held) {
	inc := s.inc
	inc.disown(s)
	inc.standing--
	inc.restless, inc.counted, d.moved = true, 0, true
	s.inc, s.node.standIn = nil, nil
	for _, a := range inc.members {
		if a.cause == s.node {
			d.judge(a)
		}
	}
	inc.touch(d)
	d.graph.forget(s.node)
}

// standIns are what stands in an incident for alerts, in the order of their beginning.
func (inc *incident) standIns() []*held {
	if inc.standing == 0 {
		return nil
	}
	all := slices.Collect(maps.Values(inc.own))
	all = slices.DeleteFunc(all, func(a *held) bool { return !a.standsIn() })
	slices.SortFunc(all, func(a, b *held) int { return sooner(a.event.StartsAt, b.event.StartsAt, a.event.ID, b.event.ID) })
	return all
}

// toldIn is the incident that a target is in without an alert of its own; nil is none. One that found its cause lets it go when
// that is back.
func (n *node) toldIn() *incident {
	if n.standIn == nil || n.standIn.inc.rec.Kind != event.IncidentSimilar && !n.standIn.inc.key.node.gone() {
		return nil
	}
	return n.standIn.inc
}

// standsFor is what stands in an alert's incident for the alert of its cause; nil is nothing.
func (a *held) standsFor() *held {
	if a.inc == nil || a.cause == nil || a.cause.standIn == nil || a.cause.standIn.inc != a.inc {
		return nil
	}
	return a.cause.standIn
}

// stands says whether an incident is about a target that is not there and has no alert of its own; those that are back and
// explain nothing any more are let go.
func (d *Desk) stands(inc *incident, now time.Time) (is bool) {
	if inc.standing == 0 {
		return false
	}
	explain := map[*node]bool{}
	for _, a := range inc.members {
		explain[a.cause] = true
	}
	for _, s := range inc.standIns() {
		if s.node.gone() {
			is, s.loose = true, time.Time{}
			continue
		}
		if s.loose.IsZero() {
			s.loose = now
			inc.forgo(s.event.ID, now, d.policy.ReopenWithin)
			inc.say(d) // Only the record will know it after a restart.
		}
		if !explain[s.node] {
			d.unstand(s)
		}
	}
	return is
}

// stays says whether an alert that people were told of behind such a target is explained by that still, or by what explains
// the target itself: that is their incident's to find out.
func (d *Desk) stays(a *held, by *node) bool {
	s := a.standsFor()
	if s == nil || len(a.inc.told) == 0 || !a.cause.gone() || by == nil {
		return false
	}
	above := d.graph.blame(a.cause).root
	if by != a.cause && by != above {
		return false
	}
	if d.explanation(s) != nil {
		a.inc.found = true
		a.inc.review(d)
	}
	return true
}

// keeps has an alert that people were told of behind such a target, which does not explain it any more, go on in their
// incident as its own. What another team is to look after it is told of.
func (d *Desk) keeps(a *held) bool {
	inc := a.inc
	if s := a.standsFor(); s == nil || len(inc.told) == 0 || inc.rec.Kind != event.IncidentSimilar || whose(a) != inc.toldTeam {
		return false
	}
	inc.take(d, a, nil)
	return true
}

// Of what sort what stands in is, where alerts have their names.
const (
	sortSuspected = "suspected"
	sortDown      = "down"
)

// sort is what an incident of similar alerts counts one of its own as.
func (a *held) sort() string {
	switch {
	case !a.standsIn():
		return cut(a.event.Name, maxName)
	case a.node.suspected:
		return sortSuspected
	default:
		return sortDown
	}
}

// recordRoots puts the targets that an incident is about without an alert of theirs into its record, and how bad each is by
// what fires behind it.
func (inc *incident) recordRoots() {
	inc.rec.Roots = nil
	if inc.standing == 0 {
		return
	}
	for _, a := range inc.members {
		if s := a.standsFor(); s != nil {
			if w := worse(s.event.Severity, a.event.Severity); w != s.event.Severity {
				s.event.Severity = w
				s.relabel()
				inc.resaid()
			}
		}
	}
	size := 0
	for _, s := range inc.standIns() {
		if !s.node.gone() {
			continue
		}
		if size += len(s.node.id) + 3; size > maxRoots {
			break // Those beyond find their incident again as alerts do that it does not list.
		}
		inc.rec.Roots = append(inc.rec.Roots, s.node.id)
	}
}
