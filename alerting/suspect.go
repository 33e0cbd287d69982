package alerting

import (
	"cmp"
	"slices"
	"time"

	"kemi.dev/kemi/bus/event"
)

// What nobody can ask is judged by what hangs on it. A target is suspected when several of its branches fail, none of
// them is known to be well, and nobody could ask the target itself. Suspicion counts like a failure: it explains what is
// below. It ends when the target or a branch answers.

// report takes in that an alert says of its target that it is not there. Of a target that can be polled the polls decide.
func (d *Desk) report(a *held) {
	d.moved = true
	n := a.node
	if n.pollable() || (n.state != unheard && !n.reported && !n.suspected) || !d.says(a.event) {
		return
	}
	if n.reported && !a.event.StartsAt.Before(n.since) {
		return
	}
	d.acquit(n)
	d.graph.changes++
	n.state, n.reported, n.since = down, true, a.event.StartsAt
	d.accused(n, ReasonReported, a.event.ID)
	d.stir(n)
}

// withdraw takes back what report took in, when no alert says it any more.
func (d *Desk) withdraw(n *node, now time.Time) {
	d.moved = true
	if !n.reported {
		return
	}
	for _, a := range n.alerts {
		if d.says(a.event) {
			return
		}
	}
	d.graph.changes++
	n.state, n.reported, n.recovered = unheard, false, now
	d.exonerate(n, " is up again: its own alert is over")
	d.stir(n)
}

// acquit ends a suspicion without a word about how its target is.
func (d *Desk) acquit(n *node) {
	if n.suspected {
		d.graph.changes++
		n.suspected, n.state = false, n.before
		delete(d.suspects, n)
	}
}

// suspicion is what speaks against a target.
type suspicion struct {
	branches map[*node]struct{} // Those of its users on whose side something fails.
	since    time.Time          // When the first of it failed.
}

// suspect looks for targets to suspect, and for suspicions that are over.
func (d *Desk) suspect(now time.Time) {
	if !d.moved && !d.unasked {
		return
	}
	d.moved, d.unasked = false, false
	found := map[*node]*suspicion{}
	accuse := func(n, cleared *node) {
		if n.gone() && !n.suspected {
			d.graph.climb(n, cleared, func(user, above *node) {
				s := found[above]
				if s == nil {
					s = &suspicion{branches: map[*node]struct{}{}, since: n.since}
					found[above] = s
				}
				s.branches[user] = struct{}{}
				if n.since.Before(s.since) {
					s.since = n.since
				}
			})
		}
	}
	for _, a := range d.alerts {
		var cleared *node
		if a.inc != nil {
			cleared = a.inc.cleared
		}
		accuse(a.node, cleared)
	}
	for _, inc := range d.incidents {
		accuse(inc.key.node, inc.cleared)
		for _, s := range inc.standIns() {
			accuse(s.node, inc.cleared)
		}
	}
	for _, n := range inNameOrder(d.suspects, func(*node) bool { return true }) { // One that is cleared may speak for the next.
		s := found[n]
		if s == nil {
			d.clear(n, true, " is suspected no more", now)
			continue
		}
		well, back := d.graph.signs(n, n.since)
		switch {
		case back != nil:
			d.clear(n, true, " is up now: "+cut(back.id, maxName)+" behind it is back", now)
		case well != nil:
			d.clear(n, false, " is up: "+cut(well.id, maxName)+" behind it answers", now)
		case len(s.branches) < 2:
			d.clear(n, true, " is suspected no more: one branch behind it still fails, the others do not", now)
		}
	}
	for _, n := range inNameOrder(found, func(n *node) bool { return len(found[n].branches) > 1 }) {
		s := found[n]
		if n.suspected || n.gone() {
			continue
		}
		if !d.mute(n, s.since, now) {
			d.unasked = true
			continue
		}
		if well, back := d.graph.signs(n, s.since); well != nil || back != nil {
			continue
		}
		d.graph.changes++
		n.before, n.state, n.suspected, n.since = n.state, down, true, s.since
		d.suspects[n] = struct{}{}
		d.accused(n, ReasonSuspected, d.graph.failing(n)...)
		d.stir(n)
	}
}

