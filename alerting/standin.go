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

// rootsLeft are the targets that an incident was about without an alert of theirs and that came back, or were found to be
// well, of late, and when.
func (inc *incident) rootsLeft() map[string]time.Time {
	var all map[string]time.Time
	for _, l := range inc.rec.Left {
		if id, is := strings.CutPrefix(l.ID, standsIn); is {
			if all == nil {
				all = map[string]time.Time{}
			}
			all[id] = l.At
		}
	}
	return all
}

// recallBehind has an alert find the restored incident that people were told of it by, behind a target that has no alert of
// its own; when that is there, only what is the same team's, and nothing explains.
func (d *Desk) recallBehind(inc *incident, a *held, now time.Time) bool {
	_, class, _ := inc.rec.Similar()
	// Those that are back may be more than the record names: then the class speaks for them.
	mine := len(inc.rootsLeft()) > 0 && whose(a) == inc.toldTeam && d.graph.blame(a.node).root == nil
	var gone, back *node
	d.graph.needed(a.node, func(n *node) {
		switch {
		case n.standIn != nil && n.standIn.inc == inc && n.gone():
			gone = n
		case mine && n.class() == class && n.target != nil && n.team(a) == inc.toldTeam && !n.gone():
			back = n
		}
	})
	if gone == nil && back == nil {
		return false
	}
	a.placed = now
	inc.take(d, a, gone)
	return true
}

// wouldGo finds the incident of similar alerts into which a restored one would have gone without a word, or did, of which
// nothing is left: people need not hear of it now.
func (d *Desk) wouldGo(inc *incident, now time.Time) *incident {
	r, n := &inc.rec, inc.key.node
	if len(inc.told)+len(inc.former)+len(inc.members) > 0 || r.State != event.IncidentOpen || r.Kind != event.IncidentDown || n.gone() || len(r.Alerts) > 0 {
		return nil
	}
	a := newStandIn(n, event.Alert{Domain: r.Domain, Team: r.Team, Severity: r.Severity, StartsAt: r.OpenedAt})
	for _, group := range d.gathered[similar(a)] {
		if len(group.told) > 0 && group.leftLately(a.event.ID, now, d.policy.ReopenWithin) {
			return group
		}
	}
	if group := d.joins(a); group != nil && len(group.told) > 0 && r.SuppressedTotal <= group.rec.SuppressedTotal {
		return group
	}
	return nil
}

// restoreRoots takes in which targets a record is about without an alert of theirs.
func (d *Desk) restoreRoots(inc *incident) {
	r := &inc.rec
	if inc.closed {
		return
	}
	if _, _, is := r.Similar(); is && len(inc.told) > 0 {
		d.keep(inc)
	}
	for _, id := range r.Roots {
		n := d.graph.node(id)
		inc.stand(d, newStandIn(n, event.Alert{Domain: r.Domain, Team: r.Team, Severity: r.Severity, StartsAt: r.OpenedAt}))
	}
}

// presumeRoots believes a restored incident that the targets which it is about without an alert of theirs are not there, as
// far as what it names behind them still fires.
func (d *Desk) presumeRoots(inc *incident) {
	for id, at := range inc.rootsLeft() {
		if n := d.graph.nodes[id]; n != nil && n.standIn == nil && at.After(n.recovered) {
			n.recovered = at // What failed before speaks no more against it.
		}
	}
	back := map[string]bool{}
	for _, e := range inc.rec.Examples {
		if d.alerts[e.ID] == nil && d.unreachable.MatchString(e.Name) && len(e.Reason.Causes) > 0 {
			back[e.Reason.Causes[0]] = true
		}
	}
	for _, s := range inc.standIns() {
		n := s.node
		d.invite(n)
		s.relabel()
		if n.state != unheard || n.target == nil || inc.byHand {
			continue
		}
		if back[n.id] {
			n.recovered = inc.asOf
			inc.forgo(s.event.ID, inc.asOf, d.policy.ReopenWithin)
			continue
		}
		fires := false
		d.graph.below(n, func(u *node) { fires = fires || len(u.alerts) > 0 })
		if !fires {
			continue
		}
		n.suspected, n.before = true, n.state
		d.suspects[n] = struct{}{}
		d.graph.changes++
		n.state, n.since = down, s.event.StartsAt
		d.stir(n)
	}
}
