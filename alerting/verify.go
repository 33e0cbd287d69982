package alerting

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"kemi.dev/kemi/bus/event"
)

// selfHold is how long an alert waits for its target's own verdict, which comes by another topic, before the target is
// asked.
const selfHold = time.Second

// verified says whether an incident's cause is known as well as it can be, and opens it then. Until then it says whom
// to ask.
func (d *Desk) verified(inc *incident, now time.Time) bool {
	if inc.first.IsZero() {
		inc.first, inc.verifySince = now, now // Restored: the wait begins anew.
	}
	n, since := inc.key.node, inc.since()
	deadline := now.Sub(inc.verifySince) >= d.policy.VerifyTimeout || now.Sub(inc.first) >= 3*d.policy.VerifyTimeout
	unsure, back := d.graph.doubts(n, since)
	if inc.key.own && n.recovered.After(back) && !n.recovered.Before(since) {
		back = n.recovered
	}
	if !back.IsZero() && now.Before(back.Add(d.settle(n))) {
		inc.setDoubts(d, nil, now)
		inc.settling = true // It came back only now, or what it needs did: the alert may be about the time before.
		return false
	}
	if inc.settling {
		// The settling was no time for verification.
		inc.settling, inc.verifySince, inc.first, deadline = false, now, now, false
	}
	if inc.key.own {
		if n.answered(since) {
			d.opened(inc, ReasonAnswers, []string{n.finding}, now)
			return true
		}
		if n.pollable() && !deadline {
			if now.Sub(inc.verifySince) >= selfHold {
				inc.setDoubts(d, []*node{n}, now)
			}
			return false
		}
	}
	if n.suspected && !inc.key.own {
		unsure = append(unsure, d.graph.witnesses(n, since)...)
	}
	if len(unsure) > 0 && !deadline {
		inc.setDoubts(d, unsure, now)
		return false
	}
	causes := []string{}
	if n.finding != "" {
		causes = append(causes, n.finding)
	}
	code := ReasonDown
	switch {
	case n.suspected && !inc.key.own:
		code, causes, unsure = ReasonSuspected, d.graph.failing(n), nil
	case n.reported && !inc.key.own && len(unsure) == 0:
		code = ReasonReported
		for _, a := range n.alerts {
			if d.says(a.event) {
				causes = append(causes, a.event.ID)
			}
		}
		slices.Sort(causes)
	}
	if len(unsure) > 0 || inc.key.own {
		code = ReasonUnverified
		for _, u := range unsure {
			causes = append(causes, u.id)
		}
	}
	d.opened(inc, code, causes, now)
	return true
}

// since is when what the incident is about began.
func (inc *incident) since() time.Time {
	if n := inc.key.node; !inc.key.own && n.gone() {
		return n.since
	}
	var first time.Time
	for _, a := range inc.members {
		if first.IsZero() || a.event.StartsAt.Before(first) {
			first = a.event.StartsAt
		}
	}
	return first
}

// setDoubts says whom the incident waits for.
func (inc *incident) setDoubts(d *Desk, doubts []*node, now time.Time) {
	if slices.Equal(inc.doubts, doubts) {
		for _, n := range doubts {
			d.doubt(n, inc.since(), now)
		}
		return
	}
	for _, n := range inc.doubts {
		if n.waiters--; n.waiters == 0 {
			delete(d.doubtful, n)
		}
	}
	inc.doubts = doubts
	for _, n := range doubts {
		n.waiters++
		d.doubt(n, inc.since(), now)
	}
}

// doubt has n asked, unless it was asked already for what began at since.
func (d *Desk) doubt(n *node, since, now time.Time) {
	wait := d.policy.VerifyTimeout
	if n.asked.Before(since) {
		wait = selfHold
	}
	if _, asked := d.inflight[n]; !asked && now.Sub(n.asked) >= wait {
		d.doubtful[n] = struct{}{}
	}
}

// ask picks whom to poll now: first those that most incidents wait for, at most VerifyAtOnce at a time.
func (d *Desk) ask(now time.Time) {
	for n := range d.inflight {
		if now.Sub(n.asked) >= d.policy.VerifyTimeout {
			delete(d.inflight, n)
		}
	}
	free := d.policy.VerifyAtOnce - len(d.inflight)
	if free <= 0 || len(d.doubtful) == 0 {
		return
	}
	order := slices.SortedFunc(maps.Keys(d.doubtful), func(a, b *node) int {
		return cmp.Or(cmp.Compare(b.waiters, a.waiters), cmp.Compare(a.id, b.id))
	})
	for _, n := range order[:min(free, len(order))] {
		delete(d.doubtful, n)
		if !n.pollable() {
			continue
		}
		n.asked = now
		d.inflight[n] = struct{}{}
		d.out.Verify = append(d.out.Verify, Verify{Target: n.target, Incident: d.asker(n)})
	}
}

