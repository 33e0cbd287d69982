package bus

import (
	"context"
	"strconv"
	"time"

	"kemi.dev/kemi/bus/driver"
)

// Headers that a dead letter carries beside the record's own.
const (
	deadTopic    = "kemi-dead-topic"
	deadGroup    = "kemi-dead-group"
	deadPosition = "kemi-dead-position"
	deadAttempts = "kemi-dead-attempts"
	deadReason   = "kemi-dead-reason"
	deadAt       = "kemi-dead-at"
)

// maxReason bounds the reason in bytes: it travels as a header.
const maxReason = 2000

func deadHeaders(d *driver.Delivery, group string, attempts int, reason error) []driver.Header {
	text := reason.Error()
	if len(text) > maxReason {
		text = text[:maxReason] + "…"
	}
	return append(append([]driver.Header{}, d.Record.Headers...),
		driver.Header{Name: deadTopic, Value: d.Record.Topic},
		driver.Header{Name: deadGroup, Value: group},
		driver.Header{Name: deadPosition, Value: strconv.FormatInt(d.Position, 10)},
		driver.Header{Name: deadAttempts, Value: strconv.Itoa(attempts)},
		driver.Header{Name: deadReason, Value: strconv.QuoteToASCII(text)},
		driver.Header{Name: deadAt, Value: time.Now().UTC().Format(time.RFC3339Nano)},
	)
}

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
}

// Tail replays any topic by name and goes on with what comes, until ctx ends or handle errs. A record that cannot be
// unpacked is handed over as it is.
func (b *Bus) Tail(ctx context.Context, topic string, from From, handle func(Raw) error) error {
	feed, err := b.subscribe(ctx, driver.Subscription{Topic: topic, Start: from})
	if err != nil {
		return ended(ctx, err)
	}
	defer feed.Close()
	for {
		batch, err := feed.Next(ctx)
		if err != nil {
			return ended(ctx, err)
		}
		for i := range batch {
			d := &batch[i]
			if d.Event != driver.Data {
				continue
			}
			raw := Raw{
				Topic: topic, Partition: d.Partition, Position: d.Position, Key: d.Record.Key, Stored: d.Stored,
				Headers: make(map[string]string, len(d.Record.Headers)), Removed: d.Record.Value == nil, Value: d.Record.Value,
			}
			for _, h := range d.Record.Headers {
				raw.Headers[h.Name] = h.Value
			}
			if value, err := unpack(&d.Record); err == nil {
				raw.Value = value
			}
			if err := handle(raw); err != nil {
				return err
			}
		}
	}
}
