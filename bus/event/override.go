package event

import "time"

// Override puts one person in the place of whoever a schedule has on call, for a time. The newest that is in force wins.
// A swap is two of them.
type Override struct {
	// ID of the override; one that is said again with the same ID replaces it.
	ID string `json:"id"`
	// Schedule is the name of the schedule.
	Schedule string `json:"schedule"`
	// Person takes over.
	Person string `json:"person"`
	// For is whose shifts are taken over; empty is anybody's.
	For string `json:"for,omitempty"`
	// StartsAt is when the person takes over.
	StartsAt time.Time `json:"starts_at"`
	// EndsAt is when it is over. To end it early is to say it again with an earlier end.
	EndsAt time.Time `json:"ends_at"`
	// By is who said it.
	By string `json:"by"`
	// Comment is why, for people.
	Comment string `json:"comment,omitempty"`
	// Updated is when it was said.
	Updated time.Time `json:"updated"`
}

// Topic implements Event.
func (o *Override) Topic() Topic { return topicOverrides }

// Identity implements Event.
func (o *Override) Identity() string {
	return ComputeID("override", o.ID, o.Updated.UTC().Format(time.RFC3339Nano))
}

// Key implements Event.
func (o *Override) Key() string { return o.ID }

// Route implements Event.
func (o *Override) Route() string { return o.ID }

// Encode implements Event.
func (o *Override) Encode() ([]byte, error) { return encodeCloudEvent(o, "people", o.Updated) }

// Decode implements Word.
func (o *Override) Decode(data []byte) error { return decodeCloudEvent(data, topicOverrides.Word, o) }