// asker is the first of the incidents that wait for n, or that has an alert on it.
func (d *Desk) asker(n *node) string {
	first := ""
	for _, a := range n.alerts {
		if a.inc != nil && (first == "" || a.inc.rec.ID < first) {
			first = a.inc.rec.ID
		}
	}
	d.graph.below(n, func(u *node) {
		for _, inc := range u.incidents {
			if (first == "" || inc.rec.ID < first) && (slices.Contains(inc.doubts, n) || inc.key.node == n) {
				first = inc.rec.ID
			}
		}
	})
	return first
}

// reroot moves an incident to the cause that explains its own, and reports whether there was one.
func (d *Desk) reroot(inc *incident, now time.Time) bool {
	n := inc.key.node
	if inc.rec.Kind == event.IncidentSimilar {
		return d.regroup(inc, now)
	}
	if !inc.key.own && !n.gone() {
		for _, a := range inc.own {
			if a.standsIn() {
				d.unstand(a)
			} else if a.node != n && a.loose.IsZero() {
				d.judge(a) // It was told together with what the cause explained, which is over.
			}
		}
	}
	if !inc.key.own && n.state == up {
		return false // It is back: what fails above it now is another story.
	}
	if inc.key.own && n.answered(inc.since()) {
		return false // It answered: it is its own problem, whatever fails above it.
	}
	if code := inc.rec.Reason.Code; inc.key.own && len(inc.told) > 0 && code != ReasonUnverified && code != ReasonRerooted {
		return false
	}
	k := key{d.graph.blame(n).root, false}
	if k.node == nil {
		if inc.rec.Reason.Code == ReasonMerged {
			inc.rec.Reason = event.Reason{Code: ReasonDown, Causes: []string{n.finding}}
			inc.touch(d)
		}
		if !inc.key.own || !n.gone() {
			return false
		}
		k.node = n
	}
	other := d.about(k)
	if other == nil && len(inc.told) == 0 {
		// What fires again is only itself again; and what the cause was a moment ago, it is again.
		if a := inc.earliest(); a != nil && (len(inc.former) > 0 && k.node != n || d.firesAgain(k, a, now) != nil) {
			other = d.start(k, a, now)
		}
	}
	switch {
	case other == inc:
		return false
	case other != nil && len(inc.told) == 0:
		d.merge(inc, other, now)
	case other != nil && len(other.told) > 0:
		d.mention(inc, other)
		return false
	default:
		d.become(inc, other, k, now)
	}
	return true
}

// mention notes that another incident explains one. People know of both: each is told when its own is over.
func (d *Desk) mention(inc, other *incident) {
	if inc.rec.Reason.Code != ReasonMerged {
		inc.rec.Reason = event.Reason{Code: ReasonMerged, Causes: []string{other.rec.ID}}
		inc.say(d)
	}
}

// become makes an incident the one of its cause; what was opened for the cause, if anything was, goes into it.
func (d *Desk) become(inc, other *incident, k key, now time.Time) {
	inc.detach(d)
	if other != nil {
		d.merge(other, inc, now)
	}
	d.rekey(inc, k, now)
}

// rekey gives an incident, which was detached, another cause.
func (d *Desk) rekey(inc *incident, k key, now time.Time) {
	was, gathered := inc.rec.Cause, inc.rec.Kind == event.IncidentSimilar
	inc.attach(d, k)
	inc.team = ""
	for _, a := range inc.members {
		switch {
		case a.node == k.node:
			a.blame(nil)
		case gathered && (a.cause == nil && d.explanation(a) != k.node || a.standsFor() != nil):
			// It was told together with what the cause explains, and stays.
		default:
			a.blame(k.node)
			d.judge(a)
		}
	}
	if len(inc.told) > 0 {
		inc.rec.Reason = event.Reason{Code: ReasonRerooted, Causes: []string{was, k.node.finding}}
		inc.updateAt = now.Add(d.policy.GroupWait)
		inc.say(d)
		return
	}
	if inc.rec.State == event.IncidentOpen {
		inc.rec.State = event.IncidentVerifying
		d.waiting++
		if inc.published {
			d.shown++
		}
	}
	inc.peak = nil
	inc.verifySince, inc.pageAt = now, time.Time{}
	d.unflap(inc) // That counts the other cause.
	if inc.fire = (fireKey{target: k.node.id}); k.own {
		if a := inc.earliest(); a != nil {
			inc.fire.name = a.event.Name
		}
	}
	inc.setDoubts(d, nil, now)
}

// move hands the members of one incident to another.
func (d *Desk) move(from, to *incident, now time.Time) {
	for _, a := range from.members {
		delete(from.members, a.event.ID)
		cause := to.key.node
		switch {
		case to.rec.Kind == event.IncidentSimilar:
			cause = a.cause
		case a.node == cause:
			cause = nil
		}
		a.placed = now
		to.take(d, a, cause)
		d.judge(a)
	}
	from.review(d)
}
