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
	version int // Counts changes of these.
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
	return bus.Mirror(ctx, b, func(m bus.Message[event.Target]) error {
		t := m.Event
		if t != nil && t.Lifecycle == event.Retired {
			t = nil
		}
		c.take(m.Key, t)
		return nil
	}, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.ready = true
		c.version++
	}, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		clear(c.targets)
		clear(c.names)
		c.version++
	})
}

// take takes in what a target is now; nil is gone.
func (c *catalogue) take(id string, t *event.Target) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.targets[id]
	if sameNames(old, t) { // Nobody finds anything else by it.
		return
	}
	c.names.Remove(old)
	delete(c.targets, id)
	if t != nil {
		t = named(t)
		c.targets[t.ID] = t
		c.names.Add(t)
	}
	c.version++
}

// named is what a target is called and whose it is. Its texts are its own: those of t are parts of all that was read of it.
func named(t *event.Target) *event.Target {
	kept := &event.Target{ID: strings.Clone(t.ID), Address: strings.Clone(t.Address), Team: strings.Clone(t.Team)}
	if name := t.Labels[event.LabelName]; name != "" {
		kept.Labels = map[string]string{event.LabelName: strings.Clone(name)}
	}
	return kept
}

// sameNames says whether two are called the same and are the same team's; nil is none.
func sameNames(a, b *event.Target) bool {
	if a == nil || b == nil {
		return a == b
	}
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
