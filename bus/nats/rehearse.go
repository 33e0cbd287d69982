package nats

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"kemi.dev/kemi/bus/driver"
)

// rehearse asks an external server once for what is asked of it all the time later, and makes the buckets. A user that may
// not, or an account that has no room, is found out at the start, which ends by it: later everybody waits and tries again.
// It leaves nothing behind, and costs some ten round trips.
func (d *Driver) rehearse(ctx context.Context, topics []driver.Topic) error {
	if d.host != nil {
		return nil // It refuses nothing.
	}
	if err := d.open(ctx); err != nil {
		return err
	}
	l := d.links[process]
	for name, bucket := range map[string]jetstream.KeyValue{"_groups": d.groups, "_members": d.members} {
		name = d.config.Prefix + name
		err := l.call(ctx, "KV_"+name, func(ctx context.Context) error {
			const nobodys, never = "start", 1 << 62 // A revision that no key has: it is looked at and refused.
			if _, err := bucket.Get(ctx, nobodys); err != nil && !errors.Is(err, jetstream.ErrKeyNotFound) {
				return err
			}
			if _, err := bucket.Update(ctx, nobodys, nil, never); err != nil && !isMismatch(err) {
				return err
			}
			return nil
		})
		if err != nil {
			return l.explain(fmt.Errorf("use bucket %s: %w", name, d.put(err)))
		}
	}
	for _, want := range topics {
		t, err := d.topic(ctx, want.Name)
		if err != nil || t.Kind == driver.Work {
			continue
		}
		err = l.call(ctx, t.stream, t.peek)
		if err != nil {
			return l.explain(fmt.Errorf("read stream %s: %w", t.stream, d.put(err)))
		}
		break // One is like the other.
	}
	return nil
}

// peek begins to read a topic and lets it be.
func (t *topic) peek(ctx context.Context) error {
	if _, _, err := t.lastOf(ctx, t.filter(0)); err != nil {
		return err
	}
	end, err := t.end(ctx)
	if err != nil {
		return err
	}
	consumer, err := t.reading(ctx, []string{t.filter(0)}, from{position: end + 1})
	if err != nil {
		return err
	}
	return t.link.js.DeleteConsumer(ctx, t.stream, consumer.CachedInfo().Name)
}
