package alerting

import (
	"strings"
	"time"

	"kemi.dev/kemi/alerting/hush"
	"kemi.dev/kemi/bus/event"
)

// Ways says who is told of an incident, and how. Its answers depend on what it is asked, the time and what people said.
// Whoever is told is written as receiver, or receiver/person.
type Ways interface {
	// Route says by which ways what has these labels and belongs to a team is told.
	Route(labels event.Labels, team string) Route
	// Urgency says how a team is told of a severity now.
	Urgency(team, severity string, now time.Time) (event.Urgency, event.Reason)
	// Step is the n-th step of a team's escalation, from 0, as it would be taken now; ok is false when there are no more.
	Step(team string, n int, now time.Time) (s Step, ok bool)
	// Person says by which way a person is told first; "" when there is none.
	Person(name string) string
}

// Route is where something goes.
type Route struct {
	// Receivers are told once, whatever the urgency.
	Receivers []string
	// Team is told by its own way; "" when none is.
	Team string
	// Channel is where the team reads what is not worth a call.
	Channel []string
	// GroupWait is how long the first page waits, the shortest of the routes; nil when they do not say.
	GroupWait *time.Duration
	// Repeats are those of Receivers that are told again.
	Repeats []Repeat
	// Ways are those of the route with the times at which they are mute.
	Ways []Way
	// Asleep are those of whom only mute ways tell now, see at.
	Asleep []Way
}

// Way is one way of a route: to a receiver, or to a team, which reads in Channel.
type Way struct {
	hush.Way

	Receiver, Team string
	Channel        []string
	until          time.Time // Of those asleep: when to look again.
}

// Step is one step of an escalation.
type Step struct {
	// Who is called.
	Who []string
	// After is how long after the escalation began.
	After time.Duration
	// Text says for people who that is.
	Text string
}

// recipient splits one of whom is told.
func recipient(who string) (receiver, person string) {
	receiver, person, _ = strings.Cut(who, "/")
	return receiver, person
}

// whoOf is whom a page goes to.
func whoOf(p *event.Page) string {
	if p.Person == "" {
		return p.Receiver
	}
	return p.Receiver + "/" + p.Person
}
