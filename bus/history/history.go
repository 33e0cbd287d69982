// Package history records what a run did on a broker and judges it: the checker of fault runs.
//
// In: the calls and deliveries of the drivers of a run, of as many processes as it has, each written to a log of its own by
// a Recorder that wraps the driver. Out: a Verdict: how much was published, acknowledged, delivered, and what of it
// broke the contract of bus/driver, with the lines that show it.
// It promises that an outcome nobody knows is taken either way, and that order between processes is used only where it is
// certain: where one call had ended before the other began, by the clock of the one machine they share. A log is kept through
// kill -9: what a call is about is in the file before the call is made, so at worst its outcome is not known.
// It never looks into a value, and judges only what was recorded: a rule that nothing in the logs speaks to is not held.
//
// A run is Workload, or anything else over Recorder.Wrap, with Recorder.Fault around what is done to it; Check reads the
// logs.
package history

import (
	"hash/fnv"
	"strconv"

	"kemi.dev/kemi/bus/driver"
)

// Op is what a line of a log tells.
type Op string

// What lines tell. A call has two lines: what it is about when it begins, and End with the same Call number.
const (
	OpTopic     Op = "topic"     // A topic is there, as Spec says.
	OpPublish   Op = "publish"   // A call: Records, and the Fence they are under. Of no records: is the epoch still mine?
	OpSubscribe Op = "subscribe" // A call: Feed reads Topic for Group; a replay begins at Start.
	OpAssigned  Op = "assigned"
	OpRevoked   Op = "revoked"
	OpCaughtUp  Op = "caught up"
	OpData      Op = "data" // Item was delivered.
	OpAck       Op = "ack"  // A call.
	OpNack      Op = "nack" // A call.
	OpClose     Op = "close"
	OpFault     Op = "fault" // A call: it lasts until its end.
	OpEnd       Op = "end"
)

// Outcome is how a call ended.
type Outcome string

// The outcomes. What is none of the others is Unknown: it may have happened, in part or as a whole.
const (
	OK      Outcome = "ok"
	Fenced  Outcome = "fenced"  // Refused, because the epoch is over: nothing happened.
	Failed  Outcome = "failed"  // Refused for another reason: nothing happened.
	Unknown Outcome = "unknown" // Also of a call whose end is not in the log.
)

// Item is a record in a log, without its value.
type Item struct {
	Topic     string `json:"topic,omitempty"`
	Partition int    `json:"partition,omitempty"`
	Key       string `json:"key,omitempty"`
	// ID is the record's identity, or what its bytes amount to when it has none.
	ID string `json:"id"`
	// Gone: it removes its key.
	Gone bool `json:"gone,omitempty"`
}

// Event is one thing that happened. In a log a call is two lines; Read makes them one Event.
type Event struct {
	Op Op `json:"op"`
	// Process names the log.
	Process string `json:"process,omitempty"`
	// Call joins the two lines of a call.
	Call int64 `json:"call,omitempty"`
	// At is when it happened, of a call when it began, in nanoseconds since 1970; it is different for each line of a log and
	// grows from line to line, but for End lines of calls that were under way at once.
	At int64 `json:"at"`
	// Ended is when a call ended; of one whose end is not in the log, when the log ended.
	Ended   int64   `json:"ended,omitempty"`
	Outcome Outcome `json:"outcome,omitempty"`
	Error   string  `json:"error,omitempty"`
	// Driver and Feed are numbers within the process.
	Driver    int           `json:"driver,omitempty"`
	Feed      int           `json:"feed,omitempty"`
	Topic     string        `json:"topic,omitempty"`
	Group     string        `json:"group,omitempty"`
	Partition int           `json:"partition,omitempty"`
	Epoch     uint64        `json:"epoch,omitempty"`
	Position  int64         `json:"position,omitempty"`
	Attempt   int           `json:"attempt,omitempty"`
	Item      *Item         `json:"item,omitempty"`
	Records   []Item        `json:"records,omitempty"`
	Fence     *driver.Fence `json:"fence,omitempty"`
	Start     *driver.Start `json:"start,omitempty"`
	// Partitions that a replay is limited to.
	Partitions []int         `json:"partitions,omitempty"`
	Spec       *driver.Topic `json:"spec,omitempty"`
	// Fault says in words what was done to the run.
	Fault string `json:"fault,omitempty"`
}

// item is a record as a log has it.
func item(r *driver.Record) Item {
	id := r.ID
	if id == "" {
		h := fnv.New64a()
		_, _ = h.Write(r.Value)
		id = "#" + strconv.FormatUint(h.Sum64(), 36)
	}
	return Item{Key: r.Key, ID: id, Gone: r.Value == nil}
}
