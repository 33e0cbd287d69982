// Package obs carries what every part needs to be observed: a logger and a metrics registry.
//
// In: a logger, a registry. Out: the same, narrowed to one part.
// It promises that nothing is registered globally: two Kemis live in one process.
// It never decides what is worth saying, only how often (Trouble, Seldom).
package obs

import (
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
)

// Scope is what one part is observed by. The zero Scope is silent.
type Scope struct {
	logger *slog.Logger
	reg    prometheus.Registerer
}

// New makes the scope of the whole process.
func New(log *slog.Logger, reg prometheus.Registerer) Scope { return Scope{logger: log, reg: reg} }

// For narrows the scope to a part: its name goes with every log line.
func (s Scope) For(part string) Scope { return Scope{logger: s.Log().With("part", part), reg: s.reg} }

// Log returns the logger, never nil.
func (s Scope) Log() *slog.Logger {
	if s.logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.logger
}

// Counter makes and registers a counter; with labels it is to be used through the returned vector.
func (s Scope) Counter(name, help string, labels ...string) *prometheus.CounterVec {
	return register(s.reg, prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels))
}

// Gauge makes and registers a gauge vector.
func (s Scope) Gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	return register(s.reg, prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels))
}

// Histogram makes and registers a histogram vector; buckets are in the unit of the name.
func (s Scope) Histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return register(s.reg, prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels))
}

// register adds c, or returns the equal collector that is there already: parts may be made twice.
func register[C prometheus.Collector](reg prometheus.Registerer, c C) C {
	if reg == nil {
		return c
	}
	if err := reg.Register(c); err != nil {
		if there, ok := err.(prometheus.AlreadyRegisteredError); ok {
			if same, ok := there.ExistingCollector.(C); ok {
				return same
			}
		}
		panic("register metric: " + err.Error()) // Two different metrics of one name: a mistake of the programmer.
	}
	return c
}
