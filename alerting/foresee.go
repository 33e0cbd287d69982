package alerting

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"kemi.dev/kemi/alerting/hush"
	"kemi.dev/kemi/alerting/oncall"
	"kemi.dev/kemi/internal/conf"
)

// foreseen is how far ahead a configuration is judged, and at how many instants a team at most.
const (
	foreseen    = 366 * 24 * time.Hour
	maxInstants = 20_000
)

// Foresee says what New cannot, because it depends on the time. Problems: a schedule or an escalation that has nobody, and
// will have nobody; they are none of New's, so that Kemi starts also on the day after somebody left. Notes: the same from
// some time of the next year on, gaps, steps and routes that reach nobody. Of a room that New found problems with it
// judges what those leave.
func (r *Room) Foresee(now time.Time) (problems, notes conf.Problems) {
	p := r.people
	notes = slices.Clone(p.notes)
	for _, name := range p.schedules {
		if gap, found := p.roster.Gap(name, now, now.Add(foreseen)); !found || p.brokenSchedules[name] {
			continue
		} else if gap.Always {
			problems = append(problems, gap.Problem)
		} else {
			notes = append(notes, gap.Problem)
		}
	}
	for _, name := range p.sound {
		never, more := p.foreseeTeam(name, now)
		problems, notes = append(problems, never...), append(notes, more...)
	}
	return problems, append(notes, p.foreseeRoutes(now)...)
}

// foreseeTeam says when nobody is called for a team.
func (p *people) foreseeTeam(name string, now time.Time) (problems, notes conf.Problems) {
	t := p.teams[name]
	var first, again time.Time // When nobody is called, and when somebody is again.
	times, before := 0, true   // How often that begins, and whether anybody was called at the instant before.
	ever := make([]bool, len(t.Escalation))
	for _, at := range p.instants(t, now) {
		anybody := false
		for i := range t.Escalation {
			if s, _ := p.Step(name, i, at); t.meant(t.Escalation[i], s) {
				ever[i], anybody = true, true
			}
		}
		if !anybody && before {
			times++
		}
		before = anybody
		switch {
		case !anybody && first.IsZero():
			first = at
		case anybody && !first.IsZero() && again.IsZero():
			again = at
		}
	}
	place := t.At
	if steps := t.Escalation[0].At; steps.Line > 0 {
		place = steps
	}
	if !slices.Contains(ever, true) {
		return conf.Problems{place.Problem(fmt.Sprintf("team %q calls nobody: %s", name, p.nobody(t, t.Escalation, now)), p.instead(t, now))}, nil
	}
	if !first.IsZero() {
		loc := p.roster.Location(t.Schedule)
		span := "until " + shownIn(again, loc)
		switch {
		case again.IsZero():
			span = "from " + shownIn(first, loc) + " on"
		case first.After(now):
			span = "from " + shownIn(first, loc) + " " + span
		}
		if times > 1 {
			span += fmt.Sprintf(" (and %d times more within a year)", times-1)
		}
		notes = append(notes, place.Problem(fmt.Sprintf("team %q calls nobody %s: %s", name, span, p.nobody(t, t.Escalation, first)), p.instead(t, first)))
	}
	for i, s := range t.Escalation {
		if !ever[i] && s.At.Line > 0 {
			notes = append(notes, s.At.Problem("this step calls nobody: "+p.nobody(t, t.Escalation[i:i+1], now), "name somebody else in to:, or remove the step"))
		}
	}
	return nil, notes
}

// meant says whether a step tells somebody who is meant: a person, or the receiver where that is named or there are no
// people. Where the team reads, beside members who have all left, is nobody who is called.
func (t *Team) meant(step EscalationStep, s Step) bool {
	return slices.ContainsFunc(s.Who, func(who string) bool {
		_, person := recipient(who)
		return person != "" || len(t.Members) == 0 || slices.ContainsFunc(step.To, func(m oncall.Member) bool { return m.Key == toReceiver })
	})
}

func shownIn(t time.Time, loc *time.Location) string {
	return t.In(loc).Format("Mon 2006-01-02 15:04 MST")
}

// instants are when who is called for a team may become another: now, and then whenever a shift begins or somebody leaves.
func (p *people) instants(t *Team, now time.Time) []time.Time {
	all, end := []time.Time{now}, now.Add(foreseen)
	add := func(at time.Time) {
		if at.After(now) && at.Before(end) {
			all = append(all, at)
		}
	}
	if t.calls() {
		for _, role := range []oncall.Role{oncall.Primary, oncall.Secondary} {
			for _, s := range p.roster.Shifts(t.Schedule, role, now, end) {
				add(s.From)
			}
		}
	}
	for _, who := range t.named() {
		add(p.roster.Leaves(who, t.Schedule))
	}
	slices.SortFunc(all, time.Time.Compare)
	all = slices.CompactFunc(all, time.Time.Equal)
	return all[:min(len(all), maxInstants)]
}

// nobody says why steps have nobody at an instant.
func (p *people) nobody(t *Team, steps []EscalationStep, at time.Time) string {
	var said []string
	say := func(what string) {
		if !slices.Contains(said, what) {
			said = append(said, what)
		}
	}
	left := func(role string, names ...string) {
		if len(names) > 0 {
			say(role + strings.Join(names, ", ") + map[bool]string{true: " has", false: " have"}[len(names) == 1] + " left")
		}
	}
	duty := func(role oncall.Role) {
		if s := p.roster.At(t.Schedule, role, at); s.Person == "" {
			say(fmt.Sprintf("%q has no %s (%s)", t.Schedule, role, s.Why.Text))
		}
	}
	for _, s := range steps {
		for _, m := range s.To {
			switch m.Key {
			case toPrimary:
				duty(oncall.Primary)
			case toSecondary:
				duty(oncall.Secondary)
			case toTeam:
				var names []string
				for _, member := range t.Members {
					names = append(names, member.Key)
				}
				left("of its members ", names...)
			case toManager:
				left("its manager ", t.Manager.Key)
			case toReceiver:
			default:
				left("", m.Key)
			}
		}
	}
	return strings.Join(said, ", ")
}

// instead says what happens to the pages of a team that calls nobody at an instant, see Desk.first, and what to do.
func (p *people) instead(t *Team, at time.Time) string {
	const do = "name somebody who is there then; "
	if t.Receiver != "" {
		return do + "as it is, " + t.Receiver + " is told and nobody is called"
	}
	if s, _ := p.Step(DefaultTeam, 0, at); len(s.Who) > 0 && p.team(DefaultTeam) != t {
		return do + "as it is, team " + DefaultTeam + " is told: " + s.Text
	}
	return do + "as it is, nobody hears of it"
}

// foreseeRoutes says which routes are mute all the time.
func (p *people) foreseeRoutes(now time.Time) (notes conf.Problems) {
	if p.intervals == nil {
		return nil
	}
	for _, m := range p.tree.Ways() {
		way := hush.Way{Mute: m.Mute, Active: m.Active}
		at, end := now, now.Add(foreseen)
		for at.Before(end) {
			until, mute := p.intervals.Mute(way, at)
			if !mute || !until.After(at) {
				break
			}
			at = until
		}
		if at.Before(end) {
			continue
		}
		why := "is in " + strings.Join(m.Mute, ", ")
		if len(m.Active) > 0 {
			why = "is never in " + strings.Join(m.Active, ", ")
		}
		one := m.At.Problem("this route tells nobody within a year: the time "+why, "correct the time_intervals, or name others")
		if !slices.Contains(notes, one) {
			notes = append(notes, one)
		}
	}
	return notes
}
