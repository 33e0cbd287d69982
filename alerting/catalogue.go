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
		change, was := change{id: m.Key, target: m.Event}, c.all[m.Key]
		if m.Removed() {
			delete(c.all, m.Key)
		} else {
			c.all[m.Key] = m.Event
		}
		matters := change.target == nil || was == nil || was.Version != change.target.Version || was.Lifecycle != change.target.Lifecycle
		for p := range c.watchers {
			ours := change.target == nil || c.partition(p, change.target)
			switch {
			case ours:
				p.changed(change, ours)
			case was != nil && was.Domain() != m.Event.Domain() && c.partition(p, was):
				p.changed(foreign(m.Event), true) // Where it was before something may be about it yet.
			case matters:
				p.visited(foreign(m.Event)) // Something of it may need the target, or be about it.
			}
		}
		return nil
	}, func() { once.Do(c.read) })
}

// find is a target of any domain; nil when there is none of that id.
func (c *catalogue) find(id string) *event.Target {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all[id]
}

func (c *catalogue) partition(p *partition, t *event.Target) bool { return p.owns(t.Domain()) }

// change is a target that was set, or removed when target is nil.
type change struct {
	id      string
	target  *event.Target
	foreign bool // It is another partition's.
}

func foreign(t *event.Target) change { return change{t.ID, t, true} }

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
