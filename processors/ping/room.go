package ping

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/obs"
)

// Group is the name under which commands are consumed.
const Group = "ping"

// stateName is the piece of state that says who pinged when, stateListened the one that says until when somebody listened.
const (
	stateName     = "known"
	stateListened = "listened"
)

// listenedEvery is how often that is written down.
const listenedEvery = 10 * time.Second

// What is no outage: handOver is how long nobody may own the watches while others take the pings and keep them on the bus,
// moment is how long a process that is alone may be away that only reads its configuration anew.
const (
	handOver = time.Minute
	moment   = time.Second
)

// Options of a Room. Bus is required.
type Options struct {
	Bus     *bus.Bus
	Watches map[string]Watch
	// Alone says that nobody else takes pings while this process is away.
	Alone bool
	Scope obs.Scope
}

// Room watches for pings in one process of all.
type Room struct {
	bus     *bus.Bus
	watches map[string]Watch
	alone   bool
	scope   obs.Scope
	last    *prometheus.GaugeVec
}

// New makes a room; nothing happens before Run.
func New(o Options) (*Room, error) {
	if o.Bus == nil {
		return nil, errors.New("make the room of pings: a bus is needed")
	}
	s := o.Scope.For("ping")
	return &Room{
		bus: o.Bus, watches: o.Watches, alone: o.Alone, scope: s,
		last: s.Gauge("kemi_ping_last_timestamp_seconds", "When the last ping of a watched job came, in seconds since 1970.", "name"),
	}, nil
}

// Run watches until ctx ends. Without anything to watch it still does, so that what was watched before is over.
func (r *Room) Run(ctx context.Context) error {
	return bus.Own(ctx, r.bus, Group, bus.Options{Writes: []event.Topic{(*event.Finding)(nil).Topic()}}, r.open)
}

func (r *Room) open(ctx context.Context, o *bus.Ownership) (bus.Handler[event.Command], error) {
	pieces, err := o.LoadState(ctx)
	if err != nil {
		return nil, fmt.Errorf("load who pinged when: %w", err)
	}
	known := map[string]Known{}
	if data := pieces[stateName]; data != nil {
		if err := json.Unmarshal(data, &known); err != nil {
			r.scope.Log().Warn("read who pinged when: it begins anew", "err", err)
			known = map[string]Known{}
		}
	}
	w := &owner{room: r, o: o, desk: NewDesk(r.watches, known, time.Now().UTC())}
	if err := w.catchUp(ctx); err != nil {
		return nil, fmt.Errorf("read who pinged meanwhile: %w", err)
	}
	w.away(string(pieces[stateListened]), time.Now().UTC())
	context.AfterFunc(ctx, r.last.Reset)
	return w, nil
}

// owner is the door of the commands.
type owner struct {
	room   *Room
	o      *bus.Ownership
	desk   *Desk
	unsaid []event.Event // Findings that are not stored yet.
	dirty  bool          // What is known has changed since it was saved.
	// listened is when it was written down last that somebody listens.
	listened time.Time
}

// catchUp takes in every ping that is stored by now and that no former owner has taken in: before, nothing may be said to
// be missing. It is handed over once more, which does no harm.
func (w *owner) catchUp(ctx context.Context) error {
	if len(w.room.watches) == 0 {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := false
	err := bus.Follow(ctx, w.room.bus, bus.From{Position: w.o.From}, func(m bus.Message[event.Command]) error {
		w.ping(m.Event)
		return nil
	}, func() {
		done = true
		cancel()
	}, w.o.Partition)
	if err == nil && !done {
		err = ctx.Err()
	}
	return err
}

// away grants time to those whose ping could not be taken while nobody was there to do so.
func (w *owner) away(listened string, now time.Time) {
	from, err := time.Parse(time.RFC3339Nano, listened)
	if err == nil && now.Sub(from) > map[bool]time.Duration{true: moment, false: handOver}[w.room.alone] {
		w.grant(from, now)
	}
}

func (w *owner) grant(from, now time.Time) {
	if excused := w.desk.Away(from, now); len(excused) > 0 {
		w.dirty = true
		w.room.scope.Log().Warn("pings were due while Kemi was away: they have until they are due the next time", "from", from, "to", now, "pings", excused)
	}
}

// ping takes in one command, if it is a ping.
func (w *owner) ping(c *event.Command) {
	if c == nil || c.Kind != event.Ping {
		return
	}
	at := c.At
	if now := time.Now(); at.After(now) {
		at = now // Another clock: a ping from the future would keep the alarm away.
	}
	if w.desk.Ping(c.Subject, at) {
		w.dirty = true
		w.room.last.WithLabelValues(c.Subject).Set(float64(at.Unix()))
	}
}

// Handle implements bus.Handler: what it returns nil for is saved.
func (w *owner) Handle(ctx context.Context, batch []bus.Message[event.Command]) error {
	for i := range batch {
		w.ping(batch[i].Event)
	}
	return w.save(ctx)
}

// Tick implements bus.Handler.
func (w *owner) Tick(ctx context.Context, now time.Time) error {
	now = now.Round(0) // What pings are judged by is the time of day: a clock that is set forward is time that nobody listened.
	if before := w.listened; len(w.room.watches) > 0 && now.Sub(before) >= listenedEvery {
		if err := w.listens(ctx, now); err != nil {
			return err // Nobody can store a ping either: nothing is judged.
		}
		if !before.IsZero() && now.Sub(before) > 2*listenedEvery { // The bus was away, or this process stood still.
			w.grant(before, now)
		}
	}
	findings, changed := w.desk.Tick(now.UTC())
	w.dirty = w.dirty || changed
	for _, f := range findings {
		w.unsaid = append(w.unsaid, f)
	}
	if len(w.unsaid) > 0 {
		if err := w.o.Publish(ctx, w.unsaid...); err != nil {
			return err
		}
		w.unsaid = nil
	}
	return w.save(ctx) // After the findings: what is not watched any more is forgotten once that was said.
}

// Close implements bus.Closer.
func (w *owner) Close(ctx context.Context) {
	if len(w.room.watches) > 0 {
		_ = w.listens(ctx, time.Now()) // Another has it by now, or it is as if this process were killed.
	}
}

// listens writes down that somebody listened until now.
func (w *owner) listens(ctx context.Context, now time.Time) error {
	if err := w.o.SaveState(ctx, stateListened, []byte(now.UTC().Format(time.RFC3339Nano))); err != nil {
		return fmt.Errorf("save until when pings were listened for: %w", err)
	}
	w.listened = now
	return nil
}

func (w *owner) save(ctx context.Context) error {
	if !w.dirty {
		return nil
	}
	data, err := json.Marshal(w.desk.Known())
	if err != nil {
		return err
	}
	if err := w.o.SaveState(ctx, stateName, data); err != nil {
		return fmt.Errorf("save who pinged when: %w", err)
	}
	w.dirty = false
	return nil
}
