// Package cmdb turns sources into Targets.
//
// In: what the configured sources (files, …) say exists, and the Commands of people. Out: Targets, published when they
// change and removed when they are gone.
// It promises that content with a mistake never replaces what runs, that a source that suddenly shrinks deletes nothing
// until people agree, and that a restart publishes only what changed meanwhile.
// It never polls a target and never decides when one is polled.
package cmdb

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/cmdb/source"
	"kemi.dev/kemi/internal/conf"
	"kemi.dev/kemi/internal/obs"
)

// Options of New. A list of names that is nil, unlike one that is empty, and a function that is nil accept everything.
type Options struct {
	// Sources are one-key mappings, such as {file: {path: targets/*.yaml}}.
	Sources []conf.Node
	// Dir is what relative paths in Sources are relative to.
	Dir string
	// Kinds are the kinds of check that there are pollers for.
	Kinds []string
	// Spec checks the settings of a check that are its kind's own and returns them as its poller wants them. It is asked
	// only about Kinds, or about everything when Kinds is nil.
	Spec func(kind string, settings conf.Node) (json.RawMessage, conf.Problems)
	// Profile says what is wrong with a profile of a kind of check.
	Profile func(kind, profile string) error
	// Cron says what is wrong with a cron expression.
	Cron func(expression string) error
	// Credential says what is wrong with a kind of check using a credential that is configured, or "" for none.
	Credential func(kind, name string) error
	// Credentials, Teams and Zones are the configured names.
	Credentials, Teams, Zones []string
	// Bus may be nil for a Room of which only Check is used.
	Bus   *bus.Bus
	Scope obs.Scope
	// CanaryEvery is the interval of the canary; 0 is 10 s.
	CanaryEvery time.Duration
}

// Room is the cmdb room.
type Room struct {
	bus         *bus.Bus
	scope       obs.Scope
	sources     []source.Source
	canaryEvery time.Duration

	valid, held, targets *prometheus.GaugeVec
	changes              *prometheus.CounterVec
	publishing           obs.Trouble

	mu      sync.Mutex
	status  []SourceStatus
	leading bool
	heard   []SourceStatus // By Follow.
}

// New makes the room, or returns what is wrong with the configuration of its sources. It reads nothing yet.
func New(o Options) (*Room, conf.Problems) {
	scope := o.Scope.For("cmdb")
	r := &Room{
		bus: o.Bus, scope: scope, canaryEvery: o.CanaryEvery,
		valid:   scope.Gauge("kemi_cmdb_source_valid", "1 when the newest content of a source has no mistake, else 0.", "source"),
		held:    scope.Gauge("kemi_cmdb_source_held", "1 when a source is held because it shrank, else 0.", "source"),
		targets: scope.Gauge("kemi_cmdb_targets", "Targets that a source gives.", "source"),
		changes: scope.Counter("kemi_cmdb_changes_total", "Targets published or removed.", "change"),
	}
	if r.canaryEvery == 0 {
		r.canaryEvery = 10 * time.Second
	}
	var problems conf.Problems
	r.sources, problems = open(o.Sources, source.Env{
		Dir: o.Dir, Scope: scope,
		Judge: source.Judge{
			Kinds: o.Kinds, Credentials: o.Credentials, Teams: o.Teams, Zones: o.Zones,
			Spec: o.Spec, Profile: o.Profile, Credential: o.Credential, Cron: o.Cron,
		},
	})
	if len(problems) > 0 {
		return nil, problems
	}
	for _, f := range newDesk(r.names(), r.canaryEvery, time.Time{}).feeds {
		r.status = append(r.status, f.status)
	}
	return r, nil
}

func (r *Room) names() []string {
	names := make([]string, 0, len(r.sources))
	for _, s := range r.sources {
		names = append(names, s.Name())
	}
	return names
}

// Check reads every source once and returns the targets, sorted by id and without the canary, and every mistake. It
// publishes nothing.
func (r *Room) Check(ctx context.Context) ([]event.Target, conf.Problems) {
	var parts []part
	var problems conf.Problems
	partial := false
	for _, s := range r.sources {
		found, more := s.List(ctx)
		problems = append(problems, more...)
		partial = partial || len(more) > 0 && found == nil
		parts = append(parts, part{origin: s.Name(), found: found})
	}
	w := merge(parts, partial)
	for _, more := range w.problems {
		problems = append(problems, more...)
	}
	targets := make([]event.Target, 0, len(w.found))
	for _, f := range w.found {
		f.Target.Version = f.Target.ComputeVersion()
		targets = append(targets, *f.Target)
	}
	slices.SortFunc(targets, func(a, b event.Target) int { return strings.Compare(a.ID, b.ID) })
	return targets, once(problems)
}

// State of a source.
type State string

// The states of a source.
const (
	// StateOK: what the source says is what runs.
	StateOK State = "ok"
	// StateWaiting: the source was not read yet.
	StateWaiting State = "waiting"
	// StateInvalid: what the source says has a mistake; what ran before goes on.
	StateInvalid State = "invalid"
	// StateHeld: the source lost too many targets at once; what ran before goes on until people agree.
	StateHeld State = "held"
)

// SourceStatus is what people are shown of a source.
type SourceStatus struct {
	Name  string `json:"name"`
	State State  `json:"state"`
	// Targets that the source gives to what runs.
	Targets int    `json:"targets"`
	Message string `json:"message,omitempty"`
	// Since is when state or message became what they are; zero before the first reading.
	Since    time.Time     `json:"since,omitzero"`
	Problems conf.Problems `json:"problems,omitempty"`
	// Shrink names the loss that the source is held for, and is to be given as the argument "shrink" of AcceptShrink.
	Shrink string   `json:"shrink,omitempty"`
	Lost   []string `json:"lost,omitempty"`
}

// Status returns the state of every source, without the built-in one, as this process sees it. It is safe for
// concurrent use; the lists in it are not to be changed.
func (r *Room) Status() []SourceStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.status), func(s SourceStatus) bool { return s.Name == canaryOrigin })
}

// leads notes whether it is this process that reads the sources.
func (r *Room) leads(yes bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.leading = yes
}

// show makes the state of the desk visible.
func (r *Room) show(d *desk, changed []SourceStatus) {
	for _, s := range changed {
		log := r.scope.Log().With("source", s.Name, "targets", s.Targets)
		switch s.State {
		case StateHeld:
			log.Warn("source is held", "reason", s.Message, "shrink", s.Shrink)
		case StateInvalid:
			log.Error("source is invalid, what ran before goes on", "problems", len(s.Problems))
			for _, p := range s.Problems {
				log.Error("problem", "problem", p.String())
			}
		default:
			log.Info("source", "state", s.State)
		}
	}
	status := make([]SourceStatus, 0, len(d.feeds))
	for _, f := range d.feeds {
		status = append(status, f.status)
	}
	r.mu.Lock()
	before := r.status
	r.status = status
	r.mu.Unlock()
	for _, s := range before {
		if !slices.ContainsFunc(status, func(now SourceStatus) bool { return now.Name == s.Name }) {
			r.valid.DeleteLabelValues(s.Name)
			r.held.DeleteLabelValues(s.Name)
			r.targets.DeleteLabelValues(s.Name)
		}
	}
	for _, s := range status {
		if s.State == StateWaiting {
			continue
		}
		r.valid.WithLabelValues(s.Name).Set(oneIf(s.State != StateInvalid))
		r.held.WithLabelValues(s.Name).Set(oneIf(s.State == StateHeld))
		r.targets.WithLabelValues(s.Name).Set(float64(s.Targets))
	}
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
