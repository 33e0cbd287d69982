// Package processors is the mind: it turns Readings into series, Findings and Alerts.
//
// In: Readings, and back again its own Findings, from the bus. Out: series in the configured stores, and answers about
// them; the rules' Findings; one Alert for each problem, on every transition.
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
	"kemi.dev/kemi/processors/alert"
	"kemi.dev/kemi/processors/ping"
	"kemi.dev/kemi/processors/rule"
	"kemi.dev/kemi/processors/series/embedded"
)

// Options of a Room.
type Options struct {
	Bus *bus.Bus
	// DataDir is where stores keep what they know.
	DataDir string
	// Series are the entries of `series:`, each a mapping of a sink's kind to its configuration; none means the embedded
	// store with its defaults.
	Series []conf.Node
	// Rules to begin with; see rule.Load. Nil is none.
	Rules *rule.Set
	// Pings are the jobs of others that are expected to ping.
	Pings map[string]ping.Watch
	// Alone says that no other process takes pings.
	Alone bool
	// Version of the program.
	Version string
	Canary  *canary.Tracker
	Scope   obs.Scope
}

// Room is all the processors.
type Room struct {
	doors []door // what several processes share
	local []door // what feeds a store of this process alone
	store *embedded.Sink
	rules *rule.Room
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
	if err := r.addRules(opts); err != nil {
		return nil, conf.Problems{{What: err.Error(), Do: "report this as a mistake in Kemi"}}
	}
	return r, nil
}

// addRules adds what judges: the rules, and what makes alerts of their findings.
func (r *Room) addRules(opts Options) error {
	var err error
	if r.rules, err = rule.New(rule.Options{Bus: opts.Bus, Rules: opts.Rules, Scope: opts.Scope, Canary: opts.Canary}); err != nil {
		return err
	}
	alerts, err := alert.New(alert.Options{Bus: opts.Bus, Scope: opts.Scope, Canary: opts.Canary})
	if err != nil {
		return err
	}
	pings, err := ping.New(ping.Options{Bus: opts.Bus, Watches: opts.Pings, Alone: opts.Alone, Scope: opts.Scope})
	if err != nil {
		return err
	}
	r.doors = append(r.doors, door{"alert", alerts.Run}, door{"rule", r.rules.Run}, door{"ping", pings.Run})
	return nil
}

// ReloadRules replaces the rules while the room runs; timers of rules that stay go on.
func (r *Room) ReloadRules(rules *rule.Set) { r.rules.Reload(rules) }

// Run does what several processes share, until ctx ends: rules, alerts and the stores that are elsewhere.
func (r *Room) Run(ctx context.Context) error { return together(ctx, r.doors) }

// RunStore feeds the embedded store until ctx ends, if there is one. It gets everything, whoever else has one too.
func (r *Room) RunStore(ctx context.Context) error { return together(ctx, r.local) }

func together(ctx context.Context, doors []door) error {
	if len(doors) == 0 {
		<-ctx.Done()
		return nil
	}
	var g run.Group
	for _, d := range doors {
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
