package event

import "time"

// SilenceKind says what a silence is for. More may come.
type SilenceKind string

// The kinds of silence.
const (
	// PlainSilence: somebody does not want to hear of it for now.
	PlainSilence SilenceKind = "silence"
	// MaintenanceWindow: somebody works on it; with Inherit, on what needs it too.
	MaintenanceWindow SilenceKind = "maintenance"
)

// Silence holds pages back while it is in force. It stops pages only: alerts and incidents are there all the same, and
// what is still a problem when it ends speaks up.
type Silence struct {
	// ID of the silence; one that is said again with the same ID replaces it.
	ID string `json:"id"`
	// Kind of the silence.
	Kind SilenceKind `json:"kind"`
	// Matchers select alerts by their labels; all of them must match. A label that is not there is empty.
	Matchers []Matcher `json:"matchers"`
	// StartsAt is when it comes into force; of one that recurs, when it does for the first time.
	StartsAt time.Time `json:"starts_at"`
	// EndsAt is when it is over; of one that recurs, when it does no more. To end it early is to say it again with an
	// earlier end.
	EndsAt time.Time `json:"ends_at"`
	// Recurs is a recurrence rule (RFC 5545, 3.3.10), such as FREQ=WEEKLY;BYDAY=SU; empty when it does not recur.
	Recurs string `json:"recurs,omitempty"`
	// LastsSeconds is how long it is in force each time; only when it recurs.
	LastsSeconds int64 `json:"lasts_seconds,omitempty"`
	// Timezone (IANA) in which it recurs; empty is UTC.
	Timezone string `json:"timezone,omitempty"`
	// Inherit has it hold for everything that needs a selected target, too.
	Inherit bool `json:"inherit,omitempty"`
	// By is who said it.
	By string `json:"by"`
	// Comment is why, for people.
	Comment string `json:"comment"`
	// Annotations are for programs.
	Annotations map[string]string `json:"annotations,omitempty"`
	// Updated is when it was said.
	Updated time.Time `json:"updated"`
}

// Matcher selects by one label, as Alertmanager's matchers do.
type Matcher struct {
	// Name of the label.
	Name string `json:"name"`
	// Value, or the regular expression (RE2, anchored at both ends) that the whole value has to match.
	Value string `json:"value"`
	// Regex says that Value is a regular expression.
	Regex bool `json:"regex,omitempty"`
	// Negative selects what does not match.
	Negative bool `json:"negative,omitempty"`
}

// Topic implements Event.
func (s *Silence) Topic() Topic { return topicSilences }

// Identity implements Event.
func (s *Silence) Identity() string {
	return ComputeID("silence", s.ID, s.Updated.UTC().Format(time.RFC3339Nano))
}

// Key implements Event.
func (s *Silence) Key() string { return s.ID }

// Route implements Event.
func (s *Silence) Route() string { return s.ID }

// Encode implements Event.
func (s *Silence) Encode() ([]byte, error) {
	said := *s
	if said.Matchers == nil {
		said.Matchers = []Matcher{} // A list, whatever is in it.
	}
	return encodeCloudEvent(&said, "people", s.Updated)
}

// Decode implements Word.
func (s *Silence) Decode(data []byte) error { return decodeCloudEvent(data, topicSilences.Word, s) }
