package event

import "time"

// Verdict is what a rule says of a series: there are three states, not two, and a `for` time before the third.
// There will be no other.
type Verdict string

// The verdicts.
const (
	// VerdictPending: the condition is true, but not yet for as long as the rule asks.
	VerdictPending Verdict = "pending"
	VerdictFiring  Verdict = "firing"
	// VerdictOK: the condition is false.
	VerdictOK Verdict = "ok"
	// VerdictUnknown: there is no data to judge by. It neither fires nor resolves anything.
	VerdictUnknown Verdict = "unknown"
)

// RuleReachable is the built-in rule that says of every target whether it answers its polls: firing when it does
// not. It makes no alert; it is how alerting knows the world. Said on change, and for every verifying poll.
const RuleReachable = "kemi:reachable"

// RulePrefixElsewhere begins the names of rules that others judge, who told of it by Alertmanager's API: the alert's name
// follows.
const RulePrefixElsewhere = "alertmanager/"

// ReasonElsewhere is the code of what others judged.
const ReasonElsewhere = "from-elsewhere"

// Finding is one rule's verdict on one series, said on change and refreshed while it fires.
type Finding struct {
	// Rule is "group/alert name" or a built-in name.
	Rule string `json:"rule"`
	// Alert is the alert's name; empty for built-in rules.
	Alert string `json:"alert,omitempty"`
	// Verdict of the rule on this series.
	Verdict Verdict `json:"verdict"`
	// Target is the id of the target whose series it is.
	Target string `json:"target"`
	// Team owns the problem, if there is one.
	Team string `json:"team,omitempty"`
	// Domain is the part of the world in which causes are sought together.
	Domain string `json:"domain"`
	// Labels identify the series and carry the rule's labels (severity …); alertname is among them.
	Labels Labels `json:"labels"`
	// Annotations are the rule's texts for people, filled in.
	Annotations map[string]string `json:"annotations,omitempty"`
	// Value of the rule's expression; infinities are the largest number there is.
	Value float64 `json:"value"`
	// Threshold is what the rule compares the value with, such as "> 0.9"; empty when it compares with no level.
	Threshold string `json:"threshold,omitempty"`
	// Since is when the condition became true (pending, firing) or false (ok).
	Since time.Time `json:"since"`
	// Until is when firing ends by itself unless it is said again; zero is never. Only what comes from elsewhere says so.
	Until time.Time `json:"until,omitzero"`
	// GeneratorURL shows the rule where it was judged; only what comes from elsewhere says so.
	GeneratorURL string `json:"generator_url,omitempty"`
	// At is the slot of the reading that decided.
	At time.Time `json:"at"`
	// Reading is the identity of the reading that decided.
	Reading string `json:"reading,omitempty"`
	// AskedBy says who asked for the reading when it was no scheduled one.
	AskedBy string `json:"asked_by,omitempty"`
	// Reason of the verdict.
	Reason Reason `json:"reason"`
}

// Topic implements Event.
func (f *Finding) Topic() Topic { return topicFindings }

// Identity implements Event.
func (f *Finding) Identity() string {
	return ComputeID("finding", f.Rule, f.Labels.Fingerprint(), string(f.Verdict), f.At.UTC().Format(time.RFC3339Nano), f.Reading)
}

// Key implements Event.
func (f *Finding) Key() string { return ComputeID(f.Rule, f.Labels.Fingerprint()) }

// RecordKey is the key of its record on the broker. All that RuleReachable says has the rule's: whoever follows who answers
// need not be sent what the other rules say, which is far more.
func (f *Finding) RecordKey() string {
	if f.Rule == RuleReachable {
		return RuleReachable
	}
	return f.Key()
}

// Route implements Event.
func (f *Finding) Route() string { return f.Domain }

// Encode implements Event.
func (f *Finding) Encode() ([]byte, error) { return encodeCloudEvent(f, "processors", f.At) }

// Decode implements Word.
func (f *Finding) Decode(data []byte) error { return decodeCloudEvent(data, topicFindings.Word, f) }

// readPlain implements plainWord.
func (f *Finding) readPlain(p *plain) {
	for name := range p.fields() {
		switch name {
		case "rule":
			f.Rule = p.text()
		case "alert":
			f.Alert = p.text()
		case "verdict":
			f.Verdict = Verdict(p.text())
		case "target":
			f.Target = p.text()
		case "team":
			f.Team = p.text()
		case "domain":
			f.Domain = p.text()
		case "labels":
			f.Labels = p.labels()
		case "annotations":
			f.Annotations = p.texts(f.Annotations)
		case "value":
			f.Value = p.number()
		case "threshold":
			f.Threshold = p.text()
		case "since":
			f.Since = p.time()
		case "until":
			f.Until = p.time()
		case "generator_url":
			f.GeneratorURL = p.text()
		case "at":
			f.At = p.time()
		case "reading":
			f.Reading = p.text()
		case "asked_by":
			f.AskedBy = p.text()
		case "reason":
			p.reason(&f.Reason)
		default:
			p.refused = true
		}
	}
}

// write implements written.
func (f *Finding) write(w *writer) {
	w.text("rule", f.Rule)
	w.some("alert", f.Alert)
	w.text("verdict", string(f.Verdict))
	w.text("target", f.Target)
	w.some("team", f.Team)
	w.text("domain", f.Domain)
	w.labels("labels", f.Labels)
	w.someMap("annotations", f.Annotations)
	w.number("value", f.Value)
	w.some("threshold", f.Threshold)
	w.time("since", f.Since)
	w.someTime("until", f.Until)
	w.some("generator_url", f.GeneratorURL)
	w.time("at", f.At)
	w.some("reading", f.Reading)
	w.some("asked_by", f.AskedBy)
	w.field("reason", &f.Reason)
}
