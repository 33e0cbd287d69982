package alerting

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"kemi.dev/kemi/bus/event"
)

// What fails at about the same time on targets of one class that belong to one team, without a cause that explains it, is one
// incident: from the SimilarCount-th within SimilarWithin on. What relations explain is not: it belongs to its cause, also
// when that shows later, see regroup.

// unrelated says whether nothing is known of what the target needs, and of what needs it.
func (n *node) unrelated() bool { return len(n.needs) == 0 && len(n.users.all) == 0 }

// similar names the incident that takes in what resembles an alert.
func similar(a *held) string { return event.CauseSimilar(whose(a), a.node.class()) }

// whose is the team that an alert belongs to.
func whose(a *held) string {
	team := a.event.Team
	if t := a.node.target; t != nil && t.Team != "" {
		team = t.Team
	}
	return cmp.Or(team, DefaultTeam)
}

// kin is what alerts have in common that are gathered: what they resemble, and who is told of them.
func (d *Desk) kin(a *held) string {
	route := d.ways.Route(a.event.Labels, whose(a))
	return strings.Join(append([]string{similar(a), route.Team}, route.Receivers...), "\x00")
}

// joins finds the incident of similar alerts that a goes into without a word to anybody, if there is one and alerts still
// come.
func (d *Desk) joins(a *held) *incident {
	for _, inc := range d.gathered[similar(a)] {
		like := inc.severe()
		switch {
		case inc.closed:
		case a.event.StartsAt.After(lastBegan(&inc.rec).Add(similarFor * d.policy.SimilarWithin)):
		case worse(inc.rec.Severity, a.event.Severity) != inc.rec.Severity:
			// It is worse than what they were told of.
		case like == nil, d.kin(like) == d.kin(a): // Nil is right after a restart.
			return inc
		}
	}
	return nil
}

// similarFor is how many times SimilarWithin after its beginning an incident of similar alerts takes in more.
const similarFor = 5

// waits says whether an incident is to be told now or soon, and nothing holds it back.
func (d *Desk) waits(inc *incident, now time.Time) bool {
	r := &inc.rec
	return len(inc.told) == 0 && r.State == event.IncidentOpen && !inc.closed && !inc.byHand && !inc.lookedAfter() && len(d.mutes(inc, now)) == 0
}

// gather makes one incident of those that resemble inc, which is to be told now, and says whether it did.
func (d *Desk) gather(inc *incident, now time.Time) bool {
	if group := d.holder(inc.key); group != nil && len(group.told) > 0 && !group.byHand {
		d.merge(inc, group, now) // People know of its cause.
		return true
	}
	a := d.single(inc)
	if a == nil {
		return false
	}
	if group := d.wasIn(a, inc.key, now); group != nil {
		d.absorb(inc, a, group, now)
		return true
	}
	if group := d.joins(a); group != nil && d.takesNoMore(inc, a, group) {
		d.absorb(inc, a, group, now)
		return true
	}
	if d.peers == nil {
		d.peers = map[string][]*incident{}
		for _, i := range d.incidents {
			if len(i.told) > 0 && now.Sub(i.toldAt) <= d.policy.SimilarWithin+d.policy.GroupWait || d.waits(i, now) {
				if b := d.single(i); b != nil {
					kin := d.kin(b)
					d.peers[kin] = append(d.peers[kin], i)
				}
			}
		}
	}
	kin := d.kin(a)
	peers := d.peers[kin]
	if len(peers) < d.policy.SimilarCount {
		return false
	}
	slices.SortFunc(peers, func(a, b *incident) int {
		return cmp.Or(a.rec.OpenedAt.Compare(b.rec.OpenedAt), cmp.Compare(a.rec.ID, b.rec.ID))
	})
	name := similar(a)
	group := d.start(key{d.graph.group(name), true}, a, now)
	group.team = whose(a)
	d.gathered[name] = append(d.gathered[name], group)
	for _, i := range peers {
		if !d.waits(i, now) || d.incidents[i.rec.ID] != i {
			continue // People know of it by itself.
		}
		d.absorb(i, d.single(i), group, now)
	}
	delete(d.peers, kin)
	d.opened(group, ReasonSimilar, nil, now)
	if r := &group.rec.Reason; r.Code == ReasonSimilar {
		r.Text = strconv.Itoa(len(peers)) + " of team " + group.team + " and class " + a.node.class() + " within " + d.policy.SimilarWithin.String() + ", and no cause is known that explains them"
	}
	group.pageAt = now
	group.review(d)
	return true
}

