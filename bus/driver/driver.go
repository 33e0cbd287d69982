// Package driver says what a broker must do to carry Kemi's bus.
//
// In: records with a topic, a partition and a key. Out: deliveries with a position and an epoch.
// It promises nothing itself: bus/bustest holds every driver to the words below. Retries, dead letters,
// metrics, tracing and encoding are the bus's, once for all brokers; a driver never retries a handler, never
// looks into a value and never drops what it could not store.
package driver

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Errors a driver returns (wrapped, with what it was doing).
var (
	// ErrClosed: the driver or feed was closed.
	ErrClosed = errors.New("closed")
	// ErrFenced: the epoch is over; another member owns the partition. Nothing was written.
	ErrFenced = errors.New("fenced: the partition has a newer owner")
	// ErrFull: the topic or the disk is full; nothing was written, try again later.
	ErrFull = errors.New("full")
	// ErrTooLarge: the record is over the broker's limit; nothing was sent and it never will be.
	ErrTooLarge = errors.New("record too large")
	// ErrAway: no broker answers; it may come back.
	ErrAway = errors.New("the broker cannot be reached")
	// ErrNoTopic: the topic is not there; Ensure makes it.
	ErrNoTopic = errors.New("no such topic")
)

// Kind is how a topic is consumed.
type Kind int

// The kinds of topic.
const (
	// Log is partitioned and ordered; a group has one owner per partition, and commits a position.
	Log Kind = iota
	// Latest is a Log whose newest record per key can be read as a snapshot; a nil value removes the key.
	Latest
	// Work is shared: any member of the group takes any record and acknowledges it by itself.
	Work
)

// Topic is what the bus asks a driver to have.
type Topic struct {
	Name       string
	Kind       Kind
	Partitions int
	// Keep is how long records stay, 0 for ever. The newest record of a key of a Latest topic stays as long as
	// any record does.
	Keep time.Duration
	// History is how many records of a key of a Latest topic stay, the newest; 0 is all where Keep limits them, and one
	// where nothing else does. It is what keeps a topic that refuses from filling up with what was replaced; a broker that
	// cleans up from time to time keeps more.
	History int
	// MaxBytes bounds the topic; DropOldest says that the oldest go then, else Publish returns ErrFull. A full Latest topic
	// takes a record all the same when the record of its key that goes for it is at least as large; one whose broker cleans
	// up from time to time may take more than it has room for, as long as most of it is what was replaced.
	MaxBytes   int64
	DropOldest bool
	// Bulk: when the disk gets short this topic is refused first, so that there is a reserve for the others.
	Bulk bool
	// Sync: records are on the disk, not only with the operating system, before Publish returns.
	Sync bool
}

// PerKey is how many records of a key stay, the newest; 0 is all.
func (t Topic) PerKey() int {
	if t.Kind == Latest && t.Keep == 0 {
		return max(t.History, 1)
	}
	if t.Kind == Latest {
		return max(t.History, 0)
	}
	return 0
}

// Header is one name and value that travels with a record.
type Header struct{ Name, Value string }

// Record is what is stored.
type Record struct {
	Topic     string
	Partition int
	// Key is what a Latest topic keeps the newest of; any bytes but NUL.
	Key string
	// ID is the identity of the record: of a Log or Work topic a driver whose broker can drop a second record of one ID
	// within a short time does so; no caller depends on it. Of a Latest topic none is dropped: a record that was
	// refused, or is said again, would be lost behind what was stored meanwhile and stay replaced for good.
	ID string
	// Value nil removes the key of a Latest topic; in other topics it is the same as empty.
	Value   []byte
	Headers []Header
}

// Header returns the value of the first header of that name, "" when there is none.
func (r *Record) Header(name string) string {
	for _, h := range r.Headers {
		if h.Name == name {
			return h.Value
		}
	}
	return ""
}

// Fence makes a Publish conditional: it is refused with ErrFenced once the partition has another owner. It is used on
// the driver whose feed was assigned the partition; on any other it is refused. A Publish of no records under a fence
// asks whether the epoch still lasts: by the monotonic clock and what the broker last confirmed, or by asking it.
type Fence struct {
	Topic, Group string
	Partition    int
	Epoch        uint64
}

