// Package collector turns Jobs into Readings.
//
// In: Jobs of its zones. Out: for every Job exactly one Reading, also when the target did not answer.
// It promises that a slow or dead target delays no other, that one target is asked by one poll at a time, that a job
// past its deadline is told as late and never run, and that a job that comes twice is polled once.
// It never decides what a Reading means.
package collector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/collector/poller"
	"kemi.dev/kemi/collector/profile"
	"kemi.dev/kemi/internal/canary"
	"kemi.dev/kemi/internal/conf"
	"kemi.dev/kemi/internal/obs"
)

// Options of a Room.
type Options struct {
	// Bus may be nil for a Room that only polls by itself, or checks configuration.
	Bus *bus.Bus
	// Zones whose jobs are taken; none means the default zone.
	Zones []string
	// Credentials by name, as configured: {snmp: {…}, http: {…}}.
	Credentials map[string]conf.Node
	// Profiles is the folder of the user's own profiles; may be empty.
	Profiles string
	// MaxInFlight bounds the polls at once of targets that are neither dead nor slow; 0 is 1000.
	MaxInFlight int
	Scope       obs.Scope
	// Canary may be nil.
	Canary *canary.Tracker
}

// Room is the collector.
type Room struct {
	options     Options
	pollers     map[string]poller.Poller
	credentials map[string]map[string]conf.Node // by kind and name
	metrics     metrics
	panics      sync.Map // where pollers panicked, to say it once
	clog        clog

	mu     sync.Mutex
	engine *engine
}

type metrics struct {
	polls    *prometheus.CounterVec
	delay    *prometheus.HistogramVec
	duration *prometheus.HistogramVec
	inFlight [2]prometheus.Gauge // by lane
	waiting  [2]prometheus.Gauge
	repeated *prometheus.CounterVec
	panics   *prometheus.CounterVec

	refused     *prometheus.CounterVec
	unpublished prometheus.Gauge
	held        prometheus.Gauge
}

const defaultInFlight = 1000

// New makes the room and checks credentials and profiles. The Room is usable for checking the rest of a configuration
// even when there are problems.
func New(o Options) (*Room, conf.Problems) {
	if o.MaxInFlight == 0 {
		o.MaxInFlight = defaultInFlight
	}
	if len(o.Zones) == 0 {
		o.Zones = []string{event.DefaultZone}
	}
	o.Scope = o.Scope.For("collector")
	delays := []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
	r := &Room{
		options: o, pollers: map[string]poller.Poller{}, engine: newEngine(o.MaxInFlight),
		metrics: metrics{
			polls:    o.Scope.Counter("kemi_collector_polls_total", "Jobs by kind and outcome.", "kind", "status"),
			delay:    o.Scope.Histogram("kemi_collector_start_delay_seconds", "From a job's slot to the start of its poll.", delays),
			duration: o.Scope.Histogram("kemi_collector_poll_duration_seconds", "Length of polls.", delays, "kind"),
			repeated: o.Scope.Counter("kemi_collector_repeated_total", "Jobs that came again after they had their outcome."),
			panics:   o.Scope.Counter("kemi_collector_panics_total", "Polls that ended in a panic.", "kind"),

			refused:     o.Scope.Counter("kemi_collector_refused_total", "Attempts to publish a reading that the bus refused; it is tried again."),
			unpublished: o.Scope.Gauge("kemi_collector_unpublished", "Readings that the bus refused and that wait to be published.").WithLabelValues(),
			held:        o.Scope.Gauge("kemi_collector_held_back", "1 while the bus refuses readings and no new polls begin for that. Where jobs are refused too there are no readings: see kemi_bus_disk_held_back.").WithLabelValues(),
		},
	}
	inFlight := o.Scope.Gauge("kemi_collector_in_flight", "Polls under way.", "lane")
	waiting := o.Scope.Gauge("kemi_collector_waiting", "Jobs that wait for their turn or for a place.", "lane")
	for i, name := range [...]string{fast: "fast", slow: "slow"} {
		r.metrics.inFlight[i], r.metrics.waiting[i] = inFlight.WithLabelValues(name), waiting.WithLabelValues(name)
	}
	parts, problems := split(o.Credentials)
	r.credentials = parts
	for _, k := range kinds() {
		p, more := k.make(poller.Setup{Credentials: parts[k.name], Profiles: o.Profiles, Scope: o.Scope})
		r.pollers[k.name] = p
		problems = append(problems, more...)
	}
	return r, problems
}

