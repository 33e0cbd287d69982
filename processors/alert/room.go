package alert

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/canary"
	"kemi.dev/kemi/internal/obs"
	"kemi.dev/kemi/internal/run"
)

// Group is the name under which findings are consumed.
const Group = "alert"

// Options of a Room. Bus is required.
type Options struct {
	Bus    *bus.Bus
	Scope  obs.Scope
	Canary *canary.Tracker
}

// Room turns the findings of every partition that falls to this process into alerts.
type Room struct {
	bus         *bus.Bus
	catalogue   *catalogue
	canary      *canary.Tracker
	scope       obs.Scope
	transitions *prometheus.CounterVec
	findings    *prometheus.CounterVec
	firing      *prometheus.GaugeVec
}

// New makes a room; nothing happens before Run.
func New(o Options) (*Room, error) {
	if o.Bus == nil {
		return nil, errors.New("make the alert room: a bus is needed")
	}
	s := o.Scope.For("alert")
	return &Room{
		bus: o.Bus, catalogue: newCatalogue(), canary: o.Canary, scope: s,
		transitions: s.Counter("kemi_alert_transitions_total", "Alerts published, by what they say.", "state"),
		findings:    s.Counter("kemi_alert_findings_total", "Findings taken, by verdict.", "verdict"),
		firing:      s.Gauge("kemi_alert_firing", "Alerts that fire, with data or without.", "partition", "data"),
	}, nil
}

// Run deduplicates until ctx ends.
func (r *Room) Run(ctx context.Context) error {
	var g run.Group
	g.Add("follow targets", func(ctx context.Context) error { return r.catalogue.follow(ctx, r.bus) })
	g.Add("own findings", func(ctx context.Context) error {
		return bus.Own(ctx, r.bus, Group, bus.Options{Writes: []event.Topic{(*event.Alert)(nil).Topic()}}, r.open)
	})
	return g.Run(ctx)
}

// open makes the owner of a partition. Findings and alerts have the same route and equally many partitions, so that
// every alert the partition's findings can be about is in the same partition of alerts.
func (r *Room) open(ctx context.Context, o *bus.Ownership) (bus.Handler[event.Finding], error) {
	w := &owner{room: r, o: o, desk: NewDesk(), position: o.From - 1}
	err := bus.Snapshot(ctx, r.bus, func(m bus.Message[event.Alert]) error {
		if !m.Removed() {
			w.desk.Load(m.Event)
		}
		return nil
	}, o.Partition)
	if err != nil {
		return nil, fmt.Errorf("load alerts of partition %d: %w", o.Partition, err)
	}
	context.AfterFunc(ctx, w.unmeasure)
	return w, nil
}

// owner is the door of one partition.
type owner struct {
	room     *Room
	o        *bus.Ownership
	desk     *Desk
	position int64
	outbox   []event.Event
	trip     time.Time // slot of a canary's trip in the outbox
	swept    time.Time
	tied     int // The version of the catalogue that all untied alerts were looked up in.
}

// Handle implements bus.Handler.
func (w *owner) Handle(ctx context.Context, batch []bus.Message[event.Finding]) error {
	for i := range batch {
		m := &batch[i]
		// A batch comes again when its alerts could not be published: the desk has seen it.
		if m.Position <= w.position {
			continue
		}
		w.position = m.Position
		if m.Event == nil {
			continue
		}
		w.room.findings.WithLabelValues(string(m.Event.Verdict)).Inc()
		if a := w.desk.Finding(m.Event); a != nil {
			w.outbox = append(w.outbox, a)
			if m.Event.Rule == event.RuleCanary {
				w.trip = m.Event.At
			}
		}
	}
	return w.publish(ctx)
}

// Tick implements bus.Handler.
func (w *owner) Tick(ctx context.Context, now time.Time) error {
	if now.Sub(w.swept) > time.Hour {
		w.swept = now
		w.desk.Sweep(now)
		if err := w.remove(ctx, now); err != nil {
			return err
		}
	}
	for _, a := range w.desk.Over(now) {
		w.outbox = append(w.outbox, a)
	}
	w.tie()
	firing, unknown := w.desk.Firing()
	partition := fmt.Sprint(w.o.Partition)
	w.room.firing.WithLabelValues(partition, "known").Set(float64(firing - unknown))
	w.room.firing.WithLabelValues(partition, "unknown").Set(float64(unknown))
	if ctx.Err() != nil {
		w.unmeasure() // The partition went meanwhile.
	}
	return w.publish(ctx)
}

// tie has the desk look up what untied alerts are about: those that came since, or all when other targets are known.
func (w *owner) tie() {
	if w.desk.Untied() == 0 {
		return
	}
	w.room.catalogue.read(func(version int, called func(string) *event.Target) {
		for _, a := range w.desk.Tie(called, version != w.tied) {
			w.outbox = append(w.outbox, a)
		}
		w.tied = version
	})
}

// removedAtOnce bounds how many alerts are taken out of the topic in an hour.
const removedAtOnce = 20_000

// remove takes alerts from elsewhere out of the topic that are over since long ago.
func (w *owner) remove(ctx context.Context, now time.Time) error {
	old := w.desk.Old(now, removedAtOnce)
	if len(old) == 0 {
		return nil
	}
	gone := make([]event.Event, len(old))
	for i, a := range old {
		gone[i] = a
	}
	if err := w.o.Remove(ctx, gone...); err != nil {
		return fmt.Errorf("remove alerts that are long over: %w", err)
	}
	w.desk.Removed(old)
	w.room.scope.Log().Info("alerts from elsewhere that were over since long ago are no more on their topic", "partition", w.o.Partition, "alerts", len(old))
	return nil
}

// unmeasure takes back what is exported of the partition: it is another's from now on.
func (w *owner) unmeasure() {
	w.room.firing.DeletePartialMatch(prometheus.Labels{"partition": fmt.Sprint(w.o.Partition)})
}

// publish says the transitions, all at once: each call waits for the disk.
func (w *owner) publish(ctx context.Context) error {
	if len(w.outbox) == 0 {
		return nil
	}
	if err := w.o.Publish(ctx, w.outbox...); err != nil {
		return err
	}
	for _, e := range w.outbox {
		a := e.(*event.Alert)
		state := string(a.State)
		if a.Unknown {
			state = "unknown"
		}
		if a.Rule != event.RuleCanary {
			w.room.transitions.WithLabelValues(state).Inc()
		}
	}
	w.outbox = w.outbox[:0]
	if !w.trip.IsZero() {
		w.room.canary.Mark(canary.StageAlert, w.trip)
		w.trip = time.Time{}
	}
	return nil
}
