package alerting

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"kemi.dev/kemi/alerting/oncall"
	"kemi.dev/kemi/alerting/route"
	"kemi.dev/kemi/internal/conf"
)

// Team is who owns things, as it stands under `teams:`.
type Team struct {
	At conf.Pos
	// Receiver is where the team reads; without a schedule and members it is what is told of everything.
	Receiver string `yaml:"receiver"`
	// Members of the team, and who leads it.
	Members []oncall.Member `yaml:"members"`
	Manager *oncall.Member  `yaml:"manager"`
	// Schedule is who of them is on call.
	Schedule string `yaml:"schedule"`
	// Escalation is who is called when nobody acknowledges.
	Escalation []EscalationStep `yaml:"escalation"`
	// Urgency says which severities call people, and when.
	Urgency route.Urgency `yaml:"urgency"`
}

// EscalationStep is a step of an escalation.
type EscalationStep struct {
	At conf.Pos
	// After is how long after the escalation began.
	After time.Duration `yaml:"after"`
	// To is who is called: primary, secondary, team, manager, receiver, or a person.
	To []oncall.Member `yaml:"to"`
}

// Words of an escalation that are no people.
const (
	toPrimary   = "primary"
	toSecondary = "secondary"
	toTeam      = "team"
	toManager   = "manager"
	toReceiver  = "receiver"
)

// usual is the escalation of a team that has a schedule and says nothing.
func (t *Team) usual() []EscalationStep {
	step := func(after time.Duration, to string) EscalationStep {
		return EscalationStep{After: after, To: []oncall.Member{{Key: to}}}
	}
	if t.Schedule == "" && len(t.Members) == 0 {
		return []EscalationStep{step(0, toReceiver)}
	}
	var all []EscalationStep
	if t.Schedule != "" {
		all = append(all, step(0, toPrimary), step(5*time.Minute, toPrimary), step(10*time.Minute, toSecondary))
	}
	if len(t.Members) > 0 {
		after := 20 * time.Minute
		if len(all) == 0 {
			after = 0
		}
		all = append(all, step(after, toTeam))
	}
	if t.Manager != nil {
		all = append(all, step(30*time.Minute, toManager))
	}
	return all
}

func teamKeys() []string {
	return []string{"receiver", "members", "manager", "schedule", "escalation", "urgency"}
}

// Validate implements conf.Validator.
func (t *Team) Validate() []conf.Complaint {
	var all []conf.Complaint
	last := time.Duration(-1)
	for i, s := range t.Escalation {
		at := "escalation." + strconv.Itoa(i)
		if len(s.To) == 0 {
			all = append(all, conf.Complaint{Field: at, What: "this step calls nobody", Do: "write to: [primary], secondary, team, manager, receiver or a person"})
		}
		switch {
		case s.After < 0 || s.After > 7*24*time.Hour:
			all = append(all, conf.Complaint{Field: at + ".after", What: "after is out of range", Do: "use 0s to 7d: it counts from the beginning of the escalation"})
		case s.After < last:
			all = append(all, conf.Complaint{Field: at + ".after", What: "this step comes before the one above it", Do: "after counts from the beginning of the escalation: write the steps in their order"})
		}
		last = s.After
	}
	return all
}

// judge says what is wrong with a team, seen with everything else.
func (p *people) judge(name string, t *Team, n conf.Node) conf.Problems {
	var problems conf.Problems
	say := func(at conf.Node, what, do string) {
		if at.IsZero() {
			at = n
		}
		problems = append(problems, at.Problem(what, do))
	}
	// What is not there may only be misspelt or unreadable, which was said.
	absent := func(keys ...string) bool {
		for _, key := range n.Keys() {
			if !slices.Contains(teamKeys(), key.Text()) {
				return false
			}
		}
		return !slices.ContainsFunc(keys, func(key string) bool { return len(n.Get(key).Items()) > 0 || n.Get(key).Text() != "" })
	}
	if _, there := p.receivers[t.Receiver]; t.Receiver == "" && t.Schedule == "" && len(t.Members) == 0 && absent("receiver", "schedule", "members") {
		say(n, `team "`+name+`" has no receiver`, "write receiver: and the name of one of your receivers")
	} else if t.Receiver != "" && !there {
		say(n.Get("receiver"), `there is no receiver "`+t.Receiver+`"`, suggest(t.Receiver, slices.Sorted(maps.Keys(p.receivers)), "the receivers are "))
	} else if what, do := p.lacks(t.Receiver, ""); what != "" {
		say(n.Get("receiver"), what, do)
	}
	if t.Schedule != "" && !slices.Contains(p.schedules, t.Schedule) {
		say(n.Get("schedule"), `there is no schedule "`+t.Schedule+`"`, suggest(t.Schedule, p.schedules, "the schedules are "))
	}
	person := func(m oncall.Member, words ...string) {
		switch who, known := p.persons[m.Key]; {
		case m.Key == "" || known && p.broken[m.Key]: // Was said.
		case !known:
			problems = append(problems, m.At.Problem(`there is no person "`+m.Key+`"`, suggest(m.Key, append(words, slices.Sorted(maps.Keys(p.persons))...), "the people are ")))
		case len(who.Ways) == 0:
			problems = append(problems, m.At.Problem(m.Key+" has no way to be reached", "give people: "+m.Key+": ways: [a receiver]"))
		}
	}
	for _, m := range t.Members {
		person(m)
	}
	if t.Manager != nil {
		person(*t.Manager)
	}
	for _, s := range t.Escalation {
		for _, m := range s.To {
			switch lacks := func(what string) {
				if absent(what) {
					problems = append(problems, m.At.Problem(`team "`+name+`" has no `+what+", so that nobody is called", "give it "+what+":, or name a person"))
				}
			}; {
			case m.Key == toPrimary || m.Key == toSecondary:
				if t.Schedule == "" {
					lacks("schedule")
				}
			case m.Key == toTeam:
				if len(t.Members) == 0 && t.Receiver == "" {
					lacks("members")
				}
			case m.Key == toManager:
				if t.Manager == nil {
					lacks("manager")
				}
			case m.Key == toReceiver:
				if t.Receiver == "" {
					lacks("receiver")
				}
			default:
				person(m, stepWords()...)
			}
		}
	}
	return problems
}
