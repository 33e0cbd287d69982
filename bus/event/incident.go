package event

import (
	"slices"
	"strconv"
	"time"
)

// IncidentState says how far an incident is. More may come.
type IncidentState string

// The states of an incident.
const (
	// IncidentVerifying: its cause is being verified; nobody was told yet.
	IncidentVerifying IncidentState = "verifying"
	IncidentOpen      IncidentState = "open"
	IncidentResolved  IncidentState = "resolved"
)

// IncidentKind says what is wrong with the cause. More may come.
type IncidentKind string

// The kinds of incident.
const (
	// IncidentDown: the cause does not answer, and with it everything that needs it.
	IncidentDown IncidentKind = "down"
	// IncidentOwn: alerts on a target that answers, or of which nobody can tell.
	IncidentOwn IncidentKind = "own"
	// IncidentSimilar: alerts of one team on targets of one class, at about the same time, and no cause is known that
	// explains them, or behind a target that was told as their cause and is not; Cause is no target then.
	IncidentSimilar IncidentKind = "similar"
)

// Incident is one cause and everything it explains.
type Incident struct {
	// ID is computed from domain, first cause and opening time.
	ID string `json:"id"`
	// Domain is the part of the world in which causes are sought together.
	Domain string `json:"domain"`
	// State of the incident in this revision.
	State IncidentState `json:"state"`
	// Kind of the incident.
	Kind IncidentKind `json:"kind,omitempty"`
	// Team is told about it.
	Team string `json:"team"`
	// Cause is the target that explains the rest; it may change (re-rooted) while the incident is open.
	Cause string `json:"cause"`
	// Title is one line for people.
	Title string `json:"title"`
	// Severity is the highest of its alerts.
	Severity string `json:"severity,omitempty"`
	// Alerts are the alerts that are the incident itself, the first of them.
	Alerts []IncidentAlert `json:"alerts,omitempty"`
	// Firing counts all of its alerts that fire now.
	Firing int `json:"firing"`
	// Left are alerts that were the incident itself and are over while it is open, the last of those of late, oldest first:
	// one that fires again soon is part of it again.
	Left []AlertLeft `json:"left,omitempty"`
	// Suppressed counts what the cause explains: targets by class.
	Suppressed map[string]int `json:"suppressed,omitempty"`
	// SuppressedTotal is their sum.
	SuppressedTotal int `json:"suppressed_total,omitempty"`
	// SuppressedPeak counts what the cause explained when that was the most, while Suppressed counts fewer; once it is over,
	// Suppressed counts that.
	SuppressedPeak map[string]int `json:"suppressed_peak,omitempty"`
	// Examples are some of the alerts that the cause explains.
	Examples []SuppressedAlert `json:"examples,omitempty"`
	// Roots are targets that the incident is about without an alert of their own: what fires behind them says that they are not
	// there, each by itself. Only of incidents of similar alerts.
	Roots []string `json:"roots,omitempty"`
	// Joined counts what went into an incident of similar alerts without a word to anybody after people were told of it.
	Joined int `json:"joined,omitempty"`
	// OpenedAt is since when there is the incident.
	OpenedAt time.Time `json:"opened_at"`
	// Reopened is when it fired again after it was over, the last times of that, oldest first.
	Reopened []time.Time `json:"reopened,omitempty"`
	// ResolvedAt is since when it is over; only when resolved.
	ResolvedAt time.Time `json:"resolved_at,omitzero"`
	// Updated is when this revision became true.
	Updated time.Time `json:"updated"`
	// Revision grows by one with every change.
	Revision int `json:"revision"`
	// Told lists who was told that it is firing, as receiver or receiver/person: they are told when it resolves,
	// unless the receiver is set not to be.
	Told []string `json:"told,omitempty"`
	// Urgency decides how people are told: see Urgency's values. Empty in records of before there was one.
	Urgency Urgency `json:"urgency,omitempty"`
	// Suspected says that nobody could verify the cause: it is what everything that fails has in common. Suppressed counts
	// what fires then.
	Suspected bool `json:"suspected,omitempty"`
	// Flapping says how often it came and went, when that was too often: it stays open until it is calm, and nobody is called
	// anew before. Empty when it does not flap.
	Flapping string `json:"flapping,omitempty"`
	// Cleared is the target that people were told of as the cause and that is none, or none any more.
	Cleared string `json:"cleared,omitempty"`
	// Muted are the reasons why nobody is called for it now; empty when nothing holds its pages back.
	Muted []Reason `json:"muted,omitempty"`
	// Ack is who looks after it; none when nobody said so, or not any more.
	Ack *Ack `json:"ack,omitempty"`
	// Assignee is whom it was given to.
	Assignee string `json:"assignee,omitempty"`
	// SnoozedUntil is until when nobody is to be called for it.
	SnoozedUntil time.Time `json:"snoozed_until,omitzero"`
	// Step counts the steps of the escalation that were taken in this round, Round how often it began anew.
	Step int `json:"step,omitempty"`
	// Round counts how often the escalation began anew: what was acknowledged, snoozed or silenced was still there.
	Round int `json:"round,omitempty"`
	// Next is what happens when nobody does anything.
	Next *NextStep `json:"next,omitempty"`
	// Repeats are when receivers that a route names are told again, and whom its mute ways name are told, if nobody does anything.
	Repeats []NextStep `json:"repeats,omitempty"`
	// Acts are what people did about it, the last MaxActs of them, oldest first.
	Acts []Act `json:"acts,omitempty"`
	// Changes are what changed lately on the cause, newest first.
	Changes []Change `json:"changes,omitempty"`
	// Reason of this revision.
	Reason Reason `json:"reason"`
}

// Urgency says how people are told. More may come.
type Urgency string

