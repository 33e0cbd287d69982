package cmdb

import (
	"context"
	"errors"
	"sync"
	"time"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/cmdb/source"
	"kemi.dev/kemi/internal/conf"
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

// Run publishes what the sources say until ctx ends, and then returns nil. An error means that the bus can no longer be
// used.
func (r *Room) Run(parent context.Context) error {
	if r.bus == nil {
		return errors.New("run cmdb: no bus")
	}
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	started := time.Now()
	d := newDesk(r.names(), r.canaryEvery, started)
	var running []*event.Target
	err := bus.Snapshot(ctx, r.bus, func(m bus.Message[event.Target]) error {
		if !m.Removed() {
			running = append(running, m.Event)
		}
		return nil
	})
	if parent.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	d.load(running, started)

	answers, commands := make(chan answer), make(chan bus.Message[event.Command])
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel(nil)
	for _, s := range r.sources {
		all.Go(func() { r.listen(ctx, s, answers) })
	}
	all.Go(func() {
		// From the start on, not from the end: what is said while this is being set up counts.
		err := bus.Follow(ctx, r.bus, bus.From{Time: started}, func(m bus.Message[event.Command]) error {
			select {
			case commands <- m:
			case <-ctx.Done():
			}
			return nil
		}, nil)
		if err != nil {
			cancel(err)
		}
	})
	for r.carryOut(ctx, d) {
		select {
		case <-ctx.Done():
		case a := <-answers:
			d.feed(a.name, time.Now()).answer(a.found, a.problems)
		case m := <-commands:
			r.command(d, m)
		}
	}
	if parent.Err() != nil {
		return nil
	}
	return context.Cause(ctx)
}

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
				select {
				case <-time.After(watchAgain):
				case <-ctx.Done():
				}
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
func (r *Room) carryOut(ctx context.Context, d *desk) bool {
	if ctx.Err() != nil {
		return false
	}
	out := d.settle(time.Now())
	r.show(d, out.changed)
	for _, batch := range batches(out.publish) {
		if !r.until(ctx, func() error { return r.bus.Publish(ctx, asEvents(batch)...) }) {
			return false
		}
		d.stored(batch)
		r.changes.WithLabelValues("published").Add(float64(len(batch)))
	}
	for _, batch := range batches(out.remove) {
		if !r.until(ctx, func() error { return r.bus.Remove(ctx, asEvents(batch)...) }) {
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
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		r.scope.Log().Warn("publish targets again", "err", err)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
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