// takesNoMore says whether an incident that is told by a takes nothing along that people are to hear of: of what is behind one
// that has no alert of its own, which takes something along always, they hear when it is more than behind its like.
func (d *Desk) takesNoMore(inc *incident, a *held, group *incident) bool {
	d.count(inc)
	d.count(group)
	n := inc.rec.SuppressedTotal
	return n == 0 || a.standsIn() && group.standing > 0 && n <= group.rec.SuppressedTotal
}

// firstOwn is the first of the alerts that are the incident itself.
func (inc *incident) firstOwn() (found *held) {
	for _, a := range inc.own {
		if found == nil || sooner(a.event.StartsAt, found.event.StartsAt, a.event.ID, found.event.ID) < 0 {
			found = a
		}
	}
	return found
}

// spoken names a cause for people.
func spoken(cause string) string {
	told := event.Incident{Kind: event.IncidentSimilar, Cause: cause} // Of what people were told only that is known.
	team, class, is := told.Similar()
	if !is {
		return cut(cause, maxName)
	}
	return "what fails at once on " + many(class) + " of team " + team
}

// similarTitle says an incident of similar alerts in one line.
func (inc *incident) similarTitle(now time.Time) string {
	r := &inc.rec
	_, class, _ := r.Similar()
	if r.State == event.IncidentResolved {
		return "what failed on " + many(class) + " of team " + r.Team + " is over after " + lasted(r, now)
	}
	names, others := map[string]int{}, map[string]int{}
	targets, behind := map[string]struct{}{}, map[string]struct{}{}
	var only *node // Of a single target.
	for _, a := range inc.own {
		if a.node.target != nil && a.node.class() != class { // It was behind one of them; see keeps.
			others[cut(a.event.Name, maxName)]++
			behind[a.event.Target] = struct{}{}
			continue
		}
		names[a.sort()]++
		targets[a.event.Target], only = struct{}{}, a.node
	}
	each := fire(len(behind), "target", " behind "+many(class)+" of team "+r.Team+" that are there") + ": " + kindsOf(others)
	if len(targets) == 0 {
		return each
	}
	again := ""
	if len(r.Reopened) > 0 {
		again = " again"
	}
	title := plural(len(targets), class) + " of team " + r.Team
	if suspected := names[sortSuspected]; suspected > 0 && len(names) == 1 {
		are, them := " are suspected"+again+" at once: ", " behind them"
		if suspected == 1 {
			are, them = " is suspected"+again+": ", " behind it"
		}
		title += are + fire(r.SuppressedTotal, "target", them) + " (" + classes(r.Suppressed) + ")"
	} else {
		if title += " fail" + again + " at once: "; len(targets) == 1 {
			title = only.called() + " of team " + r.Team + " still fails: "
		}
		title += kindsOf(names)
		switch {
		case r.SuppressedTotal == 0:
		case suspected > 0:
			title += "; " + plural(r.SuppressedTotal, "target") + " behind fire or are unreachable (" + classes(r.Suppressed) + ")"
		default:
			title += "; " + plural(r.SuppressedTotal, "target") + " behind unreachable (" + classes(r.Suppressed) + ")"
		}
	}
	if len(behind) > 0 {
		title += "; " + each
	}
	return title
}
