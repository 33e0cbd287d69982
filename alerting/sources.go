package alerting

import (
	"context"
	"sync"

	"kemi.dev/kemi/alerting/hush"
	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
)

// sources are the alerts that fire and by the inhibition rules hold others back: those of all partitions, also of the ones
// that another process owns. They are read once for the room, and only when there are such rules.
type sources struct {
	audience
	inhibitor *hush.Inhibitor // Nil when there are no rules.
	// at is the position of the newest alert of each partition that follow has seen.
	at map[int]int64
}

func newSources(holds *hush.Set) *sources {
	s := &sources{audience: newAudience(1), at: map[int]int64{}}
	if holds == nil || !holds.Inhibits() {
		s.read()
		return s
	}
	s.inhibitor = holds.Inhibitor()
	return s
}

// follow reads the alerts until ctx ends.
func (s *sources) follow(ctx context.Context, b *bus.Bus) error {
	if s.inhibitor == nil {
		<-ctx.Done()
		return nil
	}
	var once sync.Once
	return bus.Mirror(ctx, b, func(m bus.Message[event.Alert]) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.at[m.Partition] = m.Position
		s.take(m)
		return nil
	}, func() { once.Do(s.read) }, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		clear(s.at)
		s.inhibitor.Clear()
		s.tell()
	})
}

// ahead takes in what a partition was handed before follow was, so that of two alerts of one partition the later is
// judged by the earlier whatever the waits are. It never goes back behind follow, which has the last word.
func (s *sources) ahead(m bus.Message[event.Alert]) {
	if s.inhibitor == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.Position > s.at[m.Partition] {
		s.take(m)
	}
}

func (s *sources) take(m bus.Message[event.Alert]) {
	changed := false
	switch a := m.Event; {
	case a != nil && a.Rule == event.RuleCanary:
	case a != nil && a.State == event.AlertFiring:
		changed = s.inhibitor.Set(a.ID, a.Labels)
	default:
		changed = s.inhibitor.Unset(m.Key)
	}
	if changed {
		s.tell()
	}
}

func (s *sources) tell() {
	for p := range s.watchers {
		p.rehush()
	}
}

// watch returns when everything that was stored is known, and from then on tells a partition of changes.
func (s *sources) watch(ctx context.Context, p *partition) error {
	return s.audience.watch(ctx, p, func() {})
}

// rehush notes that what holds pages back is not what it was. It wakes nobody: whoever decides looks at the post first.
func (p *partition) rehush() {
	p.post.mu.Lock()
	p.post.hushed = true
	p.post.mu.Unlock()
}
