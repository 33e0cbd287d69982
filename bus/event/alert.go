package event

import "time"

// AlertState says whether a problem is there. There will be no other.
type AlertState string

// The states of an alert.
const (
	AlertFiring   AlertState = "firing"
	AlertResolved AlertState = "resolved"
)

// Alert is one problem: deduplicated by rule and series, said on every transition.
type Alert struct {
	// ID is computed from rule and labels: the same problem has the same ID whenever it comes back.
	ID string `json:"id"`
	// Name is the alert's name in its rule file.
	Name string `json:"name"`
	// Rule is "group/alert name".
	Rule string `json:"rule"`
	// State after this transition.
	State AlertState `json:"state"`
	// Unknown says that there has been no data since the last verdict: the state is the last one known.
	Unknown bool `json:"unknown,omitempty"`
	// Target is the id of the target that the alert is about.
	Target string `json:"target"`
	// Team owns the problem.
	Team string `json:"team,omitempty"`
	// Domain is the part of the world in which causes are sought together.
	Domain string `json:"domain"`
	// Severity as the rule's label says it.
	Severity string `json:"severity,omitempty"`
	// Labels identify the series and carry the rule's labels; alertname is among them.
	Labels Labels `json:"labels"`
	// Annotations are the rule's texts for people, filled in.
	Annotations map[string]string `json:"annotations,omitempty"`
	// Value of the rule's expression at this transition.
	Value float64 `json:"value"`
	// Threshold is what the rule compares the value with, such as "> 0.9"; empty when it compares with no level.
	Threshold string `json:"threshold,omitempty"`
	// StartsAt is since when the problem is there.
	StartsAt time.Time `json:"starts_at"`
	// EndsAt is since when it is no more; only when resolved.
	EndsAt time.Time `json:"ends_at,omitzero"`
	// Until is when it ends by itself unless it is said again; zero is never. Only an alert from elsewhere has it.
	Until time.Time `json:"until,omitzero"`
	// GeneratorURL shows the rule where it was judged; only an alert from elsewhere has it.
	GeneratorURL string `json:"generator_url,omitempty"`
	// Updated is when this transition became true.
	Updated time.Time `json:"updated"`
	// Finding is the identity of the finding that made the transition.
	Finding string `json:"finding,omitempty"`
	// Reason of the transition.
	Reason Reason `json:"reason"`
}

// AlertID is the identity of a problem, whatever the order, repetition, restart or source.
func AlertID(rule string, labels Labels) string {
	return ComputeID("alert", rule, labels.Fingerprint())
}

// Topic implements Event.
func (a *Alert) Topic() Topic { return topicAlerts }

// Identity implements Event: this transition of this alert.
func (a *Alert) Identity() string {
	return ComputeID("alert", a.ID, string(a.State), a.StartsAt.UTC().Format(time.RFC3339Nano), a.Updated.UTC().Format(time.RFC3339Nano))
}

// Key implements Event.
func (a *Alert) Key() string { return a.ID }

// Route implements Event.
func (a *Alert) Route() string { return a.Domain }

// Encode implements Event.
func (a *Alert) Encode() ([]byte, error) { return encodeCloudEvent(a, "processors", a.Updated) }

// Decode implements Word.
func (a *Alert) Decode(data []byte) error { return decodeCloudEvent(data, topicAlerts.Word, a) }

// readPlain implements plainWord.
func (a *Alert) readPlain(p *plain) {
	for name := range p.fields() {
		switch name {
		case "id":
			a.ID = p.text()
		case "name":
			a.Name = p.text()
		case "rule":
			a.Rule = p.text()
		case "state":
			a.State = AlertState(p.text())
		case "unknown":
			a.Unknown = p.bool()
		case "target":
			a.Target = p.text()
		case "team":
			a.Team = p.text()
		case "domain":
			a.Domain = p.text()
		case "severity":
			a.Severity = p.text()
		case "labels":
			a.Labels = p.labels()
		case "annotations":
			a.Annotations = p.texts(a.Annotations)
		case "value":
			a.Value = p.number()
		case "threshold":
			a.Threshold = p.text()
		case "starts_at":
			a.StartsAt = p.time()
		case "ends_at":
			a.EndsAt = p.time()
		case "until":
			a.Until = p.time()
		case "generator_url":
			a.GeneratorURL = p.text()
		case "updated":
			a.Updated = p.time()
		case "finding":
			a.Finding = p.text()
		case "reason":
			p.reason(&a.Reason)
		default:
			p.refused = true
		}
	}
}

// write implements written.
func (a *Alert) write(w *writer) {
	w.text("id", a.ID)
	w.text("name", a.Name)
	w.text("rule", a.Rule)
	w.text("state", string(a.State))
	w.someTrue("unknown", a.Unknown)
	w.text("target", a.Target)
	w.some("team", a.Team)
	w.text("domain", a.Domain)
	w.some("severity", a.Severity)
	w.labels("labels", a.Labels)
	w.someMap("annotations", a.Annotations)
	w.number("value", a.Value)
	w.some("threshold", a.Threshold)
	w.time("starts_at", a.StartsAt)
	w.someTime("ends_at", a.EndsAt)
	w.someTime("until", a.Until)
	w.some("generator_url", a.GeneratorURL)
	w.time("updated", a.Updated)
	w.some("finding", a.Finding)
	w.field("reason", &a.Reason)
}
