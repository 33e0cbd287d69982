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
// told of since, and when those who are asleep are, but for receivers that need not be. Whom a team calls again, and when, its escalation says.
func (d *Desk) planRepeats(inc *incident, now time.Time, not ...string) {
	route := d.route(inc, now)
	inc.rec.Repeats = nil
	for _, again := range route.Repeats {
		if _, asleep := route.asleep(again.Receiver, ""); !asleep || slices.Contains(not, again.Receiver) {
			last := now
			if t := inc.calls[again.Receiver]; t.After(last) {
				last = t
			}
			inc.later(last.Add(again.Every), again.Receiver, false)
		}
	}
	d.await(inc, route, not...)
}

// later notes that a receiver is told at a time: again, or for the first time when it is asleep until then.
func (inc *incident) later(at time.Time, receiver string, asleep bool) {
	r := &inc.rec
	i := slices.IndexFunc(r.Repeats, func(n event.NextStep) bool {
		return n.At.Equal(at) && n.Team == "" && n.Asleep == asleep
	})
	if i < 0 {
		i = len(r.Repeats)
		r.Repeats = append(r.Repeats, event.NextStep{At: at, Asleep: asleep})
	}
	r.Repeats[i].Who = append(slices.Clone(r.Repeats[i].Who), receiver)
	said := " again"
	if asleep {
		said = untilMute
	}
	r.Repeats[i].Text = strings.Join(r.Repeats[i].Who, ", ") + said
}

// repeat tells receivers again whose time has come, and those who were asleep until now. What was late is said once.
func (d *Desk) repeat(inc *incident, now time.Time) {
	r := &inc.rec
	if !slices.ContainsFunc(r.Repeats, func(n event.NextStep) bool { return !now.Before(n.At) }) {
		return
	}
	route := d.route(inc, now)
	was := r.Repeats
	r.Repeats = nil // The pages say what comes next, so that a crash between page and record repeats nothing.
	type due struct {
		who, code string
		at        time.Time
	}
	var all []due
	wakes := false
	for _, n := range was {
		late := !now.Before(n.At)
		if n.Team != "" {
			until, asleep := route.asleep("", n.Team)
			switch {
			case !late:
				r.Repeats = append(r.Repeats, n)
			case asleep:
				n.At = until
				r.Repeats = append(r.Repeats, n)
			default:
				wakes = wakes || n.Team == route.Team
			}
			continue
		}
		code := ReasonRepeated
		if n.Asleep {
			code = ReasonUnmuted
		}
		for _, w := range n.Who {
			i := slices.IndexFunc(route.Repeats, func(again Repeat) bool { return again.Receiver == w })
			until, asleep := route.asleep(w, "")
			switch {
			case !asleep && !slices.Contains(route.Receivers, w), i < 0 && !n.Asleep:
				// Its route names it no more.
			case !late:
				inc.later(n.At, w, n.Asleep)
			case asleep:
				inc.later(until, w, n.Asleep)
			default:
				all = append(all, due{w, code, n.At})
				if i < 0 {
					break
				}
				next := n.At.Add(route.Repeats[i].Every)
				if !next.After(now) {
					next = now.Add(route.Repeats[i].Every)
				}
				inc.later(next, w, false)
			}
		}
	}
	for _, one := range all {
		d.call(inc, []string{one.who}, int(one.at.UnixNano()), one.code, now)
	}
	if wakes {
		d.wake(inc, route, now)
	}
	inc.say(d)
}
