package alerting

import (
	"maps"
	"slices"
	"strings"
	"time"

	"kemi.dev/kemi/alerting/hush"
	"kemi.dev/kemi/alerting/notify"
	"kemi.dev/kemi/alerting/oncall"
	"kemi.dev/kemi/alerting/route"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/conf"
)

// people are the teams and persons of a configuration: the Ways of a running Kemi.
type people struct {
	receivers map[string]notify.Notifier // Nil where it has a mistake.
	teams     map[string]*Team
	persons   map[string]oncall.Person
	schedules []string // Sorted.
	roster    *oncall.Roster
	tree      *route.Tree
	intervals *hush.Set // Only asked for its intervals and rules, which never change.

	broken, brokenSchedules map[string]bool // People and schedules that could not be read.
	sound                   []string        // Teams about which, and about whose schedule, nothing is wrong.
	notes                   conf.Problems   // What is no mistake, and maybe not meant.
}

// newPeople reads who there is and says everything that is wrong with it; wait is the first page's where no route says.
func newPeople(o Options, receivers map[string]notify.Notifier, kinds []string, wait time.Duration) (*people, conf.Problems) {
	p := &people{receivers: maps.Clone(receivers), teams: map[string]*Team{}, broken: map[string]bool{}, brokenSchedules: map[string]bool{}}
	if p.receivers[logReceiver] == nil {
		p.receivers[logReceiver] = nil // It is there all the same.
	}
	persons, schedules := map[string]oncall.Person{}, map[string]*oncall.Schedule{}
	p.persons, p.schedules = persons, slices.Sorted(maps.Keys(o.Schedules))
	var problems conf.Problems
	for _, key := range slices.Sorted(maps.Keys(o.People)) {
		var person oncall.Person
		more := o.People[key].Into(&person)
		problems, p.broken[key] = append(problems, more...), len(more) > 0
		persons[key] = person
		more, notes := p.judgeWays(key, person, o.People[key], kinds)
		problems, p.notes = append(problems, more...), append(p.notes, notes...)
	}
	for _, name := range p.schedules {
		schedule := &oncall.Schedule{}
		more := o.Schedules[name].Into(schedule)
		problems, p.brokenSchedules[name] = append(problems, more...), len(more) > 0
		schedules[name] = schedule
	}
	var more conf.Problems
	if p.roster, more = oncall.New(persons, schedules); len(more) > 0 {
		problems = append(problems, more...)
	}
	if p.intervals, more = hush.New(o.Holds); len(more) > 0 {
		problems = append(problems, more...)
	}
	intervals, all := o.Holds.Intervals()
	for _, name := range slices.Sorted(maps.Keys(o.Teams)) {
		team := &Team{}
		n := o.Teams[name]
		more := n.Into(team)
		if n.Kind() == conf.Map || n.Kind() == conf.Null {
			more = append(more, p.judge(name, team, n)...)
			if all {
				more = append(more, team.Urgency.Check(intervals)...)
			}
		}
		if len(team.Escalation) == 0 {
			team.Escalation = team.usual()
		}
		if s := schedules[team.Schedule]; s != nil && team.calls() {
			more = append(more, p.judgeTurns(s)...)
		}
		if len(more) == 0 && (team.Schedule == "" || !p.brokenSchedules[team.Schedule] && slices.Contains(p.roster.Schedules(), team.Schedule)) {
			p.sound = append(p.sound, name)
		}
		problems = append(problems, more...)
		p.teams[name] = team
	}
	if _, there := o.Teams[DefaultTeam]; !there && len(o.Teams) > 0 {
		first := slices.Min(slices.Collect(maps.Keys(o.Teams)))
		problems = append(problems, o.Teams[first].Problem(`there is no team "`+DefaultTeam+`", which takes the pages of whatever belongs to no other`,
			"add "+DefaultTeam+": {receiver: …} to teams; {receiver: log} when the log will do"))
	}
	known := route.Known{
		Receivers: slices.Sorted(maps.Keys(p.receivers)), Teams: slices.Sorted(maps.Keys(o.Teams)), Intervals: intervals, AnyInterval: !all,
		Lacks: func(receiver string) (what, do string) { return p.lacks(receiver, "") },
	}
	p.tree, more = route.New(o.Route, known, route.Waits{GroupWait: wait})
	problems = append(problems, more...)
	if p.teams[DefaultTeam] == nil {
		// Somebody must hear of it, if only the log.
		team := &Team{Receiver: logReceiver}
		team.Escalation = team.usual()
		p.teams[DefaultTeam] = team
	}
	return p, problems
}

