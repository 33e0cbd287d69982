// Package view keeps the newest state of everything people ask for.
//
// In: targets, keys of readings, findings, alerts, incidents and pages, followed on the bus. Out: lists and single things, for the API,
// the console and the demo.
// It promises to be what the topics say, within moments, and to disturb no consumer.
// It never decides anything and never keeps history: that is on the topics.
package view

import (
	"context"
	"sync"
	"time"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/run"
)

// Model is the read model. It is safe for concurrent use.
type Model struct {
	bus   *bus.Bus
	mu    sync.RWMutex
	state *State
	await []chan struct{} // Closed when the state changes.
	ready chan struct{}
}

// New makes a model over the bus.
func New(b *bus.Bus) *Model {
	return &Model{bus: b, state: NewState(), ready: make(chan struct{})}
}

// Ready is closed when everything that was stored at the start is in the model.
func (m *Model) Ready() <-chan struct{} { return m.ready }

// Read calls f with the state; f must neither change nor keep it.
func (m *Model) Read(f func(*State)) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	f(m.state)
}

func (m *Model) write(f func(*State)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f(m.state)
	for _, c := range m.await {
		close(c)
	}
	m.await = nil
}

// Await calls f with the state whenever that changed, until f is content or ctx ends, and reports which; f must neither
// change nor keep the state.
func (m *Model) Await(ctx context.Context, f func(*State) bool) bool {
	for {
		m.mu.Lock()
		if f(m.state) {
			m.mu.Unlock()
			return true
		}
		c := make(chan struct{})
		m.await = append(m.await, c)
		m.mu.Unlock()
		select {
		case <-c:
		case <-ctx.Done():
			return false
		}
	}
}

// reachability is how far back verdicts are looked for at the start: the rules say twice as often whether a target
// answers, though nothing changed.
const reachability = time.Hour

// Run follows the bus until ctx ends.
func (m *Model) Run(ctx context.Context) error {
	var caughtUp sync.WaitGroup
	caughtUp.Add(6)
	go func() {
		caughtUp.Wait()
		close(m.ready)
	}()
	var once [6]sync.Once
	up := func(i int) func() { return func() { once[i].Do(caughtUp.Done) } }

	var g run.Group
	g.Add("targets", followed(m, (*State).SetTarget, (*State).RemoveTarget, func(s *State) { clear(s.targets); clear(s.names) }, up(0)))
	g.Add("findings", func(ctx context.Context) error {
		return bus.FollowKey(ctx, m.bus, bus.From{Time: time.Now().Add(-reachability)}, event.RuleReachable, func(msg bus.Message[event.Finding]) error {
			if !msg.Removed() {
				m.write(func(s *State) { s.SetFinding(msg.Event) })
			}
			return nil
		}, up(1))
	})
	g.Add("readings", func(ctx context.Context) error {
		m.write(func(s *State) { s.Follow(time.Now()) })
		return m.bus.Keys(ctx, (*event.Reading)(nil).Topic().Name, func(all []bus.Raw) {
			m.mu.Lock() // Nobody awaits this.
			defer m.mu.Unlock()
			for i := range all {
				m.state.SetPolled(all[i].Key, all[i].Stored)
			}
		})
	})
	g.Add("forget", func(ctx context.Context) error {
		hourly := time.NewTicker(time.Hour)
		defer hourly.Stop()
		for {
			m.write(func(s *State) { s.Forget(time.Now()) })
			select {
			case <-hourly.C:
			case <-ctx.Done():
				return nil
			}
		}
	})
	g.Add("alerts", func(ctx context.Context) error {
		return bus.Mirror(ctx, m.bus, func(msg bus.Message[event.Alert]) error {
			m.write(func(s *State) {
				if !msg.Removed() {
					s.SetAlert(msg.Event)
				} else if a := s.alerts[msg.Key]; a != nil && bus.Partition(a.Route(), a.Topic().Partitions) == msg.Partition {
					s.RemoveAlert(msg.Key) // What it was in a domain that its target has left may go without it.
				}
			})
			return nil
		}, up(2), func() { m.write((*State).clearAlerts) })
	})
	g.Add("incidents", followed(m, (*State).SetIncident, (*State).RemoveIncident, func(s *State) { clear(s.incidents) }, up(3)))
	g.Add("pages", followed(m, (*State).SetPage, (*State).RemovePage, func(s *State) { clear(s.pages) }, up(4)))
	g.Add("silences", followed(m, (*State).SetSilence, (*State).RemoveSilence, func(s *State) { clear(s.silences) }, up(5)))
	return g.Run(ctx)
}

// followed keeps what a keep-latest topic says, and begins anew with a topic that was made again.
func followed[T any, W event.Word[T]](m *Model, set func(*State, W), remove func(*State, string), clear func(*State), caughtUp func()) func(context.Context) error {
	return func(ctx context.Context) error {
		return bus.Mirror[T, W](ctx, m.bus, func(msg bus.Message[T]) error {
			m.write(func(s *State) {
				if msg.Removed() {
					remove(s, msg.Key)
				} else {
					set(s, W(msg.Event))
				}
			})
			return nil
		}, caughtUp, func() { m.write(clear) })
	}
}
