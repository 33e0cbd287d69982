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

// stateName is the piece of state that says who pinged when.
const stateName = "known"

// Options of a Room. Bus is required.
type Options struct {
	Bus     *bus.Bus
	Watches map[string]Watch
	Scope   obs.Scope
}

// Room watches for pings in one process of all.
type Room struct {
	bus     *bus.Bus
	watches map[string]Watch
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
		bus: o.Bus, watches: o.Watches, scope: s,
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
}

// Handle implements bus.Handler: what it returns nil for is saved.
func (w *owner) Handle(ctx context.Context, batch []bus.Message[event.Command]) error {
	for i := range batch {
		c := batch[i].Event
		if c == nil || c.Kind != event.Ping {
			continue
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
	return w.save(ctx)
}

// Tick implements bus.Handler.
func (w *owner) Tick(ctx context.Context, now time.Time) error {
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
