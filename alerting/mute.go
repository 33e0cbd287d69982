package alerting

import (
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
// incident itself is held back.
func (d *Desk) mutes(inc *incident, now time.Time) []event.Reason {
	if d.hush == nil {
		return nil
	}
	if inc.mutedBy == d.hushed && !inc.restless && now.Before(inc.mutedUntil) {
		return inc.muted
	}
	route := d.ways.Route(inc.labels(), d.teamOf(inc))
	subject := hush.Subject{Target: inc.key.node.target, Find: d.known, Ways: route.Ways, Sources: d.inhibitor}
	inc.mutedBy, inc.restless = d.hushed, false
	inc.mutedUntil = d.hush.Next(now)
	if inc.mutedUntil.IsZero() {
		inc.mutedUntil = now.Add(time.Hour)
	}
	inc.muted = nil
	worst := inc.severe() // It stands for all: the reasons do not change with the order in which alerts are looked at.
	for _, a := range inc.own {
		subject.Labels = a.event.Labels
		if subject.Target = d.known(a.event.Target); subject.Target == nil {
			subject.Target = inc.key.node.target
		}
		why := d.hush.Why(subject, now)
		if len(why) == 0 {
			inc.muted = nil
			return nil
		}
		if a == worst {
			inc.muted = why
		}
	}
	if len(inc.own) == 0 {
		subject.Labels = inc.labels()
		inc.muted = d.hush.Why(subject, now)
	}
	return inc.muted
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
