package alerting

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"kemi.dev/kemi/bus/event"
)

// Codes of the reasons for what is said to whom.
const (
	// ReasonAckExpired: nobody acknowledged it any more, and it is still there.
	ReasonAckExpired = "acknowledgement-expired"
	// ReasonUnacknowledged: the acknowledgement was taken back.
	ReasonUnacknowledged = "unacknowledged"
	// ReasonSnoozeOver: it was snoozed, and is still there.
	ReasonSnoozeOver = "snooze-over"
	// ReasonUnmuted: what held its pages back is over, and it is still there.
	ReasonUnmuted = "unmuted"
	// ReasonEscalated: nobody acknowledged it in time.
	ReasonEscalated = "escalated"
	// ReasonAssigned: somebody gave it to the person.
	ReasonAssigned = "assigned"
	// ReasonMoreUrgent: it became urgent enough to call somebody.
	ReasonMoreUrgent = "more-urgent"
	// ReasonWorse: it got worse, and is now for others, too.
	ReasonWorse = "worse"
	// ReasonByHand: somebody resolved it.
	ReasonByHand = "resolved-by-hand"
	// ReasonLogOnly: its urgency is that nobody is told.
	ReasonLogOnly = "urgency-log"
)

// labels are what routes and mute times go by: those of the worst of the incident's own alerts; of a target that is down before an
// alert says so its own.
func (inc *incident) labels() event.Labels {
	if a := inc.severe(); a != nil {
		return a.event.Labels
	}
	if t := inc.key.node.target; t != nil {
		return append(t.EffectiveLabels(), event.Label{Name: "severity", Value: inc.rec.Severity})
	}
	return nil
}

// lookedAfter says whether somebody looks after an incident, or wants no call before a time.
func (inc *incident) lookedAfter() bool {
	return inc.rec.Ack != nil || !inc.rec.SnoozedUntil.IsZero()
}

// tellWhenDue says that an incident is there, or that it fires again, when it is time and nothing holds that back.
func (d *Desk) tellWhenDue(inc *incident, now time.Time) {
	held := d.held(inc, now)
	switch {
	case now.Before(inc.pageAt):
	case !held && !d.gather(inc, now):
		d.tell(inc, now)
	case held && len(inc.former) > 0 && len(inc.rec.Muted) == 0:
		d.remind(inc, now)
	}
}

// lead decides what is said of an incident whose cause is known as well as it can be.
func (d *Desk) lead(inc *incident, now time.Time) {
	r := &inc.rec
	if len(inc.told) == 0 {
		if inc.key.own || inc.key.node.gone() || len(inc.own) > 0 { // Else it is back, and so may be what it took along.
			d.tellWhenDue(inc, now)
		}
		return
	}
	if d.explained(inc, now) { // Its people are not called for what is not theirs.
		inc.updateAt = now.Add(d.settle(inc.key.node))
	}
	switch held := d.held(inc, now); {
	case held:
		d.tellGrown(inc, now)
		if len(r.Muted) > 0 {
			inc.paused = true
		}
		if r.Next != nil || r.Repeats != nil {
			r.Next, r.Repeats = nil, nil
			inc.say(d)
		}
		if !inc.updateAt.IsZero() && !now.Before(inc.updateAt) {
			d.retell(inc, now) // It wakes nobody who was not told.
		}
		return
	case inc.paused && inc.resume == "" && d.called(inc, now):
		d.goOn(inc, now)
	case inc.paused:
		d.again(inc, cmp.Or(inc.resume, ReasonUnmuted), now)
	}
	if inc.worsened() {
		d.render(inc, now) // Urgency goes by it.
	}
	team := d.teamOf(inc)
	if r.Urgency == event.UrgencyNotify || r.Urgency == event.UrgencyLog {
		if urgency, _ := d.ways.Urgency(team, r.Severity, now); urgency == event.UrgencyPage {
			r.Urgency = urgency
			d.again(inc, ReasonMoreUrgent, now)
		}
	}
	if inc.worsened() {
		d.widen(inc, now)
	}
	switch {
	case r.Next == nil || now.Before(r.Next.At):
	case r.Next.Anew:
		d.again(inc, ReasonUnmuted, now)
	default:
		d.step(inc, ReasonEscalated, now)
	}
	d.repeat(inc, now)
	if !inc.updateAt.IsZero() && !now.Before(inc.updateAt) {
		d.retell(inc, now)
	}
}

// held says whether nobody is to be called for the incident now, and ends what is over of that.
func (d *Desk) held(inc *incident, now time.Time) bool {
	r := &inc.rec
	over := ""
	if r.Ack != nil && !r.Ack.Until.IsZero() && !now.Before(r.Ack.Until) {
		r.Ack, over = nil, ReasonAckExpired
	}
	if !r.SnoozedUntil.IsZero() && !now.Before(r.SnoozedUntil) {
		r.SnoozedUntil, over = time.Time{}, ReasonSnoozeOver
	}
	muted := d.mutes(inc, now)
	if !sameReasons(muted, r.Muted) && (len(muted) > 0 || r.Muted[0].Code != ReasonLogOnly) {
		r.Muted = muted
		inc.say(d)
	}
	held := inc.lookedAfter() || len(muted) > 0
	switch {
	case over != "" && held:
		inc.paused, inc.resume = true, over
	case over != "":
		d.again(inc, over, now)
	}
	return held
}

