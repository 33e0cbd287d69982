package alerting

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
)

// said is what people said, shared by the room's partitions: silences, overrides and commands.
type said struct {
	audience
	silences map[string]*event.Silence
	commands []*event.Command // About incidents, oldest first.
}

// rememberCommands is how far back commands are read: what nobody took in for so long is not taken in any more.
const rememberCommands = 7 * 24 * time.Hour

func newSaid() *said {
	return &said{audience: newAudience(3), silences: map[string]*event.Silence{}}
}

// news is something that people said, for the post of a partition.
type news struct {
	silence *event.Silence
	gone    string // A silence that is there no more.
	command *event.Command
}

// follow reads what people say until ctx ends; overrides go to the people.
func (s *said) follow(ctx context.Context, b *bus.Bus, p *people) error {
	errs := make(chan error, 3)
	var tasks sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	run := func(f func(caughtUp func()) error) {
		tasks.Go(func() {
			var once sync.Once
			errs <- f(func() { once.Do(s.read) })
			cancel()
		})
	}
	run(func(caughtUp func()) error {
		return bus.Follow(ctx, b, bus.From{Snapshot: true}, func(m bus.Message[event.Silence]) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			if m.Removed() {
				delete(s.silences, m.Key)
				s.tell(news{gone: m.Key})
			} else {
				s.silences[m.Key] = m.Event
				s.tell(news{silence: m.Event})
			}
			return nil
		}, caughtUp)
	})
	run(func(caughtUp func()) error {
		return bus.Follow(ctx, b, bus.From{Snapshot: true}, func(m bus.Message[event.Override]) error {
			if m.Removed() {
				p.roster.Drop(m.Key)
			} else {
				p.roster.Put(m.Event)
			}
			return nil
		}, caughtUp)
	})
	run(func(caughtUp func()) error {
		return bus.Follow(ctx, b, bus.From{Time: time.Now().Add(-rememberCommands)}, func(m bus.Message[event.Command]) error {
			if c := m.Event; c != nil && aboutIncidents(c.Kind) {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.commands = append(s.commands, c)
				if old := c.At.Add(-rememberCommands); s.commands[0].At.Before(old) {
					s.commands = slices.DeleteFunc(s.commands, func(c *event.Command) bool { return c.At.Before(old) })
				}
				s.tell(news{command: c})
			}
			return nil
		}, caughtUp)
	})
	tasks.Wait()
	return <-errs
}

func aboutIncidents(k event.CommandKind) bool {
	return slices.Contains([]event.CommandKind{
		event.Acknowledge, event.Unacknowledge, event.Assign, event.Remark, event.Resolve, event.Snooze,
	}, k)
}

func (s *said) tell(n news) {
	for p := range s.watchers {
		p.said(n)
	}
}

// watch gives a partition everything that was said, and from then on what comes.
func (s *said) watch(ctx context.Context, p *partition) error {
	return s.audience.watch(ctx, p, func() {
		for _, id := range slices.Sorted(maps.Keys(s.silences)) {
			p.said(news{silence: s.silences[id]})
		}
		for _, c := range s.commands {
			p.said(news{command: c})
		}
	})
}

// said puts what people said into the post.
func (p *partition) said(n news) {
	p.post.mu.Lock()
	p.post.news = append(p.post.news, n)
	p.post.mu.Unlock()
	p.own.Wake()
}

// hear hands what people said to the desk.
func (p *partition) hear(all []news, now time.Time) {
	for _, n := range all {
		switch {
		case n.silence != nil:
			if err := p.desk.Silence(n.silence); err != nil {
				p.room.scope.Log().Warn("take in silence: it holds nothing back", "silence", n.silence.ID, "err", err)
			}
		case n.command != nil:
			p.desk.Command(n.command, now)
		default:
			p.desk.Unsilence(n.gone)
		}
	}
}
