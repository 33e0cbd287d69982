package event

import "time"

// CommandKind says what a person or program asks Kemi to do. More may come.
type CommandKind string

// The commands.
const (
	// AcceptShrink lets a CMDB source lose the targets it is held for; Subject is the source.
	AcceptShrink CommandKind = "accept-shrink"

	// What people do about an incident; Subject is its id.
	//
	// Acknowledge: By looks after it until Args["until"] (RFC 3339), or as long as the configuration says.
	Acknowledge CommandKind = "acknowledge"
	// Unacknowledge takes an acknowledgement back: the escalation goes on.
	Unacknowledge CommandKind = "unacknowledge"
	// Assign gives it to Args["to"], who is told.
	Assign CommandKind = "assign"
	// Remark adds Comment to its record.
	Remark CommandKind = "comment"
	// Resolve ends it by hand; what still fires opens a new one only when it fires anew.
	Resolve CommandKind = "resolve"
	// Snooze has nobody called for it until Args["until"] (RFC 3339).
	Snooze CommandKind = "snooze"

	// Ping says that a job of others ran; Subject is the name of its watch.
	Ping CommandKind = "ping"
)

// Command is what people say to Kemi.
type Command struct {
	// Kind of the command.
	Kind CommandKind `json:"kind"`
	// Subject is what the command is about.
	Subject string `json:"subject"`
	// By is who said it.
	By string `json:"by,omitempty"`
	// At is when it was said.
	At time.Time `json:"at"`
	// Comment is why, for people.
	Comment string `json:"comment,omitempty"`
	// Args are what this kind of command takes beside its subject.
	Args map[string]string `json:"args,omitempty"`
}

// Topic implements Event.
func (c *Command) Topic() Topic { return topicCommands }

// Identity implements Event.
func (c *Command) Identity() string {
	return ComputeID("command", string(c.Kind), c.Subject, c.By, c.At.UTC().Format(time.RFC3339Nano))
}

// Key implements Event.
func (c *Command) Key() string { return c.Subject }

// Route implements Event.
func (c *Command) Route() string { return c.Subject }

// Encode implements Event.
func (c *Command) Encode() ([]byte, error) { return encodeCloudEvent(c, "people", c.At) }

// Decode implements Word.
func (c *Command) Decode(data []byte) error { return decodeCloudEvent(data, topicCommands.Word, c) }