// inNameOrder are the keys of a map that are meant, so that what is decided does not depend on how a map is laid out.
func inNameOrder[V any](m map[*node]V, meant func(*node) bool) []*node {
	var all []*node
	for n := range m {
		if meant(n) {
			all = append(all, n)
		}
	}
	slices.SortFunc(all, func(a, b *node) int { return cmp.Compare(a.id, b.id) })
	return all
}

// mute says whether n cannot speak for itself: nobody can ask it, or it was asked for what began at since and nothing
// was heard, neither that it answers nor that it does not.
func (d *Desk) mute(n *node, since, now time.Time) bool {
	if n.target == nil || n.answered(since) {
		return false
	}
	return !n.pollable() || !n.asked.Before(since) && now.Sub(n.asked) >= d.policy.VerifyTimeout
}

// clear ends a suspicion: because what had failed below it comes back, or because a branch was well all the time. why goes
// on after the target's name.
func (d *Desk) clear(n *node, back bool, why string, now time.Time) {
	d.acquit(n)
	if back {
		n.recovered = now
	} else {
		n.acquitted = now // What it explained speaks for itself at once.
	}
	d.exonerate(n, why)
	d.stir(n)
}

// mostWitnesses bounds the polls of branches that may clear a suspect.
const mostWitnesses = 8

// witnesses are targets behind n that could say that n is well: one of each branch that nothing is known of since a time.
func (g *graph) witnesses(n *node, since time.Time) []*node {
	users := make([]*node, 0, len(n.users.all))
	for _, u := range n.users.all {
		if only(u, n) {
			users = append(users, u)
		}
	}
	slices.SortFunc(users, func(a, b *node) int { return cmp.Compare(a.id, b.id) })
	var found []*node
	g.walks++
	n.visit = g.walks
	for _, user := range users {
		if len(found) >= mostWitnesses {
			break
		}
		for queue := []*node{user}; len(queue) > 0; queue = queue[1:] {
			w := queue[0]
			if w.visit == g.walks || w.state == down {
				continue
			}
			w.visit = g.walks
			if w.pollable() && w.heard.Before(since) {
				found = append(found, w)
				break
			}
			for _, u := range w.users.all {
				if only(u, w) {
					queue = append(queue, u)
				}
			}
		}
	}
	return found
}

// only says whether u cannot do without n.
func only(u, n *node) bool {
	return slices.ContainsFunc(u.needs, func(need []*node) bool { return len(need) == 1 && need[0] == n })
}

// climb calls f for everything that n cannot do without, directly or through others, with the user on the way there. It
// ends at what answered or came back since n failed, at what was cleared of it, and at what is down itself: that has a way
// of its own.
func (g *graph) climb(n, cleared *node, f func(user, above *node)) {
	g.walks++
	n.visit = g.walks
	since := n.since
	for queue := []*node{n}; len(queue) > 0; queue = queue[1:] {
		for _, need := range queue[0].needs {
			if len(need) != 1 || need[0].target == nil || need[0] == cleared || need[0].answered(since) {
				continue
			}
			above := need[0]
			if !above.recovered.IsZero() && !above.recovered.Before(since) {
				continue
			}
			if above.gone() && !above.suspected {
				continue
			}
			f(queue[0], above)
			if above.visit != g.walks {
				above.visit = g.walks
				queue = append(queue, above)
			}
		}
	}
}

// failing names some of the users of n on whose side something fails, for people.
func (g *graph) failing(n *node) []string {
	var ids []string
	for _, u := range n.users.all {
		if u.gone() && only(u, n) {
			ids = append(ids, u.id)
		}
	}
	slices.Sort(ids)
	return slices.Clip(ids[:min(len(ids), maxListed)])
}

// signs looks for signs of life behind n since a time: something that answers there, and something that had failed and came
// back; nil is nothing.
func (g *graph) signs(n *node, since time.Time) (well, back *node) {
	g.walks++
	n.visit = g.walks
	for queue := []*node{n}; len(queue) > 0; queue = queue[1:] {
		for _, u := range queue[0].users.all {
			if u.visit == g.walks || !only(u, queue[0]) {
				continue
			}
			u.visit = g.walks
			if !u.recovered.IsZero() && !u.recovered.Before(since) {
				return well, u
			}
			if well == nil && u.answered(since) {
				well = u
			}
			queue = append(queue, u)
		}
	}
	return well, nil
}

// says reports whether an alert says that its target is not there.
func (d *Desk) says(a *event.Alert) bool { return d.unreachable.MatchString(a.Name) }
