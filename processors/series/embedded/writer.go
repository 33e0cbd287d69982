package embedded

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/canary"
	"kemi.dev/kemi/processors/sample"
)

const (
	// commitEvery bounds the samples of one transaction, and with it the memory it takes.
	commitEvery = 50_000
	// ahead is how far in the future a sample may lie: one from a wrong clock would make all others too old.
	ahead = 10 * time.Minute
)

// writer writes one partition.
type writer struct {
	s *Sink
	x *sample.Expander
	// owed are samples that the Expander says only once, kept until they are committed: stale markers and the zeros of a
	// restart.
	owed []owed
	// unjudged are the checks of which no reading with values could be asked yet whether the device restarted while the
	// store was closed: the Expander says First only once. The value is the time of the newest reading.
	unjudged map[check]int64
	swept    time.Time
}

type check struct{ target, name string }

type owed struct {
	series *sample.Series
	t      int64
	v      float64
}

// ref is what a series carries between readings: its reference in the store.
type ref struct{ id storage.SeriesRef }

func newWriter(s *Sink) *writer { return &writer{s: s, x: sample.New(), unjudged: map[check]int64{}} }

var staleMarker = math.Float64frombits(value.StaleNaN)

// Write implements sink.Writer.
func (w *writer) Write(ctx context.Context, batch []*event.Reading) (int, error) {
	db, ctx, release, err := w.s.open(ctx)
	if err != nil {
		return 0, err
	}
	defer release()
	tx := transaction{w: w, ctx: ctx, db: db, app: db.Appender(ctx), horizon: w.s.opts.Now().Add(ahead).UnixMilli()}
	for _, o := range w.owed { // Left from a Write that failed.
		if err := tx.add(o.series, o.t, o.v); err != nil {
			return 0, tx.rollback(err)
		}
	}
	for _, r := range batch {
		if err := tx.reading(w.x.Expand(r)); err != nil {
			return 0, tx.rollback(err)
		}
		if tx.pending >= commitEvery {
			if err := tx.commit(); err != nil {
				return 0, err
			}
			tx.app = db.Appender(ctx)
		}
	}
	if err := tx.commit(); err != nil {
		return 0, err
	}
	for _, r := range batch {
		if r.Target == event.CanaryTarget {
			w.s.opts.Canary.Mark(canary.StageSeries, r.Slot)
		}
	}
	return tx.written, nil
}

// Tick implements sink.Writer.
func (w *writer) Tick(now time.Time) {
	if db, _, release, err := w.s.open(context.Background()); err == nil {
		w.s.active.Set(float64(db.Head().NumSeries()))
		release()
	}
	if now.Sub(w.swept) >= 10*time.Minute {
		w.swept = now
		w.x.Sweep(now)
		for c, at := range w.unjudged {
			if at < now.Add(-seenWithin).UnixMilli() { // What is stored of it would not be found any more.
				delete(w.unjudged, c)
			}
		}
	}
}

// transaction appends the samples of some readings.
type transaction struct {
	w       *writer
	ctx     context.Context
	db      *tsdb.DB
	app     storage.Appender
	horizon int64
	pending int
	written int
}

func (tx *transaction) commit() error {
	if err := tx.app.Commit(); err != nil {
		return fmt.Errorf("commit %d samples: %w", tx.pending, err)
	}
	tx.written += tx.pending
	tx.pending = 0
	tx.w.owed = tx.w.owed[:0]
	return nil
}

func (tx *transaction) rollback(err error) error {
	return errors.Join(err, tx.app.Rollback())
}

