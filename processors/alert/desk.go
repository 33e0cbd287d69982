package alert

import (
	"time"

	"kemi.dev/kemi/bus/event"
)

// refreshAfter is how often an alert that goes on firing is said again: far less than what the topic keeps.
const refreshAfter = 24 * time.Hour

// rememberFor is how long it is remembered that a problem was resolved: as long as findings are kept, so that none
// that is delivered again can raise it.
const rememberFor = 7 * 24 * time.Hour

// Desk holds the problems of one partition. It is for one goroutine.
type Desk struct {
	firing map[string]*event.Alert // never changed, only replaced
	// seen is the At of the newest finding about a problem, firing or not long resolved.
	seen map[string]time.Time
}

// NewDesk makes a desk that knows of no problem.
func NewDesk() *Desk {
	return &Desk{firing: map[string]*event.Alert{}, seen: map[string]time.Time{}}
}

// Load takes in what was last said of a problem. It keeps the alert, which must not change any more.
func (d *Desk) Load(a *event.Alert) {
	if a.Rule == event.RuleCanary {
		return
	}
	d.seen[a.ID] = a.Updated
	if a.State == event.AlertFiring {
		d.firing[a.ID] = a
	} else {
		delete(d.firing, a.ID)
	}
}

// Finding returns the transition that follows from a finding, nil if none does.
func (d *Desk) Finding(f *event.Finding) *event.Alert {
	switch f.Rule {
	case event.RuleReachable:
		return nil
	case event.RuleCanary:
		return canaryAlert(f)
	}
	id := event.AlertID(f.Rule, f.Labels)
	if f.At.Before(d.seen[id]) {
		return nil // Said again, or late: what came after it is known already.
	}
	d.seen[id] = f.At
	old := d.firing[id]
	switch f.Verdict {
	case event.VerdictFiring:
		return d.isFiring(id, old, f)
	case event.VerdictUnknown:
		if old == nil || (old.Unknown && f.At.Sub(old.Updated) < refreshAfter) {
			return nil
		}
		a := follow(old, f)
		a.Unknown = true
		d.firing[id] = a
		return a
	case event.VerdictOK:
		if old == nil {
			return nil
		}
		a := follow(old, f)
		a.State, a.Unknown, a.Value = event.AlertResolved, false, f.Value
		if a.EndsAt = f.Since; a.EndsAt.Before(a.StartsAt) {
			a.EndsAt = a.StartsAt
		}
		delete(d.firing, id)
		return a
	}
	return nil
}

func (d *Desk) isFiring(id string, old *event.Alert, f *event.Finding) *event.Alert {
	var a *event.Alert
	switch {
	case old == nil:
		a = &event.Alert{
			ID: id, Name: f.Alert, Rule: f.Rule, State: event.AlertFiring, Target: f.Target, Team: f.Team, Domain: f.Domain,
			Severity: f.Labels.Get("severity"), Labels: f.Labels, Annotations: f.Annotations, Value: f.Value,
			StartsAt: f.Since, Updated: f.At, Finding: f.Identity(), Reason: f.Reason,
		}
	case old.Unknown, f.At.Sub(old.Updated) >= refreshAfter:
		a = follow(old, f)
		a.Unknown, a.Value, a.Annotations = false, f.Value, f.Annotations
	default:
		return nil
	}
	d.firing[id] = a
	return a
}

// follow is the alert after a finding, in a copy.
func follow(old *event.Alert, f *event.Finding) *event.Alert {
	a := *old
	a.Updated, a.Finding, a.Reason = f.At, f.Identity(), f.Reason
	return &a
}

// canaryAlert carries the canary's trip on: an alert that never fires.
func canaryAlert(f *event.Finding) *event.Alert {
	return &event.Alert{
		ID: event.AlertID(f.Rule, event.Labels{{Name: "target", Value: f.Target}}), Name: event.RuleCanary, Rule: event.RuleCanary,
		State: event.AlertResolved, Target: f.Target, Team: f.Team, Domain: f.Domain, Labels: f.Labels,
		StartsAt: f.At, EndsAt: f.At, Updated: f.At, Finding: f.Identity(), Reason: f.Reason,
	}
}

// Sweep forgets problems that were resolved so long ago that no finding about them can come again.
func (d *Desk) Sweep(now time.Time) {
	for id, at := range d.seen {
		if d.firing[id] == nil && now.Sub(at) > rememberFor {
			delete(d.seen, id)
		}
	}
}

// Firing counts the alerts that fire, and those of them without data.
func (d *Desk) Firing() (firing, unknown int) {
	for _, a := range d.firing {
		if a.Unknown {
			unknown++
		}
	}
	return len(d.firing), unknown
}
