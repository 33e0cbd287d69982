// Package series hands readings to time-series stores.
//
// In: Readings, from readings.v1, once for each sink. Out: what the sinks store.
// It promises that every sink has its own position on the bus: one that is slow or down waits for itself alone, loses
// nothing while the bus keeps the readings, and catches up; and that a reading a store refuses for good is found among
// its neighbours and put on dead.v1, alone.
// It never decides what a series is called (processors/sample) or how it is stored (the sinks).
package series

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/obs"
	"kemi.dev/kemi/processors/series/sink"
)

// Options of a Door.
type Options struct {
	Bus *bus.Bus
	// Name of the sink: its consumer group is series-NAME, of a local one series-NAME-ID.
	Name string
	Sink sink.Sink
	// Batch is how many readings are handed over at once at most; 0 is 128.
	Batch int
	Scope obs.Scope
}

// Door feeds one sink from the bus.
type Door struct {
	opts    Options
	group   string
	scope   obs.Scope
	samples prometheus.Counter
	reading prometheus.Counter
	errors  *prometheus.CounterVec
	lag     *prometheus.GaugeVec

	mu      sync.Mutex
	rewound map[int]bool // the partitions that were read again
}

// New makes the door of a sink.
func New(opts Options) *Door {
	if opts.Batch == 0 {
		opts.Batch = 128
	}
	s := opts.Scope.For("processors/series/" + opts.Name)
	return &Door{
		opts: opts, group: "series-" + opts.Name, scope: s, rewound: map[int]bool{},
		samples: s.Counter("kemi_series_samples_written_total", "Samples that a sink stored, duplicates among them.", "sink").WithLabelValues(opts.Name),
		reading: s.Counter("kemi_series_readings_written_total", "Readings that a sink stored.", "sink").WithLabelValues(opts.Name),
		errors:  s.Counter("kemi_series_write_errors_total", "Writes that failed: to be tried again, or poison.", "sink", "kind"),
		lag:     s.Gauge("kemi_series_lag_seconds", "Age of the oldest reading that a sink was given and has not stored yet; of the newest stored when there is none.", "sink", "partition"),
	}
}

// Run starts the sink, feeds it until ctx ends and closes it.
func (d *Door) Run(ctx context.Context) error {
	if err := d.opts.Sink.Start(ctx); err != nil {
		return fmt.Errorf("start sink %s: %w", d.opts.Name, err)
	}
	if local, ok := d.opts.Sink.(sink.Local); ok {
		d.group = "series-" + d.opts.Name + "-" + local.ID()
	}
	err := bus.Own(ctx, d.opts.Bus, d.group, bus.Options{Batch: d.opts.Batch}, d.open)
	if cerr := d.opts.Sink.Close(); cerr != nil && err == nil {
		err = fmt.Errorf("close sink %s: %w", d.opts.Name, cerr)
	}
	return err
}

// open makes the handler of a partition; first it reads again what the sink may have lost.
func (d *Door) open(ctx context.Context, o *bus.Ownership) (bus.Handler[event.Reading], error) {
	h := &handler{
		d: d, w: d.opts.Sink.Writer(o.Partition), partition: strconv.Itoa(o.Partition),
		stored: map[int64]bool{}, poison: map[int64]error{},
	}
	context.AfterFunc(ctx, h.unmeasure)
	since, ok := d.opts.Sink.Rewind()
	d.mu.Lock()
	done := d.rewound[o.Partition]
	d.mu.Unlock()
	if !ok || done {
		return h, nil
	}
	batch, again := make([]bus.Message[event.Reading], 0, d.opts.Batch), 0
	flush := func() error {
		_, err := h.split(ctx, batch, true) // What is poison was put on dead.v1 the first time.
		again += len(batch)
		batch = batch[:0]
		clear(h.stored)
		clear(h.poison)
		return err
	}
	err := bus.Replay(ctx, o, since, func(m bus.Message[event.Reading]) error {
		if batch = append(batch, m); len(batch) == cap(batch) {
			return flush()
		}
		return nil
	})
	if err == nil {
		err = flush()
	}
	if err != nil {
		return nil, fmt.Errorf("read again since %s: %w", since.Format(time.RFC3339), err)
	}
	d.mu.Lock()
	d.rewound[o.Partition] = true
	d.mu.Unlock()
	d.scope.Log().Info("read again what an unclean stop may have lost", "partition", o.Partition, "since", since, "readings", again)
	return h, nil
}

