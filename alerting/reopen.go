package alerting

import (
	"cmp"
	"slices"
	"time"

	"kemi.dev/kemi/bus/event"
)

// What fires again soon after its incident was over by itself is the same incident again: it keeps its identity, and
// whoever was told of it is told once that it fires again. Until then it is treated as one of which nobody was told yet:
// it is verified, goes into what explains it, or is over before its page was due without a word to anybody.

// ReasonReopened: it was over, and fires again.
const ReasonReopened = "fires-again"

// maxReopened is how many times of when it fired again a record keeps.
const maxReopened = 20

// restKey is by what an incident that is over is found: its cause, or one of its own alerts.
type restKey struct{ cause, alert string }

// rest keeps the record of an incident that was over by itself, in case it fires again.
func (d *Desk) rest(r *event.Incident) {
	if d.policy.ReopenWithin <= 0 || r.State != event.IncidentResolved || r.Reason.Code == ReasonByHand || len(r.Told) == 0 {
		return
	}
	for _, k := range d.restKeys(r) {
		if old := d.resting[k]; old == nil || !r.ResolvedAt.Before(old.ResolvedAt) {
			d.resting[k] = r
		}
	}
}

func (d *Desk) unrest(r *event.Incident) {
	for _, k := range d.restKeys(r) {
		if old := d.resting[k]; old != nil && old.ID == r.ID {
			delete(d.resting, k)
		}
	}
}

// restKeys are by what a record is found: an alert on a target that is also down for other reasons is a problem of its own.
func (d *Desk) restKeys(r *event.Incident) []restKey {
	var keys []restKey
	if r.Kind != event.IncidentOwn {
		keys = append(keys, restKey{cause: r.Cause})
	}
	for _, a := range r.Alerts {
		if r.Kind == event.IncidentOwn || r.Kind == event.IncidentDown && a.Target == r.Cause && d.unreachable.MatchString(a.Name) {
			keys = append(keys, restKey{alert: a.ID})
		}
	}
	return keys
}

// firesAgain finds what was over a moment ago and fires again as k, because of a; nil when that is a new problem.
func (d *Desk) firesAgain(k key, a *held, now time.Time) *event.Incident {
	var r *event.Incident
	if rec := d.resting[restKey{alert: a.event.ID}]; a.node == k.node {
		r = rec
	}
	if r == nil && (!k.own || k.node.group) {
		r = d.resting[restKey{cause: k.node.id}]
	}
	if r == nil || now.Sub(r.ResolvedAt) > d.policy.ReopenWithin || d.incidents[r.ID] != nil {
		return nil
	}
	return r
}

// start makes the incident of a key; a is the alert that it is for. What fires again is the incident that it was.
func (d *Desk) start(k key, a *held, now time.Time) *incident {
	if r := d.firesAgain(k, a, now); r != nil {
		return d.reopen(r, k, a, now)
	}
	return d.open(k, a, now)
}

func (d *Desk) reopen(before *event.Incident, k key, a *held, now time.Time) *incident {
	d.unrest(before)
	inc := &incident{key: k, members: map[string]*held{}, verifySince: now, first: now, before: before, former: before.Told, overAt: before.ResolvedAt, fire: fireKey{target: k.node.id}}
	if k.own {
		inc.fire.name = cmp.Or(fireOf(before).name, a.event.Name)
	}
	inc.rec = *before
	r := &inc.rec
	r.State, r.ResolvedAt, r.Reason = event.IncidentVerifying, time.Time{}, event.Reason{Code: ReasonVerifying}
	if a.spoke != "" {
		r.Reason = event.Reason{Code: ReasonSpoke, Causes: []string{a.spoke, a.event.ID}}
	}
	r.Round, r.Step, r.Next, r.Told, r.Severity = r.Round+1, 0, nil, nil, ""
	r.Suppressed, r.SuppressedTotal, r.SuppressedPeak, r.Examples, r.Left, r.Roots = nil, 0, nil, nil, nil, nil
	r.Flapping, r.Cleared, r.Joined = "", "", 0
	if r.Ack != nil && !r.Ack.Until.IsZero() && !now.Before(r.Ack.Until) {
		r.Ack = nil
	}
	if !now.Before(r.SnoozedUntil) {
		r.SnoozedUntil = time.Time{}
	}
	r.Reopened = append(slices.Clone(r.Reopened), now)
	r.Reopened = r.Reopened[max(0, len(r.Reopened)-maxReopened):]
	said := event.Change{At: now, Text: "fires again: it was over for " + now.Sub(before.ResolvedAt).Round(time.Second).String()}
	r.Changes = newest(append([]event.Change{said}, r.Changes...), now)
	d.incidents[r.ID], d.order = inc, append(d.order, inc)
	d.waiting++
	inc.attach(d, k)
	return inc
}

// remind tells those who heard that it is over that it fires again, and calls nobody: somebody looks after it, or wants
// no call before a time.
func (d *Desk) remind(inc *incident, now time.Time) {
	inc.told, inc.former = inc.former, nil
	d.heard(inc, now)
	d.render(inc, now)
	inc.toldSeverity = inc.worst()
	for _, who := range inc.told {
		d.page(inc, who, event.PageUpdate, inc.sequence(), ReasonReopened, now)
	}
	inc.updates++
	inc.say(d)
}

// sequence is that of the next update.
func (inc *incident) sequence() int { return inc.rec.Round*steps + inc.updates }

// fired is when a recorded incident turned out to be there: when it was opened, and whenever it fired again.
func fired(r *event.Incident) []time.Time {
	again := r.Reopened
	switch {
	case len(again) > 0 && r.State == event.IncidentVerifying:
		again = again[:len(again)-1] // Of this one it is not known yet.
	case len(again) > 0:
	case r.State == event.IncidentVerifying, r.Reason.Code == ReasonUnanswered:
		return nil
	}
	return append([]time.Time{r.OpenedAt}, again...)
}

// fireOf is by what a recorded incident flaps.
func fireOf(r *event.Incident) fireKey {
	fire := fireKey{target: r.Cause}
	if r.Kind == event.IncidentOwn && len(r.Alerts) > 0 {
		fire.name = r.Alerts[0].Name
	}
	return fire
}

// remembers says whether the desk can do with the record of an incident that is over.
func (p Policy) remembers(r *event.Incident, now time.Time) bool {
	return now.Sub(r.ResolvedAt) <= max(p.FlapWindow, p.ReopenWithin) || r.Reason.Code == ReasonByHand && r.Firing > 0
}

// forgetRested forgets what is over for so long that it would be a new problem.
func (d *Desk) forgetRested(now time.Time) {
	for k, r := range d.resting {
		if now.Sub(r.ResolvedAt) > d.policy.ReopenWithin {
			delete(d.resting, k)
		}
	}
}

// lastBegan is when the incident was opened, or fired again last.
func lastBegan(r *event.Incident) time.Time {
	if n := len(r.Reopened); n > 0 {
		return r.Reopened[n-1]
	}
	return r.OpenedAt
}

// overFor is who is to hear that an incident is over. Of one that fired again and was over before anybody heard of it
// they have heard that already, and it is over since then.
func (inc *incident) overFor() []string {
	if len(inc.told) > 0 || len(inc.former) == 0 {
		return inc.told
	}
	inc.told = inc.former
	if !inc.overAt.IsZero() {
		inc.rec.ResolvedAt = inc.overAt
	}
	return nil
}
