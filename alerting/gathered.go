package alerting

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"kemi.dev/kemi/bus/event"
)

// An incident of similar alerts is told once, and what is found out later about some of them changes nothing of that: its
// targets may turn out to be causes of something, and their own cause may show.

// about finds the incident about a key that takes in more.
func (d *Desk) about(k key) *incident {
	if inc := d.byKey[k]; inc != nil {
		return inc
	}
	return d.holder(k)
}

// holder finds the incident of similar alerts that a target which is down is in by an alert of its own.
func (d *Desk) holder(k key) (found *incident) {
	if k.own {
		return nil
	}
	if inc := k.node.toldIn(); inc != nil {
		return inc
	}
	for _, a := range k.node.alerts {
		if inc := a.inc; inc != nil && a.cause == nil && inc.rec.Kind == event.IncidentSimilar && (found == nil || inc.rec.ID < found.rec.ID) {
			found = inc
		}
	}
	return found
}

// explanation is what explains an alert that people were told of without it: nothing explains what answered since the
// alert began, and nothing that failed long after.
func (d *Desk) explanation(a *held) *node {
	n := a.node
	b := d.graph.blame(n)
	switch {
	case b.root == nil, n.answered(a.event.StartsAt), b.since.After(a.event.StartsAt.Add(d.policy.RerootWithin)):
		return nil
	case n.state == down && n.since.After(a.event.StartsAt) && !d.says(a.event) && !a.standsIn():
		return nil
	}
	return b.root
}

// regroup goes by what was found out about similar alerts that people were told of, and says whether their incident is
// another now: when one cause explains all of them, or most and the first, it becomes the cause's, and those who were told
// hear of that. A cause that explains a few takes them and is told as any other.
func (d *Desk) regroup(inc *incident, now time.Time) bool {
	if !inc.found {
		return false
	}
	inc.found = false
	by, explained := map[*node][]*held{}, 0
	for _, a := range slices.SortedFunc(maps.Values(inc.own), func(a, b *held) int {
		return sooner(a.event.StartsAt, b.event.StartsAt, a.event.ID, b.event.ID)
	}) {
		switch root := d.explanation(a); {
		case root == nil:
		case d.holder(key{root, false}) == inc:
			d.explain(inc, a, root) // Its cause is among them.
		default:
			by[root] = append(by[root], a)
			explained++
		}
	}
	if explained == 0 {
		return false
	}
	roots := slices.SortedFunc(maps.Keys(by), func(a, b *node) int {
		return cmp.Or(cmp.Compare(len(by[b]), len(by[a])), cmp.Compare(a.id, b.id))
	})
	most, all := roots[0], explained == len(inc.own)
	if all || 2*len(by[most]) >= len(inc.own) && slices.Contains(by[most], inc.firstOwn()) {
		k := key{most, false}
		other := d.about(k)
		if other != nil && len(other.told) > 0 {
			d.mention(inc, other)
			return false
		}
		d.refuse(inc)
		for _, a := range by[most] {
			if a.standsIn() {
				d.unstand(a)
			}
		}
		d.become(inc, other, k, now)
		roots = roots[1:]
	}
	for _, root := range roots {
		for _, a := range by[root] {
			if a.standsIn() {
				d.unstand(a)
			} else {
				d.place(a, key{root, false}, root, now)
			}
		}
	}
	return true
}

// roots are the targets that are down and take others along: the cause, or those of similar alerts.
func (inc *incident) roots() []*node {
	if inc.rec.Kind != event.IncidentSimilar {
		if n := inc.key.node; !inc.key.own && n.gone() {
			return []*node{n}
		}
		return nil
	}
	found := map[*node]struct{}{}
	for _, a := range inc.own {
		if a.node.gone() && len(a.node.users.all) > 0 {
			found[a.node] = struct{}{}
		}
	}
	return inNameOrder(found, func(*node) bool { return true })
}
