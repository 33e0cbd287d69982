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

// ReasonAskingAbroad is the code of what holds them back until that is read.
const ReasonAskingAbroad = "asking-abroad"

// askAbroad is how long the first page for a target of another domain waits for that at most.
const askAbroad = 10 * time.Second

// abroad is which causes are down in each domain, by the open incidents about them. It is read once for the room, from when
// a partition has something about a target of another: for most that is never. No clock runs in it: whoever asks says when.
type abroad struct {
	settle time.Duration // How much longer a cause counts than it is down: what it took along comes back one by one.
	once   sync.Once
	wanted chan struct{}
	ready  chan struct{} // Closed when all is known that was stored.

	mu       sync.Mutex
	watchers map[*partition]struct{}
	causes   map[place]string // The incidents, by what they are about.
	about    map[string]cause
	ending   []lapse // Those that are over, to be forgotten; some are open again.
}

// place is a target in a domain.
type place struct{ domain, target string }

// cause is what an incident is about. It counts until a time when that is over; zero is that it is not.
type cause struct {
	place
	until time.Time
}

type lapse struct {
	id    string
	until time.Time
}

func newAbroad(settle time.Duration) *abroad {
	return &abroad{
		settle: settle, wanted: make(chan struct{}), ready: make(chan struct{}), watchers: map[*partition]struct{}{},
		causes: map[place]string{}, about: map[string]cause{},
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
		b.take(m.Key, m.Event, time.Now())
		return nil
	}, func() {
		once.Do(b.read)
	}, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		clear(b.causes)
		clear(b.about)
		b.ending = nil
		b.tell()
	})
}

// read says that all is known that was stored.
func (b *abroad) read() {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.ready)
	b.tell()
}

// take takes in what an incident is now; nil is gone.
func (b *abroad) take(id string, i *event.Incident, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sweep(now)
	was, known := b.about[id]
	if i != nil && i.Kind == event.IncidentDown && i.State == event.IncidentOpen {
		is := cause{place: place{i.Domain, i.Cause}}
		if known && was == is {
			return
		}
		b.forget(id)
		b.about[id], b.causes[is.place] = is, id
		b.tell()
		return
	}
	switch {
	case !known:
	case i == nil || i.State != event.IncidentResolved: // Its cause is another, or none.
		b.forget(id)
		b.tell()
	case was.until.IsZero(): // Said again, it is no longer.
		was.until = now
		if i.Updated.Before(now) {
			was.until = i.Updated
		}
		was.until = was.until.Add(b.settle)
		b.about[id], b.ending = was, append(b.ending, lapse{id, was.until})
		b.tell()
	}
}

// sweep forgets what does not count any more.
func (b *abroad) sweep(now time.Time) {
	for len(b.ending) > 0 && !now.Before(b.ending[0].until) {
		if e := b.ending[0]; b.about[e.id].until.Equal(e.until) {
			b.forget(e.id)
		}
		b.ending = b.ending[1:]
	}
}

func (b *abroad) forget(id string) {
	at, known := b.about[id]
	if delete(b.about, id); known && b.causes[at.place] == id {
		delete(b.causes, at.place)
	}
}

func (b *abroad) tell() {
	for p := range b.watchers {
		p.heardAbroad()
	}
}

// heardAbroad notes that what explains guests is not what it was. It wakes nobody, as rehush.
func (p *partition) heardAbroad() {
	p.post.mu.Lock()
	p.post.abroad = true
	p.post.mu.Unlock()
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

// knows says whether everything is known that was stored.
func (b *abroad) knows() bool {
	select {
	case <-b.ready:
		return true
	default:
		return false
	}
}

// why says what explains, in the domain of a target, that it fails: find finds what it needs. It holds until a time at least,
// zero is until somebody is told of a change. ok is false when nothing does, or when that is not known yet.
func (b *abroad) why(t *event.Target, find func(id string) *event.Target, now time.Time) (r event.Reason, until time.Time, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sweep(now)
	q := question{abroad: b, find: find, now: now, known: map[string]string{}}
	at := q.cause(t)
	if at == "" {
		return r, until, false
	}
	text := at + " is down, as people are told of in its domain " + t.Domain()
	if at != t.ID {
		text += " (" + t.ID + " needs it)"
	}
	return event.Reason{Code: ReasonAbroad, Text: text, Causes: []string{at, b.causes[place{t.Domain(), at}]}}, q.until, true
}

// question is one that is asked of what is abroad.
type question struct {
	*abroad
	find  func(id string) *event.Target
	now   time.Time
	until time.Time // When the first of the causes that it came across does not count any more.
	known map[string]string
}

// cause is the target of an incident that t is, or cannot do without, "" when there is none: of the alternatives of a need
// all have to be gone. In a cycle the way round ends.
func (q *question) cause(t *event.Target) (cause string) {
	if cause, asked := q.known[t.ID]; asked {
		return cause
	}
	q.known[t.ID] = ""
	defer func() { q.known[t.ID] = cause }()
	if q.down(place{t.Domain(), t.ID}) {
		return t.ID
	}
	for _, kind := range event.RelationKinds() {
		for _, need := range t.Relations[kind] {
			for _, id := range need {
				cause = ""
				if up := q.find(id); up != nil && up.Domain() == t.Domain() {
					cause = q.cause(up)
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

func (q *question) down(at place) bool {
	id, known := q.causes[at]
	if !known {
		return false
	}
	until := q.about[id].until
	if until.IsZero() {
		return true
	}
	if q.until.IsZero() || until.Before(q.until) {
		q.until = until
	}
	return q.now.Before(until)
}