func sameReasons(a, b []event.Reason) bool {
	return slices.EqualFunc(a, b, func(x, y event.Reason) bool {
		return x.Code == y.Code && x.Text == y.Text && slices.Equal(x.Causes, y.Causes)
	})
}

// tell says for the first time that the incident is there.
func (d *Desk) tell(inc *incident, now time.Time) {
	r := &inc.rec
	d.render(inc, now)
	team := d.teamOf(inc)
	route := d.route(inc, now)
	var why event.Reason
	r.Urgency, why = d.ways.Urgency(team, r.Severity, now)
	who, step := d.first(route, r.Urgency, now)
	if len(who) == 0 {
		if muted := []event.Reason{{Code: ReasonLogOnly, Text: why.Text}}; !sameReasons(muted, r.Muted) {
			r.Muted = muted
			inc.say(d)
		}
		return
	}
	d.heard(inc, now)
	if r.Urgency == event.UrgencyPage && route.Team != "" {
		r.Step = step
		d.plan(inc, route.Team, now)
	}
	code := ""
	if len(inc.former) > 0 {
		code = ReasonReopened
	}
	if r.Urgency == event.UrgencyPage { // What is not worth a call any more is told as anything new is.
		who = append(who, d.awake(route, inc.former, now)...)
	}
	inc.former = nil
	d.planRepeats(inc, now)
	d.call(inc, who, r.Round*steps, code, now)
}

// heard notes that people hear of an incident as it is now.
func (d *Desk) heard(inc *incident, now time.Time) {
	r := &inc.rec
	inc.toldCause, inc.toldTeam, inc.toldAt, inc.updateAt, inc.paused, inc.resume, r.Muted = r.Cause, d.teamOf(inc), now, time.Time{}, false, "", nil
	if inc.key.own && d.flapping[inc.fire] != inc && d.byKey[inc.key] == inc && r.Kind != event.IncidentSimilar {
		delete(d.byKey, inc.key) // What comes later is another problem and pages by itself.
	}
}

// first is who is told first by a route, and how many steps of the escalation that is: a step that has nobody, such as
// a primary outside of office hours, is passed over. When no step has anybody the team's channel is told, or the default
// team.
func (d *Desk) first(route Route, urgency event.Urgency, now time.Time) (who []string, step int) {
	who = slices.Clone(route.Receivers)
	if route.Team == "" || urgency == event.UrgencyLog {
		return who, 0
	}
	if urgency == event.UrgencyNotify {
		if who = append(who, route.Channel...); len(who) > 0 {
			return who, 0
		}
		// Nobody reads for the team: whoever is on call does.
	}
	for n := 0; ; n++ {
		s, ok := d.ways.Step(route.Team, n, now)
		if len(s.Who) > 0 {
			return append(who, s.Who...), n + 1
		}
		if !ok {
			break
		}
	}
	if who = append(who, route.Channel...); len(who) == 0 {
		s, _ := d.ways.Step(DefaultTeam, 0, now)
		who = s.Who
	}
	return who, 0
}

// call pages people, each once, whatever they were told before; code says why, "" is because of what the incident is.
func (d *Desk) call(inc *incident, who []string, sequence int, code string, now time.Time) {
	var each []string
	for _, w := range who {
		if !slices.Contains(each, w) {
			each = append(each, w)
		}
		if !slices.Contains(inc.told, w) {
			inc.told = append(inc.told, w)
		}
	}
	d.render(inc, now)
	inc.toldSeverity = inc.worst()
	if escalates(code) {
		inc.calledAt = now
	}
	if inc.calls == nil {
		inc.calls = map[string]time.Time{}
	}
	for _, w := range each {
		inc.calls[w] = now
		d.page(inc, w, event.PageFiring, sequence, code, now)
	}
	inc.say(d)
}

// escalates says whether somebody is called because the escalation begins or goes on.
func escalates(code string) bool { return code != ReasonAssigned && code != ReasonRepeated }

// plan says what the next step of the escalation will be, and when.
func (d *Desk) plan(inc *incident, team string, now time.Time) {
	r := &inc.rec
	begun := now
	if r.Next != nil && now.Sub(r.Next.At) < lateStep {
		begun = r.Next.At // Steps do not drift.
	}
	r.Next = nil
	s, ok := d.ways.Step(team, r.Step, begun)
	if !ok || inc.rec.Ack != nil {
		return
	}
	before := time.Duration(0)
	if b, ok := d.ways.Step(team, r.Step-1, begun); ok && r.Step > 0 {
		before = b.After
	}
	at := begun.Add(s.After - before)
	s, _ = d.ways.Step(team, r.Step, at)
	r.Next = &event.NextStep{At: at, Team: team, Who: s.Who, Text: s.Text}
}

