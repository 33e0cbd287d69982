package kafka

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"kemi.dev/kemi/bus/driver"
)

// entry is what the registry says of a topic, for those who did not make it: Kafka knows nothing of kinds.
type entry struct {
	Kind       string `json:"kind"`
	Partitions int    `json:"partitions"`
	KeepMillis int64  `json:"keep_ms,omitempty"`
	History    int    `json:"history,omitempty"`
	MaxBytes   int64  `json:"max_bytes,omitempty"`
	DropOldest bool   `json:"drop_oldest,omitempty"`
	Bulk       bool   `json:"bulk,omitempty"`
	Sync       bool   `json:"sync,omitempty"`
}

// registry is the name of Kafka's topic that says what the others are. No topic of the bus can have it.
func (d *Driver) registry() string { return d.config.Prefix + "-topics" }

func (d *Driver) registryTopic() *topic {
	t := driver.Topic{Name: d.registry(), Kind: driver.Latest, Partitions: 1}
	return &topic{Topic: t, name: t.Name, parts: 1, maxBatch: defaultBatch, quota: quota{asking: make(chan struct{}, 1)}}
}

func writeEntry(t driver.Topic) ([]byte, error) {
	return json.Marshal(entry{
		Kind: kinds[t.Kind], Partitions: t.Partitions, KeepMillis: t.Keep.Milliseconds(), History: t.History,
		MaxBytes: t.MaxBytes, DropOldest: t.DropOldest, Bulk: t.Bulk, Sync: t.Sync,
	})
}

func readEntry(name string, data []byte) (driver.Topic, error) {
	var e entry
	if err := json.Unmarshal(data, &e); err != nil {
		return driver.Topic{}, err
	}
	t := driver.Topic{
		Name: name, Kind: -1, Partitions: e.Partitions, Keep: time.Duration(e.KeepMillis) * time.Millisecond, History: e.History,
		MaxBytes: e.MaxBytes, DropOldest: e.DropOldest, Bulk: e.Bulk, Sync: e.Sync,
	}
	for k, text := range kinds {
		if text == e.Kind {
			t.Kind = k
		}
	}
	if t.Kind < 0 || t.Partitions < 1 {
		return t, fmt.Errorf("kind %q with %d partitions", e.Kind, e.Partitions)
	}
	return t, nil
}

// openRegistry makes the registry when it is not there, and reads it.
func (d *Driver) openRegistry(ctx context.Context) (map[string]*driver.Topic, error) {
	t := d.registryTopic()
	_, err := d.describe(ctx, t.name)
	if errors.Is(err, driver.ErrNoTopic) {
		if err := d.create(ctx, t); err != nil && !errors.Is(err, kafkago.TopicAlreadyExists) {
			return nil, err
		}
		_, err = d.await(ctx, t.name)
	}
	if err != nil {
		return nil, err
	}
	return d.entries(ctx)
}

// entries reads the registry: what was said last about each topic.
func (d *Driver) entries(ctx context.Context) (map[string]*driver.Topic, error) {
	t := d.registryTopic()
	end, err := d.offsets(ctx, t, []int{0}, kafkago.LastOffset)
	if errors.Is(err, driver.ErrNoTopic) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", t.name, err)
	}
	out := map[string]*driver.Topic{}
	r := newReader(d, t, 0, 0)
	r.strict = true
	for r.next < end[0] {
		p, err := r.fetch(ctx)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", t.name, err)
		}
		for i := range p.ds {
			name := p.ds[i].Record.Key
			one, err := readEntry(name, p.ds[i].Record.Value)
			if err != nil {
				d.scope.Log().Error("skip what is said of a topic", "topic", name, "in", t.name, "err", err)
				continue
			}
			out[name] = &one
		}
	}
	return out, nil
}

// register writes down what a topic is.
func (d *Driver) register(ctx context.Context, t driver.Topic) error {
	value, err := writeEntry(t)
	if err != nil {
		return fmt.Errorf("write down what %s is: %w", t.Name, err)
	}
	registry := d.registryTopic()
	s := &sealed{}
	if err := s.add(&driver.Record{Key: t.Name, Value: value}, registry, 0); err != nil {
		return fmt.Errorf("write down what %s is: %w", t.Name, err)
	}
	data := appendBatch(nil, nobody, time.Now().UnixMilli(), s)
	return d.insist(ctx, func() error {
		if err := d.produce(ctx, "", []batch{{topic: registry, data: data}}); err != nil {
			return fmt.Errorf("write down what %s is: %w", t.Name, err)
		}
		return nil
	})
}
