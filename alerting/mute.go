package alerting

import (
	"cmp"
	"time"

	"kemi.dev/kemi/alerting/hush"
	"kemi.dev/kemi/bus/event"
)

// Silence takes in a silence that somebody said; one that cannot be understood holds nothing back.
func (d *Desk) Silence(s *event.Silence) error {
	d.hushed++
	d.noteWork(s)
	return d.hush.Put(s)
}

// Unsilence forgets a silence.
func (d *Desk) Unsilence(id string) {
	if d.hush.Drop(id) {
		d.hushed++
	}
}

// Share has the desk judge by what is known beyond its own alerts and targets: the alerts that inhibit others, and whatever
// target somebody needs. Both may be nil. Hushed is to be called when what they say has changed.
func (d *Desk) Share(inhibitor *hush.Inhibitor, find func(id string) *event.Target) {
	d.inhibitor, d.everywhere = inhibitor, find
}

// Hushed takes in that what holds pages back is not what it was.
func (d *Desk) Hushed() { d.hushed++ }

// mutes are the reasons why nobody is to be called for an incident now: there are some when every alert that is the
// incident itself is held back. Of those that are not it finds the worst: by what is held back nobody is chosen.
func (d *Desk) mutes(inc *incident, now time.Time) []event.Reason {
	if d.hush == nil {
		return nil
	}
	known := inc.mutedBy == d.hushed && !inc.restless && now.Before(inc.mutedUntil)
	if known && len(inc.fresh) == 0 {
		return inc.muted
	}
	team := d.teamOf(inc)
	subject := hush.Subject{Target: inc.key.node.target, Find: d.known, Sources: d.inhibitor}
	holds := func(a *held) []event.Reason {
		subject.Labels, subject.Ways = a.event.Labels, d.ways.Route(a.event.Labels, team).times()
		if subject.Target = d.known(a.event.Target); subject.Target == nil {
			subject.Target = inc.key.node.target
		}
		return append(d.hush.Why(subject, now), d.absent(inc, a, now)...)
	}
	if known { // Something speaks: of what came since only what is worse matters.
		for _, a := range inc.fresh {
			if a.inc != inc || a.cause != nil || a == inc.speaks {
				continue
			}
			if a.hushed = !before(inc.speaks.event, a.event) && len(holds(a)) > 0; !a.hushed && before(a.event, inc.speaks.event) {
				inc.speaks = a
			}
		}
		inc.fresh, inc.worstOwn, inc.ranked = nil, inc.speaks, true
		return inc.muted
	}
	inc.mutedBy, inc.restless, inc.fresh = d.hushed, false, nil
	inc.mutedUntil = d.hush.Next(now)
	if inc.mutedUntil.IsZero() {
		inc.mutedUntil = now.Add(time.Hour)
	}
	inc.muted = nil
	var speaks, worst *held // The worst that nothing holds, and the worst that something does, whose reasons stand for all.
	for _, a := range inc.own {
		if a.hushed = false; speaks != nil && before(speaks.event, a.event) {
			continue // Nothing goes by it.
		}
		why := holds(a)
		if a.hushed = len(why) > 0; !a.hushed {
			speaks = a
		} else if worst == nil || before(a.event, worst.event) {
			worst, inc.muted = a, why
		}
	}
	inc.speaks, inc.worstOwn, inc.ranked = speaks, cmp.Or(speaks, worst), true
	switch {
	case speaks != nil:
		inc.muted = nil
	case worst == nil:
		subject.Labels = inc.labels()
		subject.Ways = d.ways.Route(subject.Labels, team).times()
		inc.muted = d.hush.Why(subject, now)
	}
	return inc.muted
}

// absent says what explains an alert on a target of another domain, where people are told of it. Before that is known the
// first page waits a little.
func (d *Desk) absent(inc *incident, a *held, now time.Time) []event.Reason {
	since, guest := d.guests[a.node]
	if !guest || d.abroad == nil || a.cause != nil {
		return nil
	}
	if since.IsZero() {
		since = now
		d.guests[a.node] = now
	}
	knows := d.abroad.knows() // Before why: what is known only then is known in time.
	why, until, is := d.abroad.why(a.node.target, d.known, now)
	if wait := since.Add(askAbroad); !is && !knows && len(inc.told) == 0 && now.Before(wait) {
		why, until, is = event.Reason{Code: ReasonAskingAbroad, Text: "what is down in its domain " + a.node.target.Domain() + " is being read"}, wait, true
	}
	if !is {
		return nil
	}
	if !until.IsZero() && until.Before(inc.mutedUntil) {
		inc.mutedUntil = until
	}
	return []event.Reason{why}
}

// known finds a target in whatever domain.
func (d *Desk) known(id string) *event.Target {
	if d.everywhere != nil {
		return d.everywhere(id)
	}
	return d.find(id)
}

// find finds a target among the desk's own.
func (d *Desk) find(id string) *event.Target {
	if n := d.graph.nodes[id]; n != nil {
		return n.target
	}
	return nil
}