// Driver is a broker.
type Driver interface {
	// Ensure creates the topics that are missing and reports, as an error that names topic, wanted and found,
	// those that differ in a way that breaks the contract, all of them at once (ErrDiffers). It changes none that exists. Idempotent.
	Ensure(ctx context.Context, topics []Topic) error
	// Publish returns nil only when every record is stored at its topic's durability. On an error any part of
	// them may be stored (the caller says them again). Records of one partition are stored in the given order.
	// A nil fence means unconditional. Safe for concurrent use.
	Publish(ctx context.Context, records []Record, fence *Fence) error
	// Subscribe opens a feed. A feed survives loss and restart of the broker: Next blocks until it is back.
	Subscribe(ctx context.Context, s Subscription) (Feed, error)
	// Close ends every feed and releases everything. Closing twice is harmless.
	Close() error
}

// Inspector is a Driver that can say how its broker is, for people and for metrics.
type Inspector interface {
	// Health is nil when the broker answers, else it says what is wrong and since when. It asks nobody: it is what the
	// driver knows anyway.
	Health() error
	// Inspect says what the topic holds and who reads it. It asks the broker, and may take some round trips.
	Inspect(ctx context.Context, topic string) (Info, error)
}

// Advised is an error that somebody has to do something about, and says what in words that are the same whichever topic or
// group it is about: so that it is told once for all of them.
type Advised interface {
	error
	Advice() string
}

// Rationer is a Driver whose broker stores on a disk of this machine, which may get short.
type Rationer interface {
	// Held says why publishing is held back, how much room there is and what to do, "" while it is not: all of it, or what
	// comes in bulk. It asks nobody.
	Held() (all bool, why string)
}

// Info is what a topic holds.
type Info struct {
	// Topic is as the broker has it, which may differ from what was asked for.
	Topic Topic
	// Bytes that it uses, without replicas; -1 when the broker does not say.
	Bytes      int64
	Partitions []PartitionInfo
	Groups     []GroupInfo
}

// PartitionInfo is what one partition holds.
type PartitionInfo struct {
	Partition int
	// First is the position of the oldest record, End the position after the newest; they are equal when there is none.
	// Where positions have gaps, Records is how many there are; -1 when the broker does not say.
	First, End, Records int64
	// Oldest is when the oldest record was stored; zero when there is none.
	Oldest time.Time
}

// GroupInfo is how far one group is.
type GroupInfo struct {
	Name string
	// Partitions has one entry per partition that the group ever began; of a Work topic it may be one for the whole topic,
	// with Partition -1.
	Partitions []GroupPartition
}

// GroupPartition is how far a group is in one partition.
type GroupPartition struct {
	Partition int
	// Owner is the member that has it, "" for nobody; of Work it is "".
	Owner string
	Epoch uint64
	// Next is the position after the last commit; of Work the oldest that is not done.
	Next int64
	// Lag is how many records wait, those under way among them. Where positions have gaps it may be too high.
	Lag int64
}

// Sizer is a Driver that knows how full its topics are. The bus warns before a topic refuses.
type Sizer interface {
	// Size is how many bytes of the topic are used, and how many it may have, 0 for any number. It is cheap: one
	// question to the broker.
	Size(ctx context.Context, topic string) (used, limit int64, err error)
}

// Subscription says what a feed reads.
type Subscription struct {
	Topic string
	// Group shares the topic between its members: of a Log or Latest topic each partition has one owner at a
	// time, of a Work topic each record. An empty Group is a replay: it disturbs nobody and commits nothing.
	Group string
	// Start is where a replay begins, and a group that never committed.
	Start Start
	// Partitions limits a replay; nil is all.
	Partitions []int
	// Keys has a broker that can tell keys apart send the records of no others to a replay; one that cannot delivers them
	// all. nil is all.
	Keys []string
	// Window bounds the records that were delivered and not yet acknowledged, of a partitioned group in each
	// partition, so that a slow partition holds up no other; 0 is the driver's default.
	Window int
	// Redeliver is after how long a Work record that was neither acknowledged nor put back is delivered again, to any
	// member; 0 is not while its member lives: it goes to another when the feed is closed, or when its process was
	// silent for the driver's own time, well under a minute. Log and Latest topics redeliver only to a new owner. Members
	// of a group give the same; where a broker keeps one for the group, the last one counts.
	Redeliver time.Duration
	// Writes names the topics that the owner of a partition publishes to under its fence. Where the broker itself can
	// refuse a former owner's records, it does so on these from before Assigned on.
	Writes []string
}