// team is a team by name; teams that nobody configured are as the default team.
func (p *people) team(name string) *Team {
	if t := p.teams[name]; t != nil {
		return t
	}
	return p.teams[DefaultTeam]
}

// Route implements Ways.
func (p *people) Route(labels event.Labels, team string) Route {
	var r Route
	ways := p.tree.Match(labelsWith(labels, team))
	for _, m := range ways {
		if wait := m.GroupWait; p.tree != nil && (r.GroupWait == nil || wait < *r.GroupWait) {
			r.GroupWait = &wait
		}
		way := Way{Way: hush.Way{Route: m.Where(), Mute: m.Mute, Active: m.Active}, Receiver: m.Receiver, Team: m.Team}
		if t := p.team(m.Team); m.Team != "" && t.Receiver != "" {
			way.Channel = []string{t.Receiver}
		}
		r.Ways = append(r.Ways, way)
		switch {
		case m.Receiver != "":
			if !slices.Contains(r.Receivers, m.Receiver) {
				r.Receivers = append(r.Receivers, m.Receiver)
			}
			r.repeat(m.Receiver, m.RepeatInterval)
		case r.Team == "":
			r.Team = m.Team
		}
	}
	if t := p.team(r.Team); r.Team != "" && t.Receiver != "" {
		r.Channel = []string{t.Receiver}
	}
	return r
}

// repeat notes that a receiver is told again; when routes do not agree how often, as often as one says. Zero is never.
func (r *Route) repeat(receiver string, every time.Duration) {
	i := slices.IndexFunc(r.Repeats, func(again Repeat) bool { return again.Receiver == receiver })
	switch {
	case every == 0:
	case i < 0:
		r.Repeats = append(r.Repeats, Repeat{receiver, every})
	default:
		r.Repeats[i].Every = min(r.Repeats[i].Every, every)
	}
}

// labelsWith are labels with the team that owns what they are of, which is the target's whatever its rule says.
func labelsWith(labels event.Labels, team string) event.Labels {
	m := labels.Map()
	m[route.TeamLabel] = team
	return event.LabelsOf(m)
}

// Urgency implements Ways.
func (p *people) Urgency(team, severity string, now time.Time) (event.Urgency, event.Reason) {
	t := p.team(team)
	return t.Urgency.Of(severity, now, p.intervals.In)
}

// Step implements Ways.
func (p *people) Step(team string, n int, now time.Time) (Step, bool) {
	t := p.team(team)
	if n < 0 || n >= len(t.Escalation) {
		return Step{}, false
	}
	s := Step{After: t.Escalation[n].After}
	var said []string
	add := func(role, who string) {
		if who == "" || slices.Contains(s.Who, who) {
			return
		}
		s.Who = append(s.Who, who)
		receiver, person := recipient(who)
		if person == "" {
			person = receiver
		}
		said = append(said, strings.TrimSpace(role+" "+person))
	}
	here := func(name string) string {
		if p.roster.Left(name, t.Schedule, now) {
			return ""
		}
		return p.Person(name)
	}
	for _, m := range t.Escalation[n].To {
		switch m.Key {
		case toPrimary:
			add("the primary", p.Person(p.roster.At(t.Schedule, oncall.Primary, now).Person))
		case toSecondary:
			add("the secondary", p.Person(p.roster.At(t.Schedule, oncall.Secondary, now).Person))
		case toTeam:
			for _, member := range t.Members {
				add("", here(member.Key))
			}
			add("", t.Receiver)
		case toManager:
			if t.Manager != nil {
				add("the manager", here(t.Manager.Key))
			}
		case toReceiver:
			add("", t.Receiver)
		default:
			add("", here(m.Key))
		}
	}
	s.Text = strings.Join(said, ", ")
	return s, true
}

// Person implements Ways.
func (p *people) Person(name string) string {
	who, known := p.roster.Person(name)
	if !known || len(who.Ways) == 0 {
		return ""
	}
	return who.Ways[0] + "/" + name
}

// after is the person's next way after one that did not work; "" when there is none.
func (p *people) after(receiver, person string) string {
	who, known := p.roster.Person(person)
	if i := slices.Index(who.Ways, receiver); known && i >= 0 && i+1 < len(who.Ways) {
		return who.Ways[i+1]
	}
	return ""
}

// contact is how a person is reached.
func (p *people) contact(name string) (notify.Contact, bool) {
	who, known := p.roster.Person(name)
	return contactOf(who), known
}