// reading appends what a batch says.
func (tx *transaction) reading(b *sample.Batch) error {
	w := tx.w
	c := check{b.Reading.Target, b.Reading.Check}
	if b.First {
		w.unjudged[c] = b.T
	}
	if b.T > tx.horizon {
		w.s.refuse("future", len(b.Samples), "refuse a reading from the future: is a clock wrong?", "target", b.Reading.Target, "at", time.UnixMilli(b.T))
		return nil
	}
	if b.Duplicates > 0 {
		w.s.refuse("duplicate_row", b.Duplicates, "a reading has rows with equal labels; the first counts", "target", b.Reading.Target, "check", b.Reading.Check)
	}
	from := len(w.owed)
	for _, s := range b.Gone {
		w.owed = append(w.owed, owed{s, b.T, staleMarker})
	}
	boot, restarted := b.BootT, b.Restarted
	if _, open := w.unjudged[c]; open && b.Values {
		var err error
		if boot, restarted, err = w.s.restartedMeanwhile(tx.ctx, tx.db, b); err != nil {
			return err
		}
		delete(w.unjudged, c)
	}
	if restarted {
		// The counters began at zero then. Without that sample a counter that has overtaken its value from before the
		// restart would seem to have gone on from it.
		for i := range b.Samples {
			if s := b.Samples[i].Series; s.Counter {
				w.owed = append(w.owed, owed{s, boot, 0})
			}
		}
	}
	for _, o := range w.owed[from:] {
		if err := tx.add(o.series, o.t, o.v); err != nil {
			return err
		}
	}
	for i := range b.Samples {
		v := b.Samples[i].V
		if math.IsNaN(v) {
			v = math.Float64frombits(value.NormalNaN) // Whatever a device sends must not look like a stale marker.
		}
		if err := tx.add(b.Samples[i].Series, b.T, v); err != nil {
			return err
		}
	}
	return nil
}

// add appends one sample. What the store does not take for good is counted, not an error: no repetition would help.
func (tx *transaction) add(s *sample.Series, t int64, v float64) error {
	known, ok := s.User.(*ref)
	if !ok {
		if known = tx.find(s); known == nil {
			return nil
		}
	}
	id, err := tx.app.Append(known.id, s.Labels, t, v)
	switch {
	case err == nil:
		known.id = id
		tx.pending++
	case errors.Is(err, storage.ErrDuplicateSampleForTimestamp):
		tx.w.s.refused.WithLabelValues(tx.w.s.opts.Config.Name, "duplicate").Inc()
	case errors.Is(err, storage.ErrTooOldSample), errors.Is(err, storage.ErrOutOfBounds), errors.Is(err, storage.ErrOutOfOrderSample):
		tx.w.s.refused.WithLabelValues(tx.w.s.opts.Config.Name, "too_old").Inc()
	case errors.Is(err, tsdb.ErrInvalidSample):
		tx.w.s.refuse("invalid", 1, "refuse a sample", "series", s.Labels.String(), "err", err)
	default:
		return fmt.Errorf("append %s: %w", s.Labels, err)
	}
	return nil
}

// find looks a series up that this writer has not written yet; nil when it would be one too many.
func (tx *transaction) find(s *sample.Series) *ref {
	known := &ref{}
	if g, ok := tx.app.(storage.GetRef); ok {
		known.id, _ = g.GetRef(s.Labels, s.Hash)
	}
	if limit := tx.w.s.opts.Config.MaxSeries; known.id == 0 && tx.db.Head().NumSeries() >= limit {
		tx.w.s.refuse("max_series", 1, "refuse a new series: max_series is reached; find what has too many (/api/v1/status/tsdb) or raise it", "max_series", limit, "series", s.Labels.String())
		return nil
	}
	s.User = known
	return known
}

// throttle lets one log line of each reason through per minute.
type throttle struct {
	mu   sync.Mutex
	last map[string]time.Time
}

func (t *throttle) allow(reason string, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.last == nil {
		t.last = map[string]time.Time{}
	}
	if now.Sub(t.last[reason]) < time.Minute {
		return false
	}
	t.last[reason] = now
	return true
}

// refuse counts samples that were not taken, and says so once a minute.
func (s *Sink) refuse(reason string, n int, text string, attrs ...any) {
	s.refused.WithLabelValues(s.opts.Config.Name, reason).Add(float64(n))
	if s.warned.allow(reason, s.opts.Now()) {
		s.scope.Log().Warn(text, attrs...)
	}
}
