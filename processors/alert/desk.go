package alert

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"kemi.dev/kemi/bus/event"
)

// refreshAfter is how often an alert that goes on firing is said again: far less than what the topic keeps.
const refreshAfter = 24 * time.Hour

// rememberFor is how long it is remembered that a problem was resolved: as long as findings are kept, so that none
// that is delivered again can raise it.
const rememberFor = 7 * 24 * time.Hour

// patience is how long after a take-over nothing ends by time that was not said since: who says a problem again does so
// every minute or two, and could not be heard while nobody was there.
const patience = 2 * time.Minute

// ReasonOver is the code of the end of a problem that nobody said again.
const ReasonOver = "not-said-again"

// Desk holds the problems of one partition. It is for one goroutine.
type Desk struct {
	firing map[string]*event.Alert // never changed, only replaced
	// ends are those of firing that end by themselves.
	ends map[string]*event.Alert
	// untied are those of firing that may turn out to be about a target, strange those of them that came since Tie looked.
	untied, strange map[string]*event.Alert
	// over are those from elsewhere that are over, with what their keys in the topic need.
	over map[string]*event.Alert
	// inherited are those of ends that nobody said since the take-over.
	inherited map[string]bool
	// listens is when the desk first looked at the clock.
	listens time.Time
	// seen is the At of the newest finding about a problem, firing or not long resolved.
	seen map[string]time.Time
}

// NewDesk makes a desk that knows of no problem.
func NewDesk() *Desk {
	return &Desk{firing: map[string]*event.Alert{}, ends: map[string]*event.Alert{}, untied: map[string]*event.Alert{}, strange: map[string]*event.Alert{}, over: map[string]*event.Alert{}, inherited: map[string]bool{}, seen: map[string]time.Time{}}
}

// Load takes in what was last said of a problem. It keeps the alert, which must not change any more.
func (d *Desk) Load(a *event.Alert) {
	if a.Rule == event.RuleCanary {
		return
	}
	d.seen[strings.Clone(a.ID)] = a.Updated // The ID is a part of all that was read of the alert.
	d.hold(a)
	if d.ends[a.ID] != nil {
		d.inherited[a.ID] = true
	}
}

// hold takes in what an alert is now.
func (d *Desk) hold(a *event.Alert) {
	delete(d.ends, a.ID)
	delete(d.untied, a.ID)
	delete(d.strange, a.ID)
	delete(d.inherited, a.ID)
	delete(d.over, a.ID)
	if a.State != event.AlertFiring {
		delete(d.firing, a.ID)
		if strings.HasPrefix(a.Rule, event.RulePrefixElsewhere) {
			id := strings.Clone(a.ID)
			d.over[id] = &event.Alert{ID: id, Domain: strings.Clone(a.Domain), Updated: a.Updated}
		}
		return
	}
	d.firing[a.ID] = a
	if untied(a) {
		d.untied[a.ID], d.strange[a.ID] = a, a
	}
	if !a.Until.IsZero() {
		d.ends[a.ID] = a
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
		d.hold(a)
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
		d.hold(a)
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
			Severity: f.Labels.Get("severity"), Labels: f.Labels, Annotations: f.Annotations, Value: f.Value, Threshold: f.Threshold,
			StartsAt: f.Since, Until: f.Until, GeneratorURL: f.GeneratorURL, Updated: f.At, Finding: f.Identity(), Reason: f.Reason,
		}
	case old.Unknown, f.At.Sub(old.Updated) >= refreshAfter, f.Until.After(old.Until), saysMore(old, f), earlier(old, f), found(old, f):
		a = follow(old, f)
		a.Unknown, a.Value, a.Threshold, a.Annotations, a.GeneratorURL = false, f.Value, f.Threshold, f.Annotations, f.GeneratorURL
		// Several may say the same problem: as with Alertmanager the latest end of theirs counts.
		if f.Until.After(old.Until) {
			a.Until = f.Until
		}
		if earlier(old, f) {
			a.StartsAt = f.Since
		}
		if found(old, f) {
			a.Target, a.Team = f.Target, f.Team
		}
	default:
		return nil
	}
	d.hold(a)
	return a
}

// saysMore reports whether a finding from elsewhere has other texts than the alert: whoever judges by rules of ours has
// the number in them, and would say it every time.
func saysMore(old *event.Alert, f *event.Finding) bool {
	return !f.Until.IsZero() && !maps.Equal(f.Annotations, old.Annotations)
}

// found reports whether it is known by now which target a problem from elsewhere is about. It stays in its domain: in
// another it would be another problem.
func found(old *event.Alert, f *event.Finding) bool {
	return !f.Until.IsZero() && old.Target == "" && f.Target != ""
}

// earlier reports whether somebody else noticed the same problem before whoever said it first: as with Alertmanager the
// earliest beginning counts.
func earlier(old *event.Alert, f *event.Finding) bool {
	return !f.Until.IsZero() && f.Since.Before(old.StartsAt)
}

// Over returns the ends of the problems that nobody said again in time, by their ids. With those from before a take-over
// it waits: see patience.
func (d *Desk) Over(now time.Time) []*event.Alert {
	if d.listens.IsZero() {
		d.listens = now
	}
	patient := now.Sub(d.listens) < patience
	var over []*event.Alert
	for id, old := range d.ends {
		if now.Before(old.Until) || patient && d.inherited[id] {
			continue
		}
		a := *old
		a.State, a.Unknown, a.EndsAt, a.Updated = event.AlertResolved, false, a.Until, a.Until
		if a.Updated.Before(d.seen[id]) {
			a.Updated = d.seen[id]
		}
		a.Reason = event.Reason{Code: ReasonOver, Text: "nobody said again that it fires, which was to be done by " + a.Until.UTC().Format(time.RFC3339), Causes: []string{a.Finding}}
		d.seen[id] = a.Updated
		over = append(over, &a)
	}
	slices.SortFunc(over, func(a, b *event.Alert) int { return cmp.Compare(a.ID, b.ID) })
	for _, a := range over {
		d.hold(a)
	}
	return over
}

// follow is the alert after a finding, in a copy.
func follow(old *event.Alert, f *event.Finding) *event.Alert {
	a := *old
	a.Updated, a.Finding, a.Reason = f.At, f.Identity(), f.Reason
	if a.Updated.Before(old.Updated) { // See Tie.
		a.Updated = old.Updated
	}
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

// Old lists alerts from elsewhere that are over for so long that no finding about them can come again, some of them where
// there are many. They are to be taken out of the topic: others choose their labels, and may choose other ones each time.
func (d *Desk) Old(now time.Time, most int) []*event.Alert {
	var old []*event.Alert
	for _, a := range d.over {
		if now.Sub(a.Updated) > rememberFor {
			old = append(old, a)
		}
	}
	slices.SortFunc(old, func(a, b *event.Alert) int { return cmp.Or(a.Updated.Compare(b.Updated), cmp.Compare(a.ID, b.ID)) })
	return old[:min(len(old), most)]
}

// Removed takes in that alerts are no more in the topic.
func (d *Desk) Removed(gone []*event.Alert) {
	for _, a := range gone {
		delete(d.over, a.ID)
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
