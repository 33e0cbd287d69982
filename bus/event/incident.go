package event

import (
	"strconv"
	"time"
)

// IncidentState of an incident.
type IncidentState string

// The states of an incident.
const (
	// IncidentVerifying: its cause is being verified; nobody was told yet.
	IncidentVerifying IncidentState = "verifying"
	IncidentOpen      IncidentState = "open"
	IncidentResolved  IncidentState = "resolved"
)

// IncidentKind says what is wrong with the cause.
type IncidentKind string

// The kinds of incident.
const (
	// IncidentDown: the cause does not answer, and with it everything that needs it.
	IncidentDown IncidentKind = "down"
	// IncidentOwn: alerts on a target that answers, or of which nobody can tell.
	IncidentOwn IncidentKind = "own"
)

// Incident is one cause and everything it explains.
type Incident struct {
	// ID is computed from domain, first cause and opening time.
	ID     string        `json:"id"`
	Domain string        `json:"domain"`
	State  IncidentState `json:"state"`
	Kind   IncidentKind  `json:"kind,omitempty"`
	Team   string        `json:"team"`
	// Cause is the target that explains the rest; it may change (re-rooted) while the incident is open.
	Cause    string `json:"cause"`
	Title    string `json:"title"`
	Severity string `json:"severity,omitempty"`
	// Alerts are the alerts that are the incident itself, the first of them; Firing counts all that fire now.
	Alerts []IncidentAlert `json:"alerts,omitempty"`
	Firing int             `json:"firing"`
	// Suppressed counts what the cause explains: targets by class, and Examples of them.
	Suppressed      map[string]int    `json:"suppressed,omitempty"`
	SuppressedTotal int               `json:"suppressed_total,omitempty"`
	Examples        []SuppressedAlert `json:"examples,omitempty"`
	OpenedAt        time.Time         `json:"opened_at"`
	ResolvedAt      time.Time         `json:"resolved_at,omitzero"`
	Updated         time.Time         `json:"updated"`
	// Revision grows by one with every change.
	Revision int `json:"revision"`
	// Told lists the receivers that were told that it is firing: they are told when it resolves.
	Told   []string `json:"told,omitempty"`
	Reason Reason   `json:"reason"`
}

// Reasons of incidents that were only ever a question: another incident explains it, or it was over while its cause was
// still being verified.
const (
	ReasonMerged     = "merged"
	ReasonUnanswered = "over-before-verified"
)

// Question reports whether the incident was only ever a question, over before anybody was told: lists leave it out.
func (i *Incident) Question() bool {
	return i.State == IncidentResolved && len(i.Told) == 0 && (i.Reason.Code == ReasonMerged || i.Reason.Code == ReasonUnanswered)
}

// IncidentAlert is an alert as its incident shows it.
type IncidentAlert struct {
	ID       string     `json:"id"`
	Name     string     `json:"name"`
	Target   string     `json:"target"`
	State    AlertState `json:"state"`
	Summary  string     `json:"summary,omitempty"`
	Value    float64    `json:"value"`
	StartsAt time.Time  `json:"starts_at"`
}

// SuppressedAlert is an alert that pages nobody, and why.
type SuppressedAlert struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Target string `json:"target"`
	Class  string `json:"class,omitempty"`
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