// The urgencies.
const (
	// UrgencyPage calls the person on duty.
	UrgencyPage Urgency = "page"
	// UrgencyNotify tells the team, and calls nobody.
	UrgencyNotify Urgency = "notify"
	// UrgencyLog tells nobody: it can be looked up.
	UrgencyLog Urgency = "log"
)

// Coming is what happens first when nobody does anything; nil is nothing.
func (i *Incident) Coming() *NextStep {
	first := i.Next
	for n := range i.Repeats {
		if again := &i.Repeats[n]; first == nil || again.At.Before(first.At) {
			first = again
		}
	}
	return first
}

// Ack says that somebody looks after an incident. Until it ends nobody else is called.
type Ack struct {
	// By is who said so.
	By string `json:"by"`
	// At is when.
	At time.Time `json:"at"`
	// Until is when it ends: if the problem is still there then, the escalation goes on.
	Until time.Time `json:"until,omitzero"`
	// Comment is for people.
	Comment string `json:"comment,omitempty"`
}

// NextStep is a step of the escalation that will be taken unless somebody acknowledges or it is over.
type NextStep struct {
	// At is when.
	At time.Time `json:"at"`
	// Team whose step it is.
	Team string `json:"team,omitempty"`
	// Who is called then, as receiver or receiver/person.
	Who []string `json:"who,omitempty"`
	// Asleep says that they were not told yet: the routes that name them are mute until then.
	Asleep bool `json:"asleep,omitempty"`
	// Anew says that the escalation begins anew then: a silence ended a moment after they were told.
	Anew bool `json:"anew,omitempty"`
	// Text says it in words.
	Text string `json:"text"`
}

// Act is something that somebody did about an incident.
type Act struct {
	// Kind of the act: the command's.
	Kind CommandKind `json:"kind"`
	// By is who did it.
	By string `json:"by,omitempty"`
	// At is when.
	At time.Time `json:"at"`
	// Text is what they said, or whom or until when.
	Text string `json:"text,omitempty"`
}

// Change is something that changed on a target.
type Change struct {
	// At is when.
	At time.Time `json:"at"`
	// Text says what.
	Text string `json:"text"`
}

// Reasons of incidents that were only ever a question: another incident explains it, or it was over while its cause was
// still being verified.
const (
	ReasonMerged     = "merged"
	ReasonUnanswered = "over-before-verified"
)

// MaxActs is how many acts a record keeps.
const MaxActs = 20

// Shows reports whether the record shows that a command was taken in. Of very many acts it keeps the last: a command that is
// older than all of them is taken for one of those before.
func (i *Incident) Shows(c *Command) bool {
	if slices.ContainsFunc(i.Acts, func(a Act) bool { return a.Kind == c.Kind && a.By == c.By && a.At.Equal(c.At) }) {
		return true
	}
	return len(i.Acts) >= MaxActs && c.At.Before(i.Acts[0].At)
}

// Question reports whether the incident was only ever a question, over before anybody was told: lists leave it out.
func (i *Incident) Question() bool {
	return i.State == IncidentResolved && len(i.Told) == 0 && (i.Reason.Code == ReasonMerged || i.Reason.Code == ReasonUnanswered)
}

// AlertLeft is an alert that is over while its incident is not.
type AlertLeft struct {
	// ID of the alert; of one of the Roots its name behind "root/".
	ID string `json:"id"`
	// At is since when it is over.
	At time.Time `json:"at"`
}

// IncidentAlert is an alert as its incident shows it.
type IncidentAlert struct {
	// ID of the alert.
	ID string `json:"id"`
	// Name of the alert.
	Name string `json:"name"`
	// Target is the id of the target that the alert is about.
	Target string `json:"target"`
	// State of the alert.
	State AlertState `json:"state"`
	// Severity of the alert.
	Severity string `json:"severity,omitempty"`
	// Summary is the alert's annotation of that name.
	Summary string `json:"summary,omitempty"`
	// Description is the alert's annotation of that name, shortened.
	Description string `json:"description,omitempty"`
	// Runbook is the alert's annotation runbook_url: what to do.
	Runbook string `json:"runbook,omitempty"`
	// Graph shows the rule where it was judged; only an alert from elsewhere has it.
	Graph string `json:"graph,omitempty"`
	// Labels of the alert, those that identify it.
	Labels Labels `json:"labels,omitempty"`
	// Value of the rule's expression.
	Value float64 `json:"value"`
	// Threshold is what the rule compares the value with, such as "> 0.9"; empty when it compares with no level.
	Threshold string `json:"threshold,omitempty"`
	// StartsAt is since when the problem is there.
	StartsAt time.Time `json:"starts_at"`
}

// SuppressedAlert is an alert that pages nobody, and why.
type SuppressedAlert struct {
	// ID of the alert.
	ID string `json:"id"`
	// Name of the alert.
	Name string `json:"name"`
	// Target is the id of the target that the alert is about.
	Target string `json:"target"`
	// Class of the target.
	Class string `json:"class,omitempty"`
	// Reason why it pages nobody.
	Reason Reason `json:"reason"`
}

// Topic implements Event.
func (i *Incident) Topic() Topic { return topicIncidents }

// Identity implements Event: the incident in this revision.
func (i *Incident) Identity() string { return ComputeID("incident", i.ID, strconv.Itoa(i.Revision)) }

// Key implements Event.
func (i *Incident) Key() string { return i.ID }

// Route implements Event.
func (i *Incident) Route() string { return i.Domain }

// Encode implements Event.
func (i *Incident) Encode() ([]byte, error) { return encodeCloudEvent(i, "alerting", i.Updated) }

// Decode implements Word.
func (i *Incident) Decode(data []byte) error { return decodeCloudEvent(data, topicIncidents.Word, i) }
