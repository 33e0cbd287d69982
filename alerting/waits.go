package alerting

import (
	"slices"
	"strings"
	"time"

	"kemi.dev/kemi/bus/event"
)

// ReasonRepeated: a receiver of a route is told again, because its repeat_interval has passed and nobody looks after it.
const ReasonRepeated = "repeated"

// Repeat is a receiver that a route tells again.
type Repeat struct {
	Receiver string
	// Every is how long after it was told last.
	Every time.Duration
}

// groupWait is how long the first page of an incident waits: as long as its route says.
func (d *Desk) groupWait(inc *incident, now time.Time) time.Duration {
	d.mutes(inc, now) // The route is that of what nothing holds back.
	if wait := d.ways.Route(inc.labels(), d.teamOf(inc)).GroupWait; wait != nil {
		return *wait
	}
	return d.policy.GroupWait
}

// planRepeats says when the receivers of its route are told again of an incident, which they are told of now, or were
// told of since. Whom a team calls again, and when, its escalation says.
func (d *Desk) planRepeats(inc *incident, now time.Time) {
	r := &inc.rec
	r.Repeats = nil
	for _, again := range d.ways.Route(inc.labels(), d.teamOf(inc)).Repeats {
		last := now
		if t := inc.calls[again.Receiver]; t.After(last) {
			last = t
		}
		at := last.Add(again.Every)
		i := slices.IndexFunc(r.Repeats, func(n event.NextStep) bool { return n.At.Equal(at) })
		if i < 0 {
			i = len(r.Repeats)
			r.Repeats = append(r.Repeats, event.NextStep{At: at})
		}
		r.Repeats[i].Who = append(r.Repeats[i].Who, again.Receiver)
	}
	for i := range r.Repeats {
		r.Repeats[i].Text = strings.Join(r.Repeats[i].Who, ", ") + " again"
	}
}

// repeat tells receivers again whose time has come. What was late is said once.
func (d *Desk) repeat(inc *incident, now time.Time) {
	r := &inc.rec
	if !slices.ContainsFunc(r.Repeats, func(n event.NextStep) bool { return !now.Before(n.At) }) {
		return
	}
	every := d.ways.Route(inc.labels(), d.teamOf(inc)).Repeats
	was := r.Repeats
	r.Repeats = nil // The pages say what comes next, so that a crash between page and record repeats nothing.
	type due struct {
		who string
		at  time.Time
	}
	var all []due
	for _, n := range was {
		var who []string
		var next time.Time
		for _, w := range n.Who {
			i := slices.IndexFunc(every, func(again Repeat) bool { return again.Receiver == w })
			if i < 0 {
				continue // Its route names it no more.
			}
			if who = append(who, w); now.Before(n.At) {
				next = n.At
				continue
			}
			all = append(all, due{w, n.At})
			if next = n.At.Add(every[i].Every); !next.After(now) {
				next = now.Add(every[i].Every)
			}
		}
		if len(who) > 0 {
			r.Repeats = append(r.Repeats, event.NextStep{At: next, Who: who, Text: strings.Join(who, ", ") + " again"})
		}
	}
	for _, one := range all {
		d.call(inc, []string{one.who}, int(one.at.UnixNano()), ReasonRepeated, now)
	}
	inc.say(d)
}
