package alerting

import (
	"context"
	"sync"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
)

// catalogue is the targets as the CMDB says them, shared by the room's partitions.
type catalogue struct {
	audience
	all map[string]*event.Target
}

func newCatalogue() *catalogue {
	return &catalogue{audience: newAudience(1), all: map[string]*event.Target{}}
}

// follow reads the targets until ctx ends.
func (c *catalogue) follow(ctx context.Context, b *bus.Bus) error {
	var once sync.Once
	return bus.Follow(ctx, b, bus.From{Snapshot: true}, func(m bus.Message[event.Target]) error {
		c.mu.Lock()
		defer c.mu.Unlock()
		change := change{id: m.Key, target: m.Event}
		if was := c.all[m.Key]; m.Removed() {
			delete(c.all, m.Key)
		} else if c.all[m.Key] = m.Event; was != nil && was.Domain() != m.Event.Domain() {
			for p := range c.watchers { // Where it was before it is gone.
				p.changed(changeOf(was, true), c.partition(p, was))
			}
		}
		for p := range c.watchers {
			p.changed(change, change.target == nil || c.partition(p, change.target))
		}
		return nil
	}, func() { once.Do(c.read) })
}

func (c *catalogue) partition(p *partition, t *event.Target) bool { return p.owns(t.Domain()) }

// change is a target that was set, or removed when target is nil.
type change struct {
	id     string
	target *event.Target
}

func changeOf(t *event.Target, removed bool) change {
	if removed {
		return change{id: t.ID}
	}
	return change{id: t.ID, target: t}
}

// watch gives a partition all its targets and from then on every change.
func (c *catalogue) watch(ctx context.Context, p *partition) error {
	return c.audience.watch(ctx, p, func() {
		for _, t := range c.all {
			p.changed(changeOf(t, false), p.owns(t.Domain()))
		}
	})
}
