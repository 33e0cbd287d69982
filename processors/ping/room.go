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

// listenedEvery is how often that is written down: a bus that is away for so long that a ping is refused (bus.PublishPromptly)
// is away when that is to be written.
const listenedEvery = 3 * time.Second

// What is no outage: handOver is how long nobody may own the watches while this process was there, as others may have been,
// and pings are kept on the bus; moment is how long a process may be away that only reads its configuration anew, and how
// long the bus may take to store what it is given.
const (
	handOver = time.Minute
	moment   = time.Second
)

// Options of a Room. Bus is required.
type Options struct {
	Bus     *bus.Bus
	Watches map[string]Watch
	// Alone says that there can be no other process that takes pings.
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
	// began is since when this process is there.
	began time.Time
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
	r.began = time.Now()
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
	if err := w.save(ctx); err != nil { // First what follows from the outage, then that it is over.
		return nil, err
	}
	if len(r.watches) > 0 {
		if err := w.listens(ctx); err != nil {
			return nil, err
		}
	}
	for name, k := range w.desk.Known() {
		r.show(name, k.Last)
	}
	context.AfterFunc(ctx, r.last.Reset)
	return w, nil
}

// show has the metrics say when the last ping of a watch came.
func (r *Room) show(name string, last time.Time) {
	if _, watched := r.watches[name]; watched && !last.IsZero() {
		r.last.WithLabelValues(name).Set(float64(last.Unix()))
	}
}

// owner is the door of the commands.
type owner struct {
	room   *Room
	o      *bus.Ownership
	desk   *Desk
	unsaid []event.Event // Findings that are not stored yet.
	dirty  bool          // What is known has changed since it was saved.
	// listened is when it was written down last that somebody listens, missed whether the bus was seen to be away since.
	listened time.Time
	missed   bool
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

// away grants time to those whose ping could not be taken while nobody was there to do so. Of a process that was there all
// the time it is taken that it would have taken them.
func (w *owner) away(listened string, now time.Time) {
	from, err := time.Parse(time.RFC3339Nano, listened)
	if err != nil {
		return
	}
	longest := moment
	if !w.room.alone && !w.room.began.After(from) {
		longest = handOver
	}
	if now.Sub(from) > longest {
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
		w.room.show(c.Subject, at)
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
	w.missed = w.missed || w.room.bus.Health() != nil
	// Nothing is said to be missing before it is known that it could have been stored until now.
	if len(w.room.watches) > 0 && (now.Sub(w.listened) >= listenedEvery || w.desk.Overdue(now.UTC())) {
		before := w.listened
		if err := w.listens(ctx); err != nil {
			return err // Nobody can store a ping either: nothing is judged.
		}
		if now = time.Now().Round(0); w.missed || now.Sub(before) > 3*listenedEvery { // The bus was away, or this process stood still.
			w.grant(before, now)
		}
		w.missed = false
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
	if now := time.Now().Round(0); len(w.room.watches) > 0 && !w.missed && now.Sub(w.listened) <= 3*listenedEvery {
		_ = w.listens(ctx) // Another has it by now, or it is as if this process were killed.
	}
}

// listens writes down that somebody listened until now. A bus that takes its time, or does not take it, was away.
func (w *owner) listens(ctx context.Context) error {
	now := time.Now()
	err := w.o.SaveState(ctx, stateListened, []byte(now.UTC().Format(time.RFC3339Nano)))
	if took := time.Since(now); err != nil || took > moment {
		w.missed = true
	}
	if err != nil {
		return fmt.Errorf("save until when pings were listened for: %w", err)
	}
	w.listened = time.Now().Round(0)
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
