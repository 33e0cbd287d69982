package event

import (
	"strconv"
	"time"
)

// PageKind says what a page tells. More may come.
type PageKind string

// The kinds of page.
const (
	PageFiring   PageKind = "firing"
	PageUpdate   PageKind = "update"
	PageResolved PageKind = "resolved"
	// PageSummary: several incidents in one, because there were too many to tell one by one.
	PageSummary PageKind = "summary"
)

// PageStage is how far a page has come: the intent is written before anything is sent, the outcome after.
// More may come.
type PageStage string

// The stages of a page.
const (
	PageIntent PageStage = "intent"
	// PageRetrying: an attempt failed, another will follow at NextTry.
	PageRetrying PageStage = "retrying"
	PageSent     PageStage = "sent"
	// PageFailed: the receiver refused it for good, see Response.
	PageFailed PageStage = "failed"
	// PageHeld: it was not sent, and will not be; Reason says why.
	PageHeld PageStage = "held"
)

// Arrival is what is known of whether a page reached its receiver. Empty is of a page that was not tried yet.
type Arrival string

// What may be known of that.
const (
	// Arrived: the receiver took it.
	Arrived Arrival = "arrived"
	// NotArrived: the receiver certainly does not have it. It said no each time, or was never reached.
	NotArrived Arrival = "not-arrived"
	// ArrivalUnknown: an attempt got no answer, or one that says neither; or a process died during one.
	ArrivalUnknown Arrival = "unknown"
)

// Page is one line of the ledger: who is told what, by which way, and what came of it.
type Page struct {
	// ID is computed from incident, receiver, kind and sequence: see PageID.
	ID string `json:"id"`
	// Incident is the id of the incident it tells of; of a summary the summary's.
	Incident string `json:"incident"`
	// Domain is the incident's.
	Domain string `json:"domain"`
	// Team that is told.
	Team string `json:"team"`
	// Receiver is the way it is told by, as the configuration names it.
	Receiver string `json:"receiver"`
	// Person who is told; empty when the receiver is a place where a team reads.
	Person string `json:"person,omitempty"`
	// Urgency is the incident's.
	Urgency Urgency `json:"urgency,omitempty"`
	// Step of the escalation that it belongs to, from 1; 0 when there is none.
	Step int `json:"step,omitempty"`
	// Kind of the page.
	Kind PageKind `json:"kind"`
	// Stage it has come to.
	Stage PageStage `json:"stage"`
	// DedupKey is the same for every page of one incident to one receiver: providers fold by it.
	DedupKey string `json:"dedup_key"`
	// Title is one line for people.
	Title string `json:"title"`
	// Text is more, for people.
	Text string `json:"text,omitempty"`
	// Snapshot is the incident as it was when the page was decided: retries send the same words.
	Snapshot *Incident `json:"snapshot,omitempty"`
	// Calling are those of the snapshot's Told who were being told when the page was decided.
	Calling []string `json:"calling,omitempty"`
	// Unreached are those of them of whom it was not known then that anything had reached them.
	Unreached []string `json:"unreached,omitempty"`
	// Attempts that were made so far.
	Attempts int `json:"attempts"`
	// Response is the last answer of the provider or the error on the way there, shortened.
	Response string `json:"response,omitempty"`
	// Arrival is whether it reached the receiver, by all attempts so far; empty while there was none.
	Arrival Arrival `json:"arrival,omitempty"`
	// NextTry is when the next attempt is due; only while retrying.
	NextTry time.Time `json:"next_try,omitzero"`
	// Summary is the id of the summary that stands for it, when it was held because there were too many; a summary, and
	// the page that says that everything in it is over, have it as well.
	Summary string `json:"summary,omitempty"`
	// PossibleDuplicate: an attempt was under way when a process died and the provider folds nothing.
	PossibleDuplicate bool `json:"possible_duplicate,omitempty"`
	// Created is when it was decided.
	Created time.Time `json:"created"`
	// Updated is when it came to this stage.
	Updated time.Time `json:"updated"`
	// Reason why it was decided.
	Reason Reason `json:"reason"`
}

// ReasonOver: nothing of it is left.
const ReasonOver = "over"

// Several reports whether the page tells of several incidents: a summary, or that everything in one is over.
func (p *Page) Several() bool { return p.Summary != "" && p.Incident == p.Summary }

// Over reports whether nothing is left of what the page tells of.
func (p *Page) Over() bool {
	return p.Kind == PageResolved || p.Kind == PageSummary && p.Reason.Code == ReasonOver
}

// PageID is the identity of a page: sequence tells apart the pages of one kind in one incident (re-opened).
func PageID(incident, receiver string, kind PageKind, sequence int) string {
	return ComputeID("page", incident, receiver, string(kind), strconv.Itoa(sequence))
}

// Topic implements Event.
func (p *Page) Topic() Topic { return topicPages }

// Identity implements Event: the page at this stage of this attempt.
func (p *Page) Identity() string {
	return ComputeID("page", p.ID, string(p.Stage), strconv.Itoa(p.Attempts))
}

// Key implements Event.
func (p *Page) Key() string { return p.ID }

// Route implements Event.
func (p *Page) Route() string { return p.Domain }

// Encode implements Event.
func (p *Page) Encode() ([]byte, error) { return encodeCloudEvent(p, "alerting", p.Updated) }

// Decode implements Word.
func (p *Page) Decode(data []byte) error { return decodeCloudEvent(data, topicPages.Word, p) }

// write implements written.
func (p *Page) write(w *writer) {
	w.text("id", p.ID)
	w.text("incident", p.Incident)
	w.text("domain", p.Domain)
	w.text("team", p.Team)
	w.text("receiver", p.Receiver)
	w.some("person", p.Person)
	w.some("urgency", string(p.Urgency))
	w.someInt("step", p.Step)
	w.text("kind", string(p.Kind))
	w.text("stage", string(p.Stage))
	w.text("dedup_key", p.DedupKey)
	w.text("title", p.Title)
	w.some("text", p.Text)
	if p.Snapshot != nil {
		w.field("snapshot", p.Snapshot)
	}
	w.someTexts("calling", p.Calling)
	w.someTexts("unreached", p.Unreached)
	w.int("attempts", p.Attempts)
	w.some("response", p.Response)
	w.some("arrival", string(p.Arrival))
	w.someTime("next_try", p.NextTry)
	w.some("summary", p.Summary)
	w.someTrue("possible_duplicate", p.PossibleDuplicate)
	w.time("created", p.Created)
	w.time("updated", p.Updated)
	w.field("reason", &p.Reason)
}