// Check says what is wrong with a subscription to the topic.
func (s Subscription) Check(t Topic) error {
	switch {
	case s.Start.Snapshot && t.Kind != Latest:
		return errors.New("only a Latest topic has a snapshot")
	case s.Group != "" && s.Partitions != nil:
		return errors.New("only a replay is limited to partitions")
	case s.Group != "" && s.Keys != nil:
		return errors.New("only a replay is limited to keys")
	case s.Start.Position != 0 && t.Partitions > 1 && len(s.Partitions) != 1:
		return errors.New("a position needs one partition")
	case s.Window < 0 || s.Redeliver < 0:
		return errors.New("window and redelivery time are not negative")
	}
	for _, p := range s.Partitions {
		if p < 0 || p >= t.Partitions {
			return fmt.Errorf("partition %d of %d", p, t.Partitions)
		}
	}
	return nil
}

// Start is where to begin. The zero Start is the oldest record.
type Start struct {
	// Snapshot delivers the newest record per key (not removed ones), then what follows. Latest topics only.
	Snapshot bool
	// End skips everything that is stored already.
	End bool
	// Time begins with the first record stored at or after it.
	Time time.Time
	// Position begins with the record at the position; with one partition only. One behind what the next record will have is
	// of a log that is gone, and was written down somewhere: of the log that is there it is the oldest record.
	Position int64
}

// Feed delivers. One goroutine calls Next; Ack and Nack may be called from any.
type Feed interface {
	// Next blocks until there is something, or ctx ends, or the feed is closed (ErrClosed). It returns at least
	// one delivery, in order per partition; the slice is the caller's.
	Next(ctx context.Context) ([]Delivery, error)
	// Ack says that the delivery was handled. In a partitioned group it commits everything of the partition up
	// to and with it, and returns ErrFenced when the epoch is over. Of Work records it acknowledges this one.
	Ack(ctx context.Context, d Delivery) error
	// Nack gives a Work record back, to be delivered again after the delay. Other feeds return an error.
	Nack(ctx context.Context, d Delivery, after time.Duration) error
	// Close gives up what the feed owns. Closing twice is harmless.
	Close() error
}

// Event is what a delivery tells.
type Event int

// The events of a feed.
const (
	// Data carries a record.
	Data Event = iota
	// Assigned begins an epoch: the feed owns Partition from Position on (the position after the last commit; 0
	// for a group that never committed and begins with a snapshot). All records of the epoch come after it. A log that
	// began anew, because the topic was removed or its broker lost it, ends the epoch: the next one begins with the first
	// record of the new log.
	Assigned
	// Revoked ends an epoch: no record of it follows, no commit of it is accepted. Of a replay, with Partition -1: the
	// topic was made again, and what was delivered of it is gone. What it has by now follows.
	Revoked
	// CaughtUp: a replay has delivered everything that was stored when it began in all its partitions; what a newer
	// record of its key has replaced meanwhile, as that newer record. It comes once, with Partition -1.
	CaughtUp
)

// Delivery is one thing a feed tells.
type Delivery struct {
	Event     Event
	Partition int
	// Epoch grows with every new owner of the partition in the group.
	Epoch uint64
	// Position of the record in its partition; grows, with gaps, as long as the log is the same.
	Position int64
	Record   Record
	// Stored is when the broker stored the record.
	Stored time.Time
	// Attempt counts the deliveries of a Work record from 1; 0 when the broker does not count.
	Attempt int
	// Token is the driver's own.
	Token any
}
