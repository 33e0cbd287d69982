package bus

import (
	"context"
	"time"

	"kemi.dev/kemi/bus/driver"
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
}

// Tail replays any topic by name and goes on with what comes, until ctx ends or handle errs. It hands over what came at
// once together, never nothing, so that the caller can write it out once. A record that cannot be unpacked is handed over
// as it is.
func (b *Bus) Tail(ctx context.Context, topic string, from From, handle func([]Raw) error) error {
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
		all := make([]Raw, 0, len(batch))
		for i := range batch {
			if batch[i].Event == driver.Data {
				all = append(all, raw(&batch[i]))
			}
		}
		if len(all) == 0 {
			continue
		}
		if err := handle(all); err != nil {
			return err
		}
	}
}

func raw(d *driver.Delivery) Raw {
	r := Raw{
		Topic: d.Record.Topic, Partition: d.Partition, Position: d.Position, Key: d.Record.Key, Stored: d.Stored,
		Headers: make(map[string]string, len(d.Record.Headers)), Removed: d.Record.Value == nil, Value: d.Record.Value,
	}
	for _, h := range d.Record.Headers {
		r.Headers[h.Name] = h.Value
	}
	if value, err := unpack(&d.Record); err == nil {
		r.Value = value
	}
	return r
}