// lateStep is how late a step may be taken and the next still be due at its own time: after a longer absence steps keep
// their distance, so that not everybody is called in one moment.
const lateStep = 30 * time.Second

// steps bounds the steps of one round, and keeps the identities of its pages apart from those of the next.
const steps = 1000

// step takes the next step of the escalation.
func (d *Desk) step(inc *incident, code string, now time.Time) {
	r := &inc.rec
	team := cmp.Or(r.Next.Team, d.ways.Route(inc.labels(), d.teamOf(inc)).Team, d.teamOf(inc))
	if d.postpone(inc, team, now) {
		return
	}
	s, ok := d.ways.Step(team, r.Step, now)
	if !ok {
		r.Next = nil
		return
	}
	sequence := r.Round*steps + r.Step
	r.Step++
	d.plan(inc, team, now)
	d.call(inc, s.Who, sequence, code, now)
}

// Told takes in that the ledger tells somebody by another way: there it is told that it is over, too.
func (d *Desk) Told(p *event.Page) {
	if inc := d.incidents[p.Incident]; inc != nil && !slices.Contains(inc.told, whoOf(p)) {
		inc.told = append(inc.told, whoOf(p))
		inc.touch(d)
		inc.say(d)
	}
}

// again begins the escalation anew: what was held back or looked after is still there.
func (d *Desk) again(inc *incident, code string, now time.Time) {
	inc.paused, inc.resume = false, ""
	if len(inc.told) == 0 || inc.rec.State != event.IncidentOpen {
		return
	}
	r := &inc.rec
	r.Round++
	r.Step, r.Next = 0, nil
	route := d.route(inc, now)
	who := d.awake(route, inc.told, now)
	if r.Urgency == event.UrgencyPage {
		if who, r.Step = d.first(route, r.Urgency, now); r.Step > 0 {
			d.plan(inc, route.Team, now)
		}
	}
	d.planRepeats(inc, now)
	d.call(inc, who, r.Round*steps, code, now)
}

// sameRound is for how long after a call the end of a silence does not call the same people anew: who was called a moment
// ago is at it.
const sameRound = 5 * time.Minute

// called says whether those with whom an escalation begins were all called only a moment ago.
func (d *Desk) called(inc *incident, now time.Time) bool {
	who, _ := d.first(d.route(inc, now), inc.rec.Urgency, now)
	return !slices.ContainsFunc(who, func(w string) bool { return now.Sub(inc.calls[w]) >= sameRound })
}

// goOn takes the escalation up where it was held back. When nothing of it is left it begins anew, in its time: somebody is to
// hear that it is still there, and not after each of several silences.
func (d *Desk) goOn(inc *incident, now time.Time) {
	inc.paused = false
	route := d.route(inc, now)
	if r := &inc.rec; r.Urgency == event.UrgencyPage && route.Team != "" && r.Step > 0 {
		d.plan(inc, route.Team, inc.calledAt)
	}
	d.planRepeats(inc, inc.calledAt)
	if inc.rec.Next == nil && inc.rec.Repeats == nil {
		inc.rec.Next = d.anew(inc, route, now)
	}
	inc.say(d)
}

// anew is when those with whom an escalation begins are called again who were called only a moment ago.
func (d *Desk) anew(inc *incident, route Route, now time.Time) *event.NextStep {
	who, _ := d.first(route, inc.rec.Urgency, now)
	at := now
	var names []string
	for i, w := range who {
		if again := inc.calls[w].Add(sameRound); i == 0 || again.Before(at) {
			at = again
		}
		receiver, person := recipient(w)
		names = append(names, cmp.Or(person, receiver))
	}
	return &event.NextStep{At: at, Team: route.Team, Who: who, Anew: true, Text: strings.Join(names, ", ") + " again"}
}

// widen calls those whom what got worse is for and who were not called yet. Another team's escalation begins with them.
func (d *Desk) widen(inc *incident, now time.Time) {
	r := &inc.rec
	inc.toldSeverity = inc.worst()
	route := d.route(inc, now)
	who, step := d.first(route, r.Urgency, now)
	who = slices.DeleteFunc(who, func(w string) bool { return slices.Contains(inc.told, w) })
	if step > 0 && (r.Next == nil && len(who) > 0 || r.Next != nil && r.Next.Team != route.Team) {
		r.Round, r.Step, r.Next = r.Round+1, step, nil
		d.plan(inc, route.Team, now)
		inc.say(d)
	}
	if len(who) > 0 {
		d.planRepeats(inc, now, inc.told...)
		d.call(inc, who, r.Round*steps, ReasonWorse, now)
	} else if d.await(inc, route, inc.told...) {
		inc.say(d)
	}
}
