package alerting

import (
	"strings"
	"time"

	"kemi.dev/kemi/bus/event"
)

// After a restart the record of an incident says which targets it is about without an alert of theirs.

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
