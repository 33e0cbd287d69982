package alerting

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"kemi.dev/kemi/bus/event"
)

// Of a target that nobody polls only alerts speak: its own, or those behind it, for which it is suspected. When they take
// that back while something behind it still fires, that must be something else. People were told of all of it already: the
// incident goes on as what is left of it, they hear so, and nobody of theirs is called anew.

// ReasonExonerated: what was told as the cause is not it, or not any more; the first of Causes says which.
const ReasonExonerated = event.ReasonExonerated

// exonerate notes in the incidents about a target that it is not their cause, or not any more; why goes on after its name.
func (d *Desk) exonerate(n *node, why string) {
	for _, inc := range n.incidents {
		if len(inc.told) > 0 && !inc.key.own && !inc.byHand && !inc.closed {
			inc.clear(n)
			inc.rec.Reason = event.Reason{Code: ReasonExonerated, Text: cut(n.id, maxName) + why, Causes: []string{n.id}}
			inc.say(d)
			inc.touch(d)
		}
	}
}

// clear notes of which target people were told that is not the cause; nil is none.
func (inc *incident) clear(n *node) {
	inc.cleared, inc.rec.Cleared = n, ""
	if n != nil {
		inc.rec.Cleared = n.id
	}
}

// accused takes back in the incidents about a target that it is not their cause.
func (d *Desk) accused(n *node, code string, causes ...string) {
	for _, inc := range n.incidents {
		if inc.cleared == n {
			inc.clear(nil)
			inc.rec.Reason = event.Reason{Code: code, Causes: slices.Clone(causes)} // Each its own: more may be added to one.
			inc.say(d)
			inc.touch(d)
		}
	}
}

// exonerated says whether people were told of a cause that is not it any more, of all that they know.
func (inc *incident) exonerated() bool {
	n := inc.key.node
	return inc.cleared == n && !inc.key.own && !n.gone() && len(inc.told) > 0 && !inc.byHand && !inc.closed
}

// part is what is left of an incident that one team is to look after, by what explains it.
type part struct {
	team   string
	keys   []key // In the order of their first alerts.
	alerts map[key][]*held
	n      int
}

// dissolve goes on with what is left of an incident whose cause is none: what a team has to look after stays one incident,
// that of the team that was told the one that was told. It reports whether it did; what may only be late is waited for.
func (d *Desk) dissolve(inc *incident, now time.Time) bool {
	if !inc.exonerated() || len(inc.members) == 0 || !d.scanned.Equal(now) { // Suspicions are as of the last scan.
		return false
	}
	all := slices.SortedFunc(maps.Values(inc.members), func(a, b *held) int {
		return sooner(a.event.StartsAt, b.event.StartsAt, a.event.ID, b.event.ID)
	})
	if d.late(inc, all, now) {
		return false
	}
	parts := d.parts(inc, all, now)
	if len(parts) == 0 {
		inc.review(d) // Others know of all of it.
		return true
	}
	mine := parts[inc.toldTeam]
	if mine == nil {
		mine = slices.MinFunc(slices.Collect(maps.Values(parts)), func(a, b *part) int { return cmp.Or(b.n-a.n, strings.Compare(a.team, b.team)) })
	}
	for _, team := range slices.Sorted(maps.Keys(parts)) {
		if p := parts[team]; p != mine {
			d.part(inc, p, now)
		}
	}
	d.remain(inc, mine, now)
	return true
}

// late says whether any of these may only come back later than their cause did: what it took along comes back one by one.
// Behind what was well all the time nothing does.
func (d *Desk) late(inc *incident, all []*held, now time.Time) (is bool) {
	if was := inc.key.node; was.acquitted.After(was.recovered) {
		return false
	}
	for _, a := range all { // All of them: it is noted since when each is waited for.
		is = !d.settled(a, now) && (inc.clearedBy.IsZero() || now.Sub(inc.clearedBy) < d.settle(a.node)) || is
	}
	return is
}

