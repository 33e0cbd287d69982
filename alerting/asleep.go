package alerting

import (
	"slices"
	"strings"
	"time"

	"kemi.dev/kemi/alerting/hush"
	"kemi.dev/kemi/bus/event"
)

// Of several ways of a route each may be mute by itself: whom only mute ways tell is asleep, and is told when that is
// over. Until then the record says so among the Repeats, which is how it outlives a restart. When every way is mute the
// incident is held back as a whole, see mutes.

// untilMute ends what is said for people of those who are asleep.
const untilMute = ", mute until then"

// route is by which ways an incident is told now.
func (d *Desk) route(inc *incident, now time.Time) Route {
	return d.ways.Route(inc.labels(), d.teamOf(inc)).at(d.hush, now)
}

// times are those at which the ways of a route are mute.
func (r Route) times() []hush.Way {
	var out []hush.Way
	for _, w := range r.Ways {
		out = append(out, w.Way)
	}
	return out
}

// at is the route without those who are asleep.
func (r Route) at(holds *hush.Set, now time.Time) Route {
	if holds == nil {
		return r
	}
	var open, mute []Way
	for _, w := range r.Ways {
		if until, is := holds.Mute(w.Way, now); is {
			w.until = until
			mute = append(mute, w)
		} else {
			open = append(open, w)
		}
	}
	if len(open) == 0 || len(mute) == 0 {
		return r
	}
	r.Receivers, r.Team, r.Channel, r.Asleep = nil, "", nil, nil
	for _, w := range open {
		switch {
		case w.Receiver != "" && !slices.Contains(r.Receivers, w.Receiver):
			r.Receivers = append(r.Receivers, w.Receiver)
		case w.Team != "" && r.Team == "":
			r.Team, r.Channel = w.Team, w.Channel
		}
	}
	for _, w := range mute {
		same := func(o Way) bool { return o.Receiver == w.Receiver && o.Team == w.Team }
		if slices.ContainsFunc(open, same) {
			continue
		}
		if i := slices.IndexFunc(r.Asleep, same); i < 0 {
			r.Asleep = append(r.Asleep, w)
		} else if w.until.Before(r.Asleep[i].until) {
			r.Asleep[i].until = w.until
		}
	}
	return r
}

// asleep is until when somebody is, who is a receiver or a team.
func (r Route) asleep(receiver, team string) (until time.Time, is bool) {
	for _, w := range r.Asleep {
		if w.Receiver == receiver && w.Team == team {
			return w.until, true
		}
	}
	return time.Time{}, false
}

// awake is those of them who are not reached by mute ways alone.
func (d *Desk) awake(route Route, who []string, now time.Time) []string {
	who = slices.Clone(who)
	if len(route.Asleep) == 0 {
		return who
	}
	everybody := func(team string) (all []string) {
		for n := 0; team != ""; n++ {
			s, ok := d.ways.Step(team, n, now)
			if all = append(all, s.Who...); !ok {
				break
			}
		}
		return all
	}
	on := slices.Concat(route.Receivers, route.Channel, everybody(route.Team))
	var off []string
	for _, w := range route.Asleep {
		off = append(append(append(off, w.Receiver), w.Channel...), everybody(w.Team)...)
	}
	return slices.DeleteFunc(who, func(w string) bool { return slices.Contains(off, w) && !slices.Contains(on, w) })
}

// await notes when those who are asleep are told, but for receivers that need not be, and reports whether there are any.
func (d *Desk) await(inc *incident, route Route, not ...string) bool {
	r, before := &inc.rec, len(inc.rec.Repeats)
	r.Repeats = slices.Clone(r.Repeats)
	for _, w := range route.Asleep {
		switch {
		case w.Team == "" && !slices.Contains(not, w.Receiver) && !slices.ContainsFunc(r.Repeats, func(n event.NextStep) bool { return slices.Contains(n.Who, w.Receiver) }):
			inc.later(w.until, w.Receiver, true)
		case w.Team != "":
			d.awaitTeam(inc, w)
		}
	}
	return len(r.Repeats) > before
}

// awaitTeam notes when a team that is asleep is told: when it is the one that the route goes to by then, and not called
// by itself.
func (d *Desk) awaitTeam(inc *incident, w Way) {
	r := &inc.rec
	if r.Next != nil && r.Next.Team == w.Team || slices.ContainsFunc(r.Repeats, func(n event.NextStep) bool { return n.Team == w.Team }) {
		return
	}
	if d.route(inc, w.until).Team == w.Team {
		who, _ := d.first(Route{Team: w.Team, Channel: w.Channel}, r.Urgency, w.until)
		if len(who) > 0 {
			r.Repeats = append(r.Repeats, event.NextStep{At: w.until, Team: w.Team, Who: who, Asleep: true, Text: "the team " + w.Team + untilMute})
		}
	}
}

// postpone has a step of a team that is asleep wait; when the route goes to another team by now, that one is told.
func (d *Desk) postpone(inc *incident, team string, now time.Time) bool {
	r, route := &inc.rec, d.route(inc, now)
	until, is := route.asleep("", team)
	switch {
	case !is:
		return false
	case route.Team != "":
		r.Next = nil
		d.wake(inc, route, now)
	default:
		s, _ := d.ways.Step(team, r.Step, until)
		r.Next = &event.NextStep{At: until, Team: team, Who: s.Who, Text: strings.TrimPrefix(s.Text+untilMute, ", ")}
	}
	inc.say(d)
	return true
}

// wake tells the team of a route, which was asleep.
func (d *Desk) wake(inc *incident, route Route, now time.Time) {
	r := &inc.rec
	if r.Next != nil && r.Next.Team == route.Team {
		return // Its escalation goes on.
	}
	who, step := d.first(Route{Team: route.Team, Channel: route.Channel}, r.Urgency, now)
	who = slices.DeleteFunc(who, func(w string) bool { return slices.Contains(route.Receivers, w) })
	if r.Round++; step > 0 && r.Urgency == event.UrgencyPage {
		r.Step, r.Next = step, nil
		d.plan(inc, route.Team, now)
	}
	d.await(inc, route, inc.told...)
	d.call(inc, who, r.Round*steps, ReasonUnmuted, now)
}
