// Package embedded stores series in an embedded Prometheus TSDB and answers queries about them.
//
// In: Readings; PromQL, by HTTP as Prometheus takes it or by a call. Out: series.
// It promises that what it acknowledged survives kill -9; that a reading written twice, late or in the wrong order does
// no harm; that a device's restart is never a spike; and that it says so when it refuses a sample. After a loss of power
// it reads the tail again from the bus (see Rewind).
// It never derives values: counters are stored as the device said them.
package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/util/compression"

	"kemi.dev/kemi/internal/canary"
	"kemi.dev/kemi/internal/conf"
	"kemi.dev/kemi/internal/obs"
	"kemi.dev/kemi/processors/series/sink"
)

// Config is what kemi.yaml says under `embedded`.
type Config struct {
	Name string `yaml:"name"`
	// Retention is how long samples are kept; MaxSize, in bytes, bounds the disk as well (0 is no bound).
	Retention time.Duration `yaml:"retention"`
	MaxSize   int64         `yaml:"max_size"`
	// MaxSeries bounds the series in memory: beyond it new ones are refused, counted and logged.
	MaxSeries uint64 `yaml:"max_series"`
	// OutOfOrder is how much older than the newest sample of the store a sample may be. While the store catches up after
	// it was away, some partitions are ahead of others: it should be as long as the bus keeps readings.
	OutOfOrder time.Duration `yaml:"out_of_order"`
	// Lookback is how long a series that fell silent keeps its last value in queries.
	Lookback time.Duration `yaml:"lookback"`
	// QueryTimeout and QuerySamples bound one query.
	QueryTimeout time.Duration `yaml:"query_timeout"`
	QuerySamples int           `yaml:"query_samples"`
}

// Default returns the configuration of a sink of which nothing is said.
func Default() Config {
	return Config{
		Name: "embedded", Retention: 15 * 24 * time.Hour, MaxSeries: 5_000_000, OutOfOrder: 6 * time.Hour,
		Lookback: 5 * time.Minute, QueryTimeout: 2 * time.Minute, QuerySamples: 50_000_000,
	}
}

// Validate implements conf.Validator.
func (c *Config) Validate() []conf.Complaint {
	var all []conf.Complaint
	atLeast := func(field string, ok bool, least string) {
		if !ok {
			all = append(all, conf.Complaint{Field: field, What: field + " is too small", Do: "give at least " + least})
		}
	}
	atLeast("retention", c.Retention >= 2*time.Hour, "2h, the length of one block on disk")
	atLeast("max_size", c.MaxSize == 0 || c.MaxSize >= 64<<20, "67108864 (64 MiB), or leave it out for no bound")
	atLeast("max_series", c.MaxSeries > 0, "1")
	atLeast("out_of_order", c.OutOfOrder >= 0, "0s")
	atLeast("lookback", c.Lookback >= time.Second, "1s")
	atLeast("query_timeout", c.QueryTimeout >= time.Second, "1s")
	atLeast("query_samples", c.QuerySamples > 0, "1")
	return all
}

// Options of a Sink.
type Options struct {
	Config Config
	// Dir is the directory of the store; one process at a time.
	Dir string
	// Version of the program, said to who asks for it.
	Version string
	Canary  *canary.Tracker
	Scope   obs.Scope
	// Now is the clock, time.Now when nil: samples of the future are refused by it.
	Now func() time.Time
}

// Sink is the store.
type Sink struct {
	opts    Options
	scope   obs.Scope
	engine  *promql.Engine
	queue   queue
	listed  int // how many series, names or values a listing has when nobody says how many
	parser  parser.Parser
	refused *prometheus.CounterVec
	active  prometheus.Gauge

	id string // of what is in the directory

	mu sync.RWMutex // held for reading while a query runs, so that Close waits for it
	db *tsdb.DB
	// closing ends the queries that run when the store is to be closed.
	closing context.Context
	cancel  context.CancelFunc

	rewind   bool
	rewindTo time.Time
	newestAt int64 // time of the newest sample when the store was opened, Unix milliseconds
	warned   throttle
}

// marker is the file that is there while the store is open: found at the start, it tells of an unclean stop.
const marker = "kemi-open"

// New makes a store that is closed.
func New(opts Options) *Sink {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	s := &Sink{
		opts: opts, scope: opts.Scope.For("processors/series/" + opts.Config.Name), parser: parser.NewParser(parser.Options{}),
		queue: make(queue, maxQueries), listed: maxListed,
		refused: opts.Scope.Counter("kemi_series_samples_refused_total", "Samples that the embedded store did not take.", "sink", "reason"),
		active:  opts.Scope.Gauge("kemi_series_active", "Series in the memory of the embedded store; see max_series.", "sink").WithLabelValues(opts.Config.Name),
	}
	s.engine = promql.NewEngine(promql.EngineOpts{
		Logger: slog.New(calm{s.scope.Log().Handler()}), MaxSamples: opts.Config.QuerySamples, Timeout: opts.Config.QueryTimeout,
		LookbackDelta: opts.Config.Lookback, EnableAtModifier: true, EnableNegativeOffset: true,
		NoStepSubqueryIntervalFn: func(int64) int64 { return time.Minute.Milliseconds() }, Parser: s.parser,
		ActiveQueryTracker: s.queue,
	})
	return s
}

