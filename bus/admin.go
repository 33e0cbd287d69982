package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/conf"
)

// errMute: the broker cannot be asked.
var errMute = errors.New("this broker does not say how it is")

// Topic returns the topic of that name. The error of one that this bus does not carry wraps driver.ErrNoTopic and names
// the nearest, or all.
func (b *Bus) Topic(name string) (event.Topic, error) {
	if t, known := b.topics[name]; known {
		return t, nil
	}
	names := make([]string, 0, len(b.topics))
	for n := range b.topics {
		names = append(names, n)
	}
	if near := conf.Nearest(name, names); near != "" {
		return event.Topic{}, fmt.Errorf("%w %q: did you mean %s?", driver.ErrNoTopic, name, near)
	}
	slices.Sort(names)
	return event.Topic{}, fmt.Errorf("%w %q: there are %s", driver.ErrNoTopic, name, strings.Join(names, ", "))
}

// Inspect says what a topic holds and how far its groups are. It asks the broker.
func (b *Bus) Inspect(ctx context.Context, topic string) (driver.Info, error) {
	if _, err := b.Topic(topic); err != nil {
		return driver.Info{}, err
	}
	i, ok := b.d.(driver.Inspector)
	if !ok {
		return driver.Info{}, fmt.Errorf("inspect %s: %w", topic, errMute)
	}
	return i.Inspect(ctx, topic)
}
