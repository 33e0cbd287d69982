package alerting

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"kemi.dev/kemi/bus/event"
)

// Where the CMDB knows no relations there is no cause to look for. What fails then at about the same time, on targets of
// one class that belong to one team, is one incident: from the SimilarCount-th within SimilarWithin on.

// similarTo begins the names under which such alerts are grouped.
const similarTo = "similar/"

// unrelated says whether nothing is known of what the target needs, and of what needs it.
func (n *node) unrelated() bool { return len(n.needs) == 0 && len(n.users.all) == 0 }

// similar names the incident that takes in what resembles an alert.
func similar(a *held) string {
	team := a.event.Team
	if t := a.node.target; t != nil && t.Team != "" {
		team = t.Team
	}
	return similarTo + cmp.Or(team, DefaultTeam) + "/" + a.node.class()
}

// joins finds the incident of similar alerts that a goes into, if there is one and alerts still come.
func (d *Desk) joins(a *held) *incident {
	if !a.node.unrelated() || len(d.gathered) == 0 {
		return nil
	}
	inc := d.gathered[similar(a)]
	switch {
	case inc == nil, inc.lookedAfter():
		return nil // People believe that they know what there is.
	case a.event.StartsAt.After(lastBegan(&inc.rec).Add(similarFor * d.policy.SimilarWithin)):
		return nil
	case worse(inc.rec.Severity, a.event.Severity) != inc.rec.Severity:
		return nil // It is worse than what they were told of.
	}
	return inc
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
	a := inc.single()
	if a == nil {
		return false
	}
	if group := d.joins(a); group != nil {
		d.merge(inc, group, now)
		return true
	}
	if d.peers == nil {
		d.peers = map[string][]*incident{}
		for _, i := range d.incidents {
			if b := i.single(); b != nil && (len(i.told) > 0 && now.Sub(i.toldAt) <= d.policy.SimilarWithin+d.policy.GroupWait || d.waits(i, now)) {
				d.peers[similar(b)] = append(d.peers[similar(b)], i)
			}
		}
	}
	name := similar(a)
	peers := d.peers[name]
	if len(peers) < d.policy.SimilarCount {
		return false
	}
	slices.SortFunc(peers, func(a, b *incident) int {
		return cmp.Or(a.rec.OpenedAt.Compare(b.rec.OpenedAt), cmp.Compare(a.rec.ID, b.rec.ID))
	})
	group := d.start(key{d.graph.node(name), true}, a, now)
	d.gathered[name] = group
	for _, i := range peers {
		if !d.waits(i, now) || d.incidents[i.rec.ID] != i {
			continue // People know of it by itself.
		}
		d.merge(i, group, now)
	}
	delete(d.peers, name)
	d.opened(group, ReasonSimilar, nil, now)
	group.pageAt = now
	group.review(d)
	return true
}

// single is the first alert of an incident that is about nothing but a target without relations; nil of any other.
func (inc *incident) single() *held {
	if !inc.key.node.unrelated() || inc.rec.Kind == event.IncidentSimilar {
		return nil
	}
	return inc.earliest()
}

// similarTitle says an incident of similar alerts in one line.
func (inc *incident) similarTitle(now time.Time) string {
	r := &inc.rec
	team, class, _ := strings.Cut(strings.TrimPrefix(inc.key.node.id, similarTo), "/")
	if r.State == event.IncidentResolved {
		return "what failed on " + plural(2, class)[2:] + " of team " + team + " is over after " + lasted(r, now)
	}
	names := map[string]int{}
	targets := map[string]struct{}{}
	for _, a := range inc.members {
		names[cut(a.event.Name, maxName)]++
		targets[a.event.Target] = struct{}{}
	}
	order := slices.SortedFunc(maps.Keys(names), func(a, b string) int { return cmp.Or(cmp.Compare(names[b], names[a]), cmp.Compare(a, b)) })
	said := make([]string, 0, 4)
	for i, name := range order {
		if i == 3 && len(order) > 4 {
			said = append(said, strconv.Itoa(len(order)-3)+" more kinds of alert")
			break
		}
		said = append(said, name+" ("+strconv.Itoa(names[name])+")")
	}
	at := " fail at once: "
	if len(r.Reopened) > 0 {
		at = " fail again at once: "
	}
	return plural(len(targets), class) + " of team " + team + at + strings.Join(said, ", ")
}