// Start implements sink.Sink: it opens the store and reads its log.
func (s *Sink) Start(ctx context.Context) error {
	if err := os.MkdirAll(s.opts.Dir, 0o750); err != nil {
		return fmt.Errorf("make the directory of the series: %w", err)
	}
	c := s.opts.Config
	o := tsdb.DefaultOptions()
	o.RetentionDuration = c.Retention.Milliseconds()
	o.MaxBytes = c.MaxSize
	o.OutOfOrderTimeWindow = c.OutOfOrder.Milliseconds()
	o.WALCompression = compression.Snappy
	// A block grows up to a tenth of the retention, as Prometheus has it: what is too old goes in pieces of that size.
	o.MaxBlockDuration = max(o.MinBlockDuration, min(31*24*time.Hour, c.Retention/10).Milliseconds())
	db, err := tsdb.Open(s.opts.Dir, slog.New(calm{s.scope.Log().Handler()}), nil, o, nil)
	if err != nil {
		return s.explain(err)
	}
	if s.id, err = identity(s.opts.Dir); err != nil {
		return errors.Join(err, db.Close())
	}
	file := filepath.Join(s.opts.Dir, marker)
	_, err = os.Stat(file)
	s.rewind = err == nil
	if err := os.WriteFile(file, []byte("A Kemi has this store open, or did not end cleanly.\n"), 0o640); err != nil {
		return errors.Join(fmt.Errorf("mark the store as open: %w", err), db.Close())
	}
	s.newestAt = newest(db)
	if s.newestAt > 0 {
		s.rewindTo = time.UnixMilli(s.newestAt).Add(-rewind)
	}
	s.mu.Lock()
	s.db = db
	s.closing, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	s.mu.Unlock()
	return nil
}

// rewind is how much is read again after an unclean stop. The log is written with every Write but synced to the disk by
// the kernel's own leave, after some 30 s: a loss of power takes that much.
const rewind = 5 * time.Minute

// Rewind implements sink.Sink.
func (s *Sink) Rewind() (time.Time, bool) { return s.rewindTo, s.rewind }

// Writer implements sink.Sink.
func (s *Sink) Writer(int) sink.Writer { return newWriter(s) }

// Close implements sink.Sink.
func (s *Sink) Close() error {
	if s.cancel != nil {
		s.cancel()
	}
	s.mu.Lock()
	db := s.db
	s.db = nil
	s.mu.Unlock()
	if db == nil {
		return nil
	}
	if err := db.Close(); err != nil {
		return fmt.Errorf("close the store: %w", err)
	}
	return os.Remove(filepath.Join(s.opts.Dir, marker))
}

// newest is the time of the newest sample, 0 when there is none.
func newest(db *tsdb.DB) int64 {
	at := db.Head().MaxTime()
	for _, b := range db.Blocks() {
		at = max(at, b.MaxTime())
	}
	if at == math.MinInt64 {
		return 0
	}
	return at
}

// ErrClosed says that the store is not open, or no more.
var ErrClosed = errors.New("the series store is not open yet, or closed")

// open returns the store, a context that also ends when the store is to be closed, and a function that gives the store
// back: until then it stays open.
func (s *Sink) open(ctx context.Context) (*tsdb.DB, context.Context, func(), error) {
	s.mu.RLock()
	if s.db == nil {
		s.mu.RUnlock()
		return nil, nil, nil, ErrClosed
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.closing, cancel)
	return s.db, ctx, func() {
		stop()
		cancel()
		s.mu.RUnlock()
	}, nil
}

// explain says of an error of opening what to do about it.
func (s *Sink) explain(err error) error {
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return fmt.Errorf("the series store %s is in use by another process (a second kemi on the same data directory?): %w", s.opts.Dir, err)
	}
	return fmt.Errorf("open the series store %s: %w", s.opts.Dir, err)
}

// calm makes the information of the libraries below debugging: a start of the store alone is a dozen lines.
type calm struct{ slog.Handler }

func (c calm) Enabled(ctx context.Context, l slog.Level) bool {
	return c.Handler.Enabled(ctx, calmed(l))
}

func (c calm) Handle(ctx context.Context, r slog.Record) error {
	r.Level = calmed(r.Level)
	return c.Handler.Handle(ctx, r)
}

func (c calm) WithAttrs(attrs []slog.Attr) slog.Handler { return calm{c.Handler.WithAttrs(attrs)} }
func (c calm) WithGroup(name string) slog.Handler       { return calm{c.Handler.WithGroup(name)} }

func calmed(l slog.Level) slog.Level {
	if l == slog.LevelInfo {
		return slog.LevelDebug
	}
	return l
}
