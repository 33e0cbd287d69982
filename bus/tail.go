package bus

import (
	"context"
	"fmt"
	"time"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/event"
)

// Raw is a record of any topic as it is stored, unpacked.
type Raw struct {
	Topic     string            `json:"topic"`
	Partition int               `json:"partition"`
	Position  int64             `json:"position"`
	Key       string            `json:"key"`
	Stored    time.Time         `json:"stored"`
	Headers   map[string]string `json:"headers,omitempty"`
	// Removed: the record takes its key out of the topic.
	Removed bool   `json:"removed,omitempty"`
	Value   []byte `json:"-"`
	// Wrong says why the record is no word of its topic, as far as that is known before it is decoded.
	Wrong error `json:"-"`
}

// Event decodes the record, or says why it is no word of its topic.
func (r *Raw) Event() (event.Event, error) {
	if r.Wrong != nil {
		return nil, r.Wrong
	}
	return parse(r.Topic, r.Value)
}

// Span is a part of a topic.
type Span struct {
	Topic string
	From  From
	// Partition limits it to one, which a position needs; nil is all.
	Partition *int
	// To ends it: records stored at it or later are left out. The zero time follows the topic for ever; any other ends, at
	// the latest with what was stored when the reading began.
	To time.Time
	// Key leaves out all other keys; "" is any.
	Key string
}

// Tail replays any topic by name and goes on with what comes, until ctx ends or handle errs. It hands over what came at
// once together, never nothing, so that the caller can write it out once. A record that cannot be unpacked is handed over
// as it is.
func (b *Bus) Tail(ctx context.Context, topic string, from From, handle func([]Raw) error) error {
	return b.Read(ctx, Span{Topic: topic, From: from}, handle)
}

// Read hands over the records of a span as Tail does. One with an end is over when it returns nil and ctx lives.
func (b *Bus) Read(ctx context.Context, s Span, handle func([]Raw) error) error {
	return b.read(ctx, s, func(batch []driver.Delivery) error {
		all := make([]Raw, len(batch))
		for i := range batch {
			all[i] = b.raw(&batch[i])
		}
		return handle(all)
	})
}

// Keys hands over which keys come on a topic from now on, and when they were stored, until ctx ends: without what the
// records say, which is not even unpacked.
func (b *Bus) Keys(ctx context.Context, topic string, handle func([]Raw)) error {
	return b.read(ctx, Span{Topic: topic, From: From{End: true}}, func(batch []driver.Delivery) error {
		all := make([]Raw, len(batch))
		for i := range batch {
			d := &batch[i]
			all[i] = Raw{Topic: topic, Partition: d.Partition, Position: d.Position, Key: d.Record.Key, Stored: d.Stored}
		}
		handle(all)
		return nil
	})
}

func (b *Bus) read(ctx context.Context, s Span, handle func([]driver.Delivery) error) error {
	t, err := b.Topic(s.Topic)
	if err != nil {
		return err
	}
	sub := driver.Subscription{Topic: s.Topic, Start: s.From}
	left := t.Partitions
	if s.Partition != nil {
		sub.Partitions, left = []int{*s.Partition}, 1
	}
	if err := sub.Check(driver.Topic{Kind: driver.Kind(t.Kind), Partitions: t.Partitions}); err != nil {
		return fmt.Errorf("read %s: %w", s.Topic, err)
	}
	feed, err := b.subscribe(ctx, sub)
	if err != nil {
		return ended(ctx, err)
	}
	defer feed.Close()
	past := map[int]bool{} // Partitions that have come to the end of the span.
	for {
		batch, err := feed.Next(ctx)
		if err != nil {
			return ended(ctx, err)
		}
		over := false
		chosen := batch[:0]
		for _, d := range batch {
			switch {
			case d.Event == driver.CaughtUp:
				over = over || !s.To.IsZero()
			case d.Event != driver.Data || over:
			case !s.To.IsZero() && !d.Stored.Before(s.To):
				past[d.Partition] = true
				over = len(past) == left && t.Kind != event.Work // Of work the broker may have more partitions than the topic.
			case s.Key == "" || d.Record.Key == s.Key:
				chosen = append(chosen, d)
			}
		}
		if len(chosen) > 0 {
			if err := handle(chosen); err != nil {
				return err
			}
		}
		if over {
			return nil
		}
	}
}

func (b *Bus) raw(d *driver.Delivery) Raw {
	r := Raw{
		Topic: d.Record.Topic, Partition: d.Partition, Position: d.Position, Key: d.Record.Key, Stored: d.Stored,
		Headers: make(map[string]string, len(d.Record.Headers)), Removed: d.Record.Value == nil, Value: d.Record.Value,
	}
	for _, h := range d.Record.Headers {
		r.Headers[h.Name] = h.Value
	}
	r.Wrong = expects(b.topics[d.Record.Topic], &d.Record)
	if value, err := unpack(&d.Record); err == nil {
		r.Value = value
	} else if r.Wrong == nil {
		r.Wrong = err
	}
	return r
}
