package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/pause"
)

// Headers that a dead letter carries beside the record's own.
const (
	deadTopic     = "kemi-dead-topic"
	deadGroup     = "kemi-dead-group"
	deadPartition = "kemi-dead-partition"
	deadPosition  = "kemi-dead-position"
	deadAttempts  = "kemi-dead-attempts"
	deadReason    = "kemi-dead-reason"
	deadAt        = "kemi-dead-at"
	// deadTruncated is there when the letter does not hold all the bytes: how many there were.
	deadTruncated = "kemi-dead-truncated"
	// deadRemoved is there when the record took its key out of the topic: a letter cannot tell nothing from empty.
	deadRemoved = "kemi-dead-removed"
	// deadKey is the key, quoted, where no broker carries it as it is, or it is long.
	deadKey = "kemi-dead-key"
)

// groupPublisher stands for the group in letters of what was never stored.
const groupPublisher = "publisher"

const (
	maxReason  = 2000     // Bytes of the reason: it travels as a header.
	cutTo      = 64 << 10 // Bytes that are left of a value that is too large for a letter.
	leastCut   = 100      // Bytes that are left of the value and of the reason where dead.v1 takes hardly anything.
	maxDeadKey = 256
)

// letter is what is put on dead.v1.
type letter struct {
	record driver.Record // The original one.
	group  string
	reason error
	id     string
	about  []driver.Header
}

// published is the letter of a record that no broker takes.
func published(r *driver.Record, reason error) letter {
	l := letter{record: *r, group: groupPublisher, reason: reason, about: []driver.Header{{Name: deadPartition, Value: strconv.Itoa(r.Partition)}}}
	if r.ID != "" {
		l.id = event.ComputeID("dead", r.Topic, r.Key, r.ID)
	}
	return l
}

// delivered is the letter of a record that a group cannot handle. Its identity is its place: others give their records
// none.
func delivered(d *driver.Delivery, group string, attempts int, reason error) letter {
	position, partition := strconv.FormatInt(d.Position, 10), strconv.Itoa(d.Partition)
	l := letter{
		record: d.Record, group: group, reason: reason,
		id: event.ComputeID("dead", d.Record.Topic, partition, position, group),
		about: []driver.Header{
			{Name: deadPartition, Value: partition}, {Name: deadPosition, Value: position}, {Name: deadAttempts, Value: strconv.Itoa(attempts)},
		},
	}
	if d.Record.Value == nil {
		l.about = append(l.about, driver.Header{Name: deadRemoved, Value: "1"})
	}
	return l
}

// The sizes of a letter: whole, with a long key in a header, with the beginning of the value, with no more than what and
// why, and, where somebody limited dead.v1, with the beginnings of these.
const (
	whole = iota
	short
	cut
	bare
	least
)

// write makes the record of a letter.
func (l *letter) write(size int, now time.Time) driver.Record {
	reason := l.reason.Error()
	long, value := maxReason, cutTo
	if size == least {
		long, value = leastCut, leastCut
	}
	if len(reason) > long {
		reason = reason[:long] + "…"
	}
	r := driver.Record{Topic: topicDead.Name, Key: strings.ReplaceAll(l.record.Key, "\x00", ""), ID: l.id, Value: l.record.Value}
	if size >= short {
		r.Key = r.Key[:min(len(r.Key), maxDeadKey)]
	}
	if size == least {
		r.Key = r.Key[:min(len(r.Key), leastCut)]
	}
	if size < bare {
		r.Headers = append(r.Headers, l.record.Headers...)
	}
	r.Headers = append(r.Headers, driver.Header{Name: deadTopic, Value: l.record.Topic}, driver.Header{Name: deadGroup, Value: l.group})
	r.Headers = append(r.Headers, l.about...)
	if r.Key != l.record.Key && size < bare {
		r.Headers = append(r.Headers, driver.Header{Name: deadKey, Value: strconv.QuoteToASCII(l.record.Key)})
	}
	r.Headers = append(r.Headers,
		driver.Header{Name: deadReason, Value: strconv.QuoteToASCII(reason)}, driver.Header{Name: deadAt, Value: now.UTC().Format(time.RFC3339Nano)},
	)
	if size <= short {
		return r
	}
	r.Headers = append(r.Headers, driver.Header{Name: deadTruncated, Value: strconv.Itoa(len(r.Value))})
	if r.Value = r.Value[:min(len(r.Value), value)]; l.record.Header(headerEncoding) != "" {
		r.Value = nil // The beginning of what is compressed says nothing.
	}
	return r
}

// bury puts a letter on dead.v1, as much of it as the broker takes, and says so.
func (b *Bus) bury(ctx context.Context, l letter, fence *driver.Fence) error {
	var err error
	for size := whole; size <= least; size++ {
		if size == short && len(l.record.Key) <= maxDeadKey {
			continue
		}
		if err = b.store(ctx, []driver.Record{l.write(size, time.Now())}, fence); !errors.Is(err, driver.ErrTooLarge) {
			break
		}
	}
	if !errors.Is(ctx.Err(), context.Canceled) {
		b.stuck.tried(place{l.record.Topic, l.group, l.record.Partition}, time.Now(), err)
	}
	if err != nil {
		return err
	}
	b.dead.WithLabelValues(l.record.Topic, l.group).Inc()
	b.scope.Log().Error("put on dead.v1", "topic", l.record.Topic, "group", l.group, "key", shortened(l.record.Key), "reason", l.reason)
	return nil
}

// buryUntil puts a delivered record on dead.v1, trying until that is stored or ctx ends: nothing is lost on the way.
func (b *Bus) buryUntil(ctx context.Context, d *driver.Delivery, group string, attempts int, reason error) error {
	l := delivered(d, group, attempts, reason)
	for attempt := 0; ; attempt++ {
		err := b.bury(ctx, l, nil)
		if err == nil {
			return nil
		}
		if !pause.For(ctx, backoff(attempt)) {
			return ctx.Err()
		}
		b.scope.Log().Warn("put on dead.v1 again", "topic", d.Record.Topic, "group", group, "err", err)
	}
}

// shortened is a key for the log: some may be as long as a record.
func shortened(key string) string {
	const most = 100
	if len(key) <= most {
		return key
	}
	return fmt.Sprintf("%s… (%d bytes)", strings.ToValidUTF8(key[:most], ""), len(key))
}
