package cmdb

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/cmdb/source"
	"kemi.dev/kemi/internal/conf"
	"kemi.dev/kemi/internal/pause"
)

// ArgShrink is the argument of AcceptShrink that names the loss: SourceStatus.Shrink.
const ArgShrink = "shrink"

const (
	publishBatch = 256
	retryFirst   = 100 * time.Millisecond
	retryLast    = 5 * time.Second
	// watchAgain is after how long a watch that failed is started again.
	watchAgain = 30 * time.Second
)

// answer is what one source said.
type answer struct {
	name     string
	found    []source.Found
	problems conf.Problems
}

// Group is the room's name on the bus. Who owns the commands in it is the one that reads the sources.
const Group = "cmdb"

// Run publishes what the sources say until ctx ends, and then returns nil. Of several processes one does it, and another
// takes over when that is gone. An error means that the bus can no longer be used.
func (r *Room) Run(ctx context.Context) error {
	if r.bus == nil {
		return errors.New("run cmdb: no bus")
	}
	return bus.Own(ctx, r.bus, Group, bus.Options{Start: bus.From{End: true}, Writes: []event.Topic{(*event.Target)(nil).Topic()}}, r.lead)
}

// leader is the room while it is the one that reads the sources.
type leader struct {
	room     *Room
	own      *bus.Ownership
	desk     *desk
	commands chan bus.Message[event.Command]
	done     chan struct{}
}

// lead begins with the targets that run.
func (r *Room) lead(ctx context.Context, own *bus.Ownership) (bus.Handler[event.Command], error) {
	started := time.Now()
	l := &leader{
		room: r, own: own, desk: newDesk(r.names(), r.canaryEvery, started),
		commands: make(chan bus.Message[event.Command]), done: make(chan struct{}),
	}
	var running []*event.Target
	err := bus.Snapshot(ctx, r.bus, func(m bus.Message[event.Target]) error {
		if !m.Removed() {
			running = append(running, m.Event)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("load targets: %w", err)
	}
	l.desk.load(running, started)
	r.leads(true)
	go l.run(ctx)
	return l, nil
}

// run reads the sources and carries out what follows, until ctx ends.
func (l *leader) run(ctx context.Context) {
	defer close(l.done)
	defer l.room.leads(false)
	answers := make(chan answer)
	var all sync.WaitGroup
	defer all.Wait()
	for _, s := range l.room.sources {
		all.Go(func() { l.room.listen(ctx, s, answers) })
	}
	for l.carryOut(ctx) {
		select {
		case <-ctx.Done():
		case a := <-answers:
			l.desk.feed(a.name, time.Now()).answer(a.found, a.problems)
		case m := <-l.commands:
			l.room.command(l.desk, m)
		}
	}
}

// Handle implements bus.Handler.
func (l *leader) Handle(ctx context.Context, batch []bus.Message[event.Command]) error {
	for _, m := range batch {
		select {
		case l.commands <- m:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Tick implements bus.Handler.
func (l *leader) Tick(context.Context, time.Time) error { return nil }

// Close implements bus.Closer.
func (l *leader) Close(context.Context) { <-l.done }

// listen reads a source at the start and whenever it changes.
func (r *Room) listen(ctx context.Context, s source.Source, answers chan<- answer) {
	signal := make(chan struct{}, 1)
	changed := func() {
		select {
		case signal <- struct{}{}:
		default:
		}
	}
	changed()
	var watch sync.WaitGroup
	defer watch.Wait()
	watch.Go(func() {
		for ctx.Err() == nil {
			if err := s.Watch(ctx, changed); err != nil && ctx.Err() == nil {
				r.scope.Log().Warn("watch a source again", "source", s.Name(), "err", err)
				pause.For(ctx, watchAgain)
			}
		}
	})
	for {
		select {
		case <-ctx.Done():
			return
		case <-signal:
		}
		found, problems := s.List(ctx)
		if ctx.Err() != nil {
			return
		}
		select {
		case answers <- answer{s.Name(), found, problems}:
		case <-ctx.Done():
			return
		}
	}
}

func (r *Room) command(d *desk, m bus.Message[event.Command]) {
	c := m.Event
	if c == nil || c.Kind != event.AcceptShrink {
		return
	}
	at := c.At
	if at.IsZero() {
		at = m.Stored
	}
	log := r.scope.Log().With("source", c.Subject, "by", c.By)
	if err := d.accept(c.Subject, c.Args[ArgShrink], at); err != nil {
		log.Warn("ignore accept-shrink", "err", err)
		return
	}
	log.Info("accept that the source shrinks", "comment", c.Comment)
}

// carryOut settles the desk and does what it decided; false means that ctx is over.
func (l *leader) carryOut(ctx context.Context) bool {
	if ctx.Err() != nil {
		return false
	}
	r, d := l.room, l.desk
	out := d.settle(time.Now())
	r.show(d, out.changed)
	if len(out.changed) > 0 {
		l.note(ctx)
	}
	for _, batch := range batches(out.publish) {
		if !r.until(ctx, func() error { return l.own.Publish(ctx, asEvents(batch)...) }) {
			return false
		}
		d.stored(batch)
		r.changes.WithLabelValues("published").Add(float64(len(batch)))
	}
	for _, batch := range batches(out.remove) {
		if !r.until(ctx, func() error { return l.own.Remove(ctx, asEvents(batch)...) }) {
			return false
		}
		d.removed(batch)
		r.changes.WithLabelValues("removed").Add(float64(len(batch)))
	}
	if n, m := len(out.publish), len(out.remove); n+m > 0 {
		r.scope.Log().Info("targets changed", "published", n, "removed", m)
	}
	return true
}

// until does something until it works: a broker that is away comes back.
func (r *Room) until(ctx context.Context, do func() error) bool {
	for wait := retryFirst; ; wait = min(2*wait, retryLast) {
		err := do()
		if err == nil {
			r.publishing.Works(r.scope.Log(), time.Now(), "targets are published again")
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		r.publishing.Failed(r.scope.Log(), time.Now(), "targets cannot be published, it is tried again", "err", err)
		if !pause.For(ctx, wait) {
			return false
		}
	}
}

func batches(ts []*event.Target) (out [][]*event.Target) {
	for len(ts) > 0 {
		n := min(len(ts), publishBatch)
		out = append(out, ts[:n])
		ts = ts[n:]
	}
	return out
}

func asEvents(ts []*event.Target) []event.Event {
	out := make([]event.Event, len(ts))
	for i, t := range ts {
		out[i] = t
	}
	return out
}
