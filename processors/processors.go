// Package processors is the mind: it turns Readings into series.
//
// In: Readings, from the bus. Out: series in the configured stores, and answers about them.
// It promises that a store that is slow or down costs nobody else anything.
// It never asks a device anything and never tells a person anything.
package processors

import (
	"context"
	"net/http"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/internal/canary"
	"kemi.dev/kemi/internal/conf"
	"kemi.dev/kemi/internal/obs"
	"kemi.dev/kemi/internal/run"
	"kemi.dev/kemi/processors/series/embedded"
)

// Options of a Room.
type Options struct {
	Bus *bus.Bus
	// DataDir is where stores keep what they know.
	DataDir string
	// Dir is the folder of the configuration file: relative paths in it begin there.
	Dir string
	// Series are the entries of `series:`, each a mapping of a sink's kind to its configuration; none means the embedded
	// store with its defaults.
	Series []conf.Node
	// Version of the program.
	Version string
	Canary  *canary.Tracker
	Scope   obs.Scope
}

// Room is all the processors.
type Room struct {
	doors []door
	store *embedded.Sink
}

// door is one processor, with the name it has in errors.
type door struct {
	name string
	run  func(context.Context) error
}

// New makes the room from its configuration; it starts nothing.
func New(opts Options) (*Room, conf.Problems) {
	r := &Room{}
	problems := r.addSeries(opts)
	if len(problems) > 0 {
		return nil, problems
	}
	return r, nil
}

// Run works until ctx ends.
func (r *Room) Run(ctx context.Context) error {
	var g run.Group
	for _, d := range r.doors {
		g.Add(d.name, d.run)
	}
	return g.Run(ctx)
}

// QueryHandler serves the Prometheus query API of the embedded store, under /api/v1; without such a store it says so.
func (r *Room) QueryHandler() http.Handler {
	if r.store == nil {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "no series are stored here: add `- embedded: {}` to `series:`", http.StatusNotFound)
		})
	}
	return r.store.Handler()
}

// Store returns the embedded store, or nil when there is none.
func (r *Room) Store() *embedded.Sink { return r.store }