// handler feeds the sink from one partition.
type handler struct {
	d         *Door
	w         sink.Writer
	partition string

	// Of a batch that had poison in it, by position: what is stored already, and what is to be refused when the bus hands
	// it over by itself.
	stored map[int64]bool
	poison map[int64]error
	last   int64 // the last position of that batch
}

// Handle implements bus.Handler.
func (h *handler) Handle(ctx context.Context, batch []bus.Message[event.Reading]) error {
	if h.remembers() && batch[0].Position > h.last {
		clear(h.stored)
		clear(h.poison)
	}
	h.last = max(h.last, batch[len(batch)-1].Position)
	h.measure(ctx, batch[0].Stored)
	bad, err := h.split(ctx, batch, true)
	if err != nil {
		return err
	}
	h.measure(ctx, batch[len(batch)-1].Stored)
	return bus.Permanent(bad)
}

// measure exports the lag. The gauge is looked up each time: whoever had the partition before may take it back late.
func (h *handler) measure(ctx context.Context, stored time.Time) {
	h.d.lag.WithLabelValues(h.d.opts.Name, h.partition).Set(time.Since(stored).Seconds())
	if ctx.Err() != nil {
		h.unmeasure() // The partition went meanwhile.
	}
}

// unmeasure takes back what is exported of the partition: it is another's from now on.
func (h *handler) unmeasure() { h.d.lag.DeleteLabelValues(h.d.opts.Name, h.partition) }

func (h *handler) remembers() bool { return len(h.stored)+len(h.poison) > 0 }

// split writes a batch; when there is poison in it, by halves, which it remembers. It returns an error of poison (bad),
// or one for which the whole batch is to be tried again (err).
func (h *handler) split(ctx context.Context, batch []bus.Message[event.Reading], whole bool) (bad, err error) {
	readings := make([]*event.Reading, 0, len(batch))
	for i := range batch {
		if was := h.poison[batch[i].Position]; was != nil {
			bad = was
		} else if !h.stored[batch[i].Position] && !batch[i].Removed() {
			readings = append(readings, batch[i].Event)
		}
	}
	if len(readings) == 0 {
		return bad, nil
	}
	if bad == nil || len(batch) == 1 {
		samples, err := h.w.Write(ctx, readings)
		if err == nil {
			h.d.samples.Add(float64(samples))
			h.d.reading.Add(float64(len(readings)))
			for i := range batch {
				if whole {
					break // Nothing to remember: this was all.
				}
				h.stored[batch[i].Position] = true
			}
			return nil, nil
		}
		kind := "retry"
		if sink.IsPoison(err) {
			kind = "poison"
		}
		if ctx.Err() == nil {
			h.d.errors.WithLabelValues(h.d.opts.Name, kind).Inc()
		}
		if kind == "retry" {
			return nil, err
		}
		if len(batch) == 1 {
			h.poison[batch[0].Position] = err
			return err, nil
		}
	}
	for _, half := range [][]bus.Message[event.Reading]{batch[:len(batch)/2], batch[len(batch)/2:]} {
		b, err := h.split(ctx, half, false)
		if err != nil {
			return nil, err
		}
		if b != nil {
			bad = b
		}
	}
	return bad, nil
}

// Tick implements bus.Handler.
func (h *handler) Tick(_ context.Context, now time.Time) error {
	h.w.Tick(now)
	return nil
}