// parts sorts what is left of an incident by who is to look after it. What people know by another incident goes there.
func (d *Desk) parts(inc *incident, all []*held, now time.Time) map[string]*part {
	parts := map[string]*part{}
	for _, a := range all {
		answered := a.node.answered(a.event.StartsAt)
		k := key{a.node, answered || !a.node.gone()}
		if b := d.graph.blame(a.node); b.root != nil && !answered {
			k = key{b.root, false}
		}
		d.tie(a)
		if other := d.byKey[k]; other != nil && other != inc && len(other.told) > 0 {
			d.give(a, other, now)
			continue
		}
		team := k.node.team(a)
		p := parts[team]
		if p == nil {
			p = &part{team: team, alerts: map[key][]*held{}}
			parts[team] = p
		}
		if p.alerts[k] == nil {
			p.keys = append(p.keys, k)
		}
		p.alerts[k] = append(p.alerts[k], a)
		p.n++
	}
	return parts
}

// team is whose a cause is: the target's, or that of what fires.
func (n *node) team(a *held) string {
	if n.target != nil && n.target.Team != "" {
		return n.target.Team
	}
	return cmp.Or(a.event.Team, DefaultTeam)
}

// give has an alert go into another incident.
func (d *Desk) give(a *held, to *incident, now time.Time) {
	cause := to.key.node
	if a.node == cause || to.rec.Kind == event.IncidentSimilar {
		cause = nil
	}
	a.inc.into = to.rec.ID
	a.inc.leave(d, a)
	a.placed = now
	to.take(d, a, cause)
}

// part makes an incident of what another team is to look after.
func (d *Desk) part(inc *incident, p *part, now time.Time) {
	var to *incident
	for _, k := range p.keys {
		for _, a := range p.alerts[k] {
			a.spoke = inc.rec.ID
			switch {
			case to != nil:
			case len(p.keys) > 1:
				to = d.open(key{d.graph.group(event.CauseBehind(p.team, inc.cleared.id)), true}, a, now)
				to.clear(inc.cleared)
			default:
				if to = d.byKey[k]; to == nil {
					to = d.start(k, a, now)
				}
			}
			d.give(a, to, now)
			d.judge(a)
		}
	}
	if len(p.keys) > 1 {
		d.opened(to, ReasonExonerated, nil, now)
		to.rec.Reason = inc.rec.Reason
	}
}

// remain has an incident go on as what is left of it.
func (d *Desk) remain(inc *incident, p *part, now time.Time) {
	k := p.keys[0]
	if len(p.keys) > 1 {
		k = key{d.graph.group(event.CauseBehind(p.team, inc.cleared.id)), true}
	}
	for _, each := range p.keys {
		if other := d.byKey[each]; other != nil && other != inc { // Nobody was told of it yet.
			d.merge(other, inc, now)
		}
	}
	inc.detach(d)
	inc.rec.Suspected = false
	inc.rec.Suppressed, inc.rec.SuppressedTotal, inc.rec.Examples, inc.peak = nil, 0, nil, nil
	why := inc.rec.Reason
	d.rekey(inc, k, now)
	inc.team, inc.rec.Reason = p.team, why
	if len(p.keys) > 1 {
		for _, a := range inc.members {
			a.blame(nil)
		}
	}
}

// causeOf is what an incident blames for an alert of its own.
func (inc *incident) causeOf(a *held) *node {
	if inc.key.own || inc.key.node == a.node {
		return nil
	}
	return inc.key.node
}

// claim is what an incident blames for an alert that its record names.
func (inc *incident) claim(a *held) *node {
	if inc.cleared == nil {
		return nil
	}
	return inc.causeOf(a)
}

// toldOf says whether people were told of an incident about the target.
func (n *node) toldOf() bool {
	return slices.ContainsFunc(n.incidents, func(inc *incident) bool { return len(inc.told) > 0 })
}
