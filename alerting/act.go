package alerting

import (
	"slices"
	"time"

	"kemi.dev/kemi/bus/event"
)

// Command takes in what somebody says about an incident, and reports whether it was about one that is open here and was
// not known yet. What is said twice counts once.
func (d *Desk) Command(c *event.Command, now time.Time) bool {
	inc := d.incidents[c.Subject]
	if inc == nil || inc.closed || inc.byHand || inc.rec.Shows(c) {
		return false
	}
	r := &inc.rec
	if n := len(r.Reopened); n > 0 && c.At.Before(r.Reopened[n-1]) {
		return false // It was about a time that is over: it came too late then, and may come again after a restart.
	}
	text := c.Comment
	switch c.Kind {
	case event.Acknowledge:
		until := c.At.Add(d.policy.AckFor)
		if t, err := time.Parse(time.RFC3339, c.Args["until"]); err == nil {
			until = t
		}
		if !until.After(now) {
			return false // It has expired since.
		}
		r.Ack, r.Next, inc.paused, inc.resume = &event.Ack{By: c.By, At: c.At, Until: until, Comment: c.Comment}, nil, false, ""
	case event.Unacknowledge:
		if r.Ack == nil || c.At.Before(r.Ack.At) {
			return false
		}
		r.Ack, inc.paused, inc.resume = nil, true, ReasonUnacknowledged
	case event.Assign:
		r.Assignee = c.Args["to"]
		text = "to " + r.Assignee
		if who := d.ways.Person(r.Assignee); who != "" && r.State == event.IncidentOpen {
			d.call(inc, []string{who}, int(c.At.UnixNano()), ReasonAssigned, now) // No two acts are of one moment.
		}
	case event.Remark:
	case event.Snooze:
		until, err := time.Parse(time.RFC3339, c.Args["until"])
		if err != nil || !until.After(now) {
			return false
		}
		r.SnoozedUntil, r.Next, inc.paused, inc.resume = until, nil, false, ""
	case event.Resolve:
		defer d.resolveByHand(inc, c, now)
	default:
		return false
	}
	r.Acts = append(slices.Clone(r.Acts), event.Act{Kind: c.Kind, By: c.By, At: c.At, Text: cut(text, maxText)})
	r.Acts = r.Acts[max(0, len(r.Acts)-event.MaxActs):]
	inc.touch(d)
	inc.say(d)
	return true
}

// resolveByHand tells everybody that it is over. What still fires of it stays with it, so that nobody is called for that
// again until it fires anew.
func (d *Desk) resolveByHand(inc *incident, c *event.Command, now time.Time) {
	r := &inc.rec
	inc.setDoubts(d, nil, now)
	d.decided(inc)
	ended := now
	if c.At.Before(now) {
		ended = c.At
	}
	r.State, r.ResolvedAt, r.Next, r.Repeats, r.Ack, r.SnoozedUntil, r.Muted = event.IncidentResolved, ended, nil, nil, nil, time.Time{}, nil
	r.Reason = event.Reason{Code: ReasonByHand, Text: cut(c.Comment, maxText), Causes: nonEmpty(c.By)}
	inc.byHand = true
	d.refuse(inc)
	if d.byKey[inc.key] == nil {
		d.byKey[inc.key] = inc
	}
	d.close(inc, now)
	inc.say(d)
}

// Codes of the reasons why nobody is called about an incident any more, by what people did.
const (
	// ReasonAcknowledged: somebody looks after it.
	ReasonAcknowledged = "acknowledged"
	// ReasonSnoozed: nobody is to be called before a time.
	ReasonSnoozed = "snoozed"
)

// Quiet says why nobody is to be called about an incident now, also by a page that was decided before.
func (d *Desk) Quiet(incident string) (why event.Reason, is bool) {
	inc := d.incidents[incident]
	if inc == nil {
		return why, false
	}
	switch r := &inc.rec; {
	case r.Ack != nil:
		return event.Reason{Code: ReasonAcknowledged, Text: r.Ack.By + " looks after it"}, true
	case !r.SnoozedUntil.IsZero():
		return event.Reason{Code: ReasonSnoozed, Text: "nobody is to be called before " + r.SnoozedUntil.UTC().Format(time.DateTime) + " UTC"}, true
	case len(r.Muted) > 0:
		return r.Muted[0], true
	}
	return why, false
}
