package alerting

import (
	"context"
	"sync"
	"time"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
)

// ReasonAbroad is the code of what holds back the pages for a target of another domain, on which something fired before that
// was known: its cause is down there, and people are told of it there.
const ReasonAbroad = "cause-abroad"

// abroad is which causes are down in each domain, by the open incidents about them. It is read once for the room, from when
// something here is about a target of another partition: for most that is never.
type abroad struct {
	settle time.Duration // How much longer a cause counts than it is down: what it took along comes back one by one.
	once   sync.Once
	wanted chan struct{}
	ready  chan struct{} // Closed when all is known that was stored.

	mu       sync.Mutex
	watchers map[*partition]struct{}
	causes   map[place]string // The incidents, by what they are about.
	about    map[string]place
}

// place is a target in a domain.
type place struct{ domain, target string }

func newAbroad(settle time.Duration) *abroad {
	return &abroad{
		settle: settle, wanted: make(chan struct{}), ready: make(chan struct{}), watchers: map[*partition]struct{}{},
		causes: map[place]string{}, about: map[string]place{},
	}
}

// want has the incidents read.
func (b *abroad) want() { b.once.Do(func() { close(b.wanted) }) }

// follow reads the incidents of all partitions until ctx ends, once somebody wants them.
func (b *abroad) follow(ctx context.Context, from *bus.Bus) error {
	select {
	case <-b.wanted:
	case <-ctx.Done():
		return nil
	}
	var once sync.Once
	return bus.Mirror(ctx, from, func(m bus.Message[event.Incident]) error {
		b.take(ctx, m.Key, m.Event)
		return nil
	}, func() {
		once.Do(func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			close(b.ready)
			b.tell()
		})
	}, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		clear(b.causes)
		clear(b.about)
		b.tell()
	})
}

// take takes in what an incident is now; nil is gone.
func (b *abroad) take(ctx context.Context, id string, i *event.Incident) {
	b.mu.Lock()
	defer b.mu.Unlock()
	was, known := b.about[id]
	if i != nil && i.Kind == event.IncidentDown && i.State == event.IncidentOpen {
		at := place{i.Domain, i.Cause}
		if known && was == at {
			return
		}
		b.forget(id)
		b.about[id], b.causes[at] = at, id
		b.tell()
		return
	}
	if !known {
		return
	}
	if i == nil || i.State != event.IncidentResolved || b.settle == 0 { // Its cause is another, or none.
		b.forget(id)
		b.tell()
		return
	}
	over := time.AfterFunc(b.settle, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.about[id] == was && ctx.Err() == nil {
			b.forget(id)
			b.tell()
		}
	})
	context.AfterFunc(ctx, func() { over.Stop() })
}

func (b *abroad) forget(id string) {
	at, known := b.about[id]
	if delete(b.about, id); known && b.causes[at] == id {
		delete(b.causes, at)
	}
}

func (b *abroad) tell() {
	for p := range b.watchers {
		p.rehush()
	}
}

// watch tells a partition of changes until ctx ends.
func (b *abroad) watch(ctx context.Context, p *partition) {
	b.mu.Lock()
	b.watchers[p] = struct{}{}
	b.mu.Unlock()
	context.AfterFunc(ctx, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.watchers, p)
	})
}

// known waits until everything is known that was stored.
func (b *abroad) known(ctx context.Context) error {
	b.want()
	select {
	case <-b.ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// why says what explains, in the domain of a target, that it fails: find finds what it needs. ok is false when nothing does,
// or when that is not known yet: nobody is kept waiting for that.
func (b *abroad) why(t *event.Target, find func(id string) *event.Target) (r event.Reason, ok bool) {
	b.want()
	b.mu.Lock()
	defer b.mu.Unlock()
	at := b.cause(t, find, map[string]string{})
	if at == "" {
		return r, false
	}
	text := at + " is down, as people are told of in its domain " + t.Domain()
	if at != t.ID {
		text += " (" + t.ID + " needs it)"
	}
	return event.Reason{Code: ReasonAbroad, Text: text, Causes: []string{at, b.causes[place{t.Domain(), at}]}}, true
}

// cause is the target of an incident that t is, or cannot do without, "" when there is none: of the alternatives of a need
// all have to be gone. In a cycle the way round ends.
func (b *abroad) cause(t *event.Target, find func(id string) *event.Target, known map[string]string) (cause string) {
	if cause, asked := known[t.ID]; asked {
		return cause
	}
	known[t.ID] = ""
	defer func() { known[t.ID] = cause }()
	if b.causes[place{t.Domain(), t.ID}] != "" {
		return t.ID
	}
	for _, kind := range event.RelationKinds() {
		for _, need := range t.Relations[kind] {
			for _, id := range need {
				cause = ""
				if up := find(id); up != nil && up.Domain() == t.Domain() {
					cause = b.cause(up, find, known)
				}
				if cause == "" {
					break
				}
			}
			if cause != "" {
				return cause
			}
		}
	}
	return ""
}
