package alert

import (
	"context"
	"strings"
	"sync"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
)

// catalogue knows what targets are called. It is read once for the room's partitions, from when an alert fires that is about
// none that was known: most have no such alert, and targets are many.
type catalogue struct {
	once   sync.Once
	wanted chan struct{}

	mu      sync.Mutex
	targets map[string]*event.Target // With what they are called and whose they are, and nothing else.
	names   event.Names
	version int // Counts changes of these, but for those of Target.Version alone.
	// All that was stored has been read: until then a name that several share might seem to be one's alone, as it might for a
	// moment while a topic is read anew that was lost.
	ready bool
}

func newCatalogue() *catalogue {
	return &catalogue{wanted: make(chan struct{}), targets: map[string]*event.Target{}, names: event.Names{}}
}

// follow reads the targets until ctx ends, once somebody wants them.
func (c *catalogue) follow(ctx context.Context, b *bus.Bus) error {
	select {
	case <-c.wanted:
	case <-ctx.Done():
		return nil
	}
	change := func(f func()) {
		c.mu.Lock()
		defer c.mu.Unlock()
		f()
		c.version++
	}
	return bus.Mirror(ctx, b, func(m bus.Message[event.Target]) error {
		old, t := c.targets[m.Key], (*event.Target)(nil)
		if m.Event != nil && m.Event.Lifecycle != event.Retired {
			t = m.Event
		}
		if t == nil && old == nil || t != nil && old != nil && old.Version == t.Version {
			return nil
		}
		if t != nil {
			if t = named(t); old != nil && sameNames(old, t) { // Nobody finds anything else by it.
				c.mu.Lock()
				defer c.mu.Unlock()
				c.targets[t.ID] = t
				return nil
			}
		}
		change(func() {
			c.names.Remove(old)
			if delete(c.targets, m.Key); t != nil {
				c.targets[t.ID] = t
				c.names.Add(t)
			}
		})
		return nil
	}, func() { change(func() { c.ready = true }) }, func() {
		change(func() { clear(c.targets); clear(c.names) })
	})
}

// named is what a target is called and whose it is. Its texts are its own: those of t are parts of all that was read of it.
func named(t *event.Target) *event.Target {
	kept := &event.Target{ID: strings.Clone(t.ID), Address: strings.Clone(t.Address), Team: strings.Clone(t.Team), Version: strings.Clone(t.Version)}
	if name := t.Labels[event.LabelName]; name != "" {
		kept.Labels = map[string]string{event.LabelName: strings.Clone(name)}
	}
	return kept
}

// sameNames says whether two that named made differ in nothing but their versions.
func sameNames(a, b *event.Target) bool {
	return a.ID == b.ID && a.Address == b.Address && a.Team == b.Team && a.Labels[event.LabelName] == b.Labels[event.LabelName]
}

// read calls look with the version of what is known and how to find what is called so, once all is known that was stored.
func (c *catalogue) read(look func(version int, called func(instance string) *event.Target)) {
	c.once.Do(func() { close(c.wanted) })
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ready {
		return
	}
	known := func(id string) *event.Target { return c.targets[id] }
	look(c.version, func(instance string) *event.Target { return c.names.Find(instance, known) })
}