// split takes credentials apart by kind.
func split(credentials map[string]conf.Node) (parts map[string]map[string]conf.Node, problems conf.Problems) {
	parts = map[string]map[string]conf.Node{}
	var known []string
	for _, k := range kinds() {
		if k.credential != never {
			parts[k.name] = map[string]conf.Node{}
			known = append(known, k.name)
		}
	}
	slices.Sort(known)
	for _, name := range slices.Sorted(maps.Keys(credentials)) {
		n := credentials[name]
		if n.Kind() != conf.Map {
			problems = append(problems, n.Problem(fmt.Sprintf("the credential %q is empty", name), "say what it is for, like {snmp: {version: 2c, community: …}}"))
			continue
		}
		for _, key := range n.Keys() {
			if parts[key.Text()] == nil {
				problems = append(problems, key.Problem(fmt.Sprintf("unknown kind of credential %q", key.Text()), suggest(key.Text(), known)))
				continue
			}
			parts[key.Text()][name] = n.Get(key.Text())
		}
	}
	return parts, problems
}

func suggest(word string, known []string) string {
	if near := conf.Nearest(word, known); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return "the kinds are " + strings.Join(known, ", ")
}

// Spec checks the keys of a check that belong to its kind and gives what a Job carries of them.
func (r *Room) Spec(kind string, n conf.Node) (json.RawMessage, conf.Problems) {
	p, known := r.pollers[kind]
	if !known {
		return nil, conf.Problems{n.Problem(fmt.Sprintf("unknown kind of check %q", kind), suggest(kind, r.Kinds()))}
	}
	return p.Spec(n)
}

// Kinds lists the kinds of checks that can be configured, sorted.
func (r *Room) Kinds() []string {
	var names []string
	for _, k := range kinds() {
		if k.name != event.CanaryClass {
			names = append(names, k.name)
		}
	}
	slices.Sort(names)
	return names
}

// Profile says what is wrong with a check of a kind naming a profile; "" is no name.
func (r *Room) Profile(kind, name string) error {
	if p, ok := r.pollers[kind].(poller.Profiled); ok {
		return p.Profile(name)
	}
	if name != "" {
		return fmt.Errorf("checks of kind %s have no profiles: leave profile out", kind)
	}
	return nil
}

// Profiles lists what the profiles of all kinds read.
func (r *Room) Profiles() (all []profile.Profile) {
	for _, k := range kinds() {
		if p, ok := r.pollers[k.name].(poller.Profiled); ok {
			all = append(all, p.Profiles()...)
		}
	}
	return all
}

// Credential reports whether there is a credential of that name.
func (r *Room) Credential(name string) bool {
	_, known := r.options.Credentials[name]
	return known
}

// CredentialFor says what is wrong with a check of a kind naming a credential; "" is none.
func (r *Room) CredentialFor(kind, name string) error {
	of := r.credentials[kind]
	_, there := of[name]
	need := never
	for _, k := range kinds() {
		if k.name == kind {
			need = k.credential
		}
	}
	switch {
	case there, name == "" && need != must:
		return nil
	case need == never:
		return fmt.Errorf("checks of kind %s need no credential: leave it out", kind)
	case name == "":
		return fmt.Errorf("checks of kind %s need a credential: add credential: NAME", kind)
	case r.Credential(name):
		return fmt.Errorf("the credential %q has no part for %s: add one to it", name, kind)
	}
	names := slices.Sorted(maps.Keys(of))
	if near := conf.Nearest(name, names); near != "" {
		return fmt.Errorf("unknown credential %q: did you mean %q?", name, near)
	}
	if len(names) == 0 {
		return fmt.Errorf("unknown credential %q: there are none for %s, add it under credentials", name, kind)
	}
	return fmt.Errorf("unknown credential %q: those for %s are %s", name, kind, strings.Join(names, ", "))
}

// Close closes what pollers hold open; Run does so when it ends. A poll after it opens them again.
func (r *Room) Close() error {
	var errs []error
	for _, p := range r.pollers {
		if c, ok := p.(poller.Closer); ok {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}

// Run takes jobs until ctx ends.
func (r *Room) Run(ctx context.Context) error {
	if r.options.Bus == nil {
		return errors.New("run collector: it was made without a bus")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var group sync.WaitGroup
	group.Go(func() { r.tick(ctx) })
	errs := make([]error, len(r.options.Zones))
	for i, zone := range r.options.Zones {
		group.Go(func() {
			defer cancel() // One zone without work is an error of all: it is not to go unnoticed.
			errs[i] = bus.Work(ctx, r.options.Bus, event.JobsTopic(zone), "collector", perPlace*r.options.MaxInFlight, r.handle)
		})
	}
	group.Wait()
	return errors.Join(append(errs, r.Close())...)
}
