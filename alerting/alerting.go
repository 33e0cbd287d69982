// Package alerting turns Alerts into Incidents and Pages. In: alerts, verdicts on who answers (findings of the rule
// kemi:reachable), targets with what they need. Out: incidents, one for each cause; pages, written down before they are
// sent and after; verifying polls. It promises one page for one cause whatever the order of arrival, a resolved for every
// firing that somebody was told of, and that a crash loses no page. It never sends what was not stored first, and never
// lets one receiver hold up another.
//
// The desk (Desk, Ledger) is pure; the door (Room) owns partitions of alerts.v1 and does everything else.
package alerting

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kemi.dev/kemi/alerting/hush"
	"kemi.dev/kemi/alerting/notify"
	"kemi.dev/kemi/alerting/notify/inbox"
	"kemi.dev/kemi/alerting/notify/log"
	"kemi.dev/kemi/alerting/oncall"
	"kemi.dev/kemi/alerting/route"
	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/canary"
	"kemi.dev/kemi/internal/conf"
	"kemi.dev/kemi/internal/obs"
)

// Group is the room's name on the bus.
const Group = "alerting"

// logReceiver takes the pages of teams that nobody configured.
const logReceiver = "log"

// Options of New. Bus is required.
type Options struct {
	Bus   *bus.Bus
	Scope obs.Scope
	// Receivers by name, as they stand under `receivers:`.
	Receivers map[string]conf.Node
	// Teams, People and Schedules by name, as they stand under `teams:`, `people:` and `schedules:`.
	Teams, People, Schedules map[string]conf.Node
	// Route is what stands under `route:`; it may be absent.
	Route conf.Node
	// Holds is what holds pages back.
	Holds hush.Config
	// Dir is the folder of the configuration file.
	Dir string
	// Policy is what stands under `alerting:`; it may be absent.
	Policy conf.Node
	// ExternalURL is where people reach the console; pages link there.
	ExternalURL string
	// AckURL makes the link with which whoever gets a page acknowledges; see notify.Env. It may be nil.
	AckURL func(p *event.Page) string
	Canary *canary.Tracker
	// Inboxes, when given, holds the receivers of kind inbox, for whoever wants to look into them.
	Inboxes *inbox.Set
}

// Room is alerting on a bus.
type Room struct {
	bus       *bus.Bus
	scope     obs.Scope
	policy    Policy
	canary    *canary.Tracker
	receivers map[string]notify.Notifier
	people    *people
	options   Options
	sound     bool // Nothing is wrong with its configuration.
	targets   *catalogue
	said      *said
	sources   *sources
	abroad    *abroad

	gates    *Gates
	sends    sync.WaitGroup
	underWay underWay

	pages    *prometheus.CounterVec
	verifies *prometheus.CounterVec
	open     *prometheus.GaugeVec
	unsent   *prometheus.GaugeVec
	broken   *prometheus.GaugeVec
}

// New makes the room and says everything that is wrong with its configuration. With problems there is a room, too, never
// nil, to be asked for what it would Foresee and who is in it; Run refuses.
func New(o Options) (*Room, conf.Problems) {
	scope := o.Scope.For("alerting")
	r := &Room{
		bus: o.Bus, scope: scope, policy: DefaultPolicy(), canary: o.Canary,
		options: o, receivers: map[string]notify.Notifier{}, targets: newCatalogue(), said: newSaid(), underWay: newUnderWay(),
		pages:    scope.Counter("kemi_alerting_pages_total", "Lines of the page ledger, by receiver, kind and stage.", "receiver", "kind", "stage"),
		verifies: scope.Counter("kemi_alerting_verifies_total", "Verifying polls asked for."),
		open:     scope.Gauge("kemi_alerting_open_incidents", "Incidents that are open.", "partition"),
		unsent:   scope.Gauge("kemi_alerting_unsent_pages", "Pages that are neither sent nor failed.", "partition"),
		broken:   scope.Gauge("kemi_alerting_receiver_broken", "1 while a receiver does not work and one page at a time is tried, by receiver.", "receiver"),
	}
	problems := o.Policy.Into(&r.policy)
	env := notify.Env{Scope: scope, ExternalURL: strings.TrimRight(o.ExternalURL, "/"), Dir: o.Dir, AckURL: o.AckURL, Contact: func(person string) (notify.Contact, bool) { return r.people.contact(person) }}
	boxes := o.Inboxes
	if boxes == nil {
		boxes = &inbox.Set{}
	}
	makers, limits := kinds(boxes), map[string]int{}
	var more conf.Problems
	for _, name := range slices.Sorted(maps.Keys(o.Receivers)) {
		receiver, said := receive(makers, name, o.Receivers[name], env)
		problems = append(problems, said...)
		r.receivers[name] = receiver
		limit, said := limitOf(o.Receivers[name])
		if problems = append(problems, said...); limit >= 0 {
			limits[name] = limit
		}
	}
	r.gates = NewGates(r.policy)
	r.gates.says, r.gates.limits = r.breaks, limits
	r.people, more = newPeople(o, r.receivers, slices.Sorted(maps.Keys(makers)), r.policy.GroupWait)
	problems = append(problems, more...)
	r.sources, r.abroad = newSources(r.people.intervals), newAbroad(r.policy.Settle)
	if r.receivers[logReceiver] == nil && o.Receivers[logReceiver].IsZero() {
		// Somebody must hear of it, if only the log.
		receiver, err := log.New(logReceiver, log.Default(), env)
		if err != nil {
			problems = append(problems, conf.Problem{What: err.Error()})
		}
		r.receivers[logReceiver] = receiver
	}
	r.sound = len(problems) == 0
	return r, problems
}

func suggest(word string, known []string, list string) string {
	if near := conf.Nearest(word, known); near != "" {
		return "did you mean \"" + near + "\"?"
	}
	if len(known) == 0 {
		return "add it under receivers:"
	}
	return list + strings.Join(known, ", ")
}

// Teams lists the teams that have a receiver, sorted.
func (r *Room) Teams() []string { return slices.Sorted(maps.Keys(r.people.teams)) }

// holds is what holds pages back, for one desk: what the configuration says, and no silences yet.
func (r *Room) holds() *hush.Set {
	set, _ := hush.New(r.options.Holds) // Its mistakes were said by New.
	return set
}

// receiver finds a receiver; of one that was taken out of the configuration the default team's takes what is left.
func (r *Room) receiver(name string) notify.Notifier {
	if n := r.receivers[name]; n != nil {
		return n
	}
	return r.receivers[cmp.Or(r.people.team(DefaultTeam).Receiver, logReceiver)]
}

// breaks tells that a receiver does not work, or does again.
func (r *Room) breaks(receiver string, open bool, why string) {
	if open {
		r.broken.WithLabelValues(receiver).Set(1)
		r.scope.Log().Error("receiver does not work, its pages wait: one at a time tries", "receiver", receiver, "err", why)
		return
	}
	r.broken.WithLabelValues(receiver).Set(0)
	r.scope.Log().Info("receiver works again", "receiver", receiver)
}

// Run owns partitions until ctx ends, and then for at most a second more what became of the pages under way.
func (r *Room) Run(parent context.Context) error {
	if !r.sound {
		return errors.New("run alerting: its configuration has mistakes, which New said: correct them")
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(parent))
	defer cancel()
	context.AfterFunc(parent, func() {
		r.underWay.drain()
		cancel()
	})
	for _, n := range route.Notes(r.options.Route) {
		r.scope.Log().Info("a route says what is not done here", "note", n.Problem().String())
	}
	wrong, notes := r.Foresee(time.Now())
	for _, p := range wrong {
		r.scope.Log().Error("pages reach nobody", "problem", p.String())
	}
	for _, n := range notes {
		r.scope.Log().Warn("look at the configuration of people", "note", n.String())
	}
	follows := []func(context.Context) error{
		func(ctx context.Context) error { return r.targets.follow(ctx, r.bus) },
		func(ctx context.Context) error { return r.said.follow(ctx, r.bus, r.people) },
		func(ctx context.Context) error { return r.sources.follow(ctx, r.bus) },
		func(ctx context.Context) error { return r.abroad.follow(ctx, r.bus) },
	}
	followed := make(chan error, len(follows))
	for _, follow := range follows {
		go func() {
			followed <- follow(ctx)
			cancel()
		}()
	}
	options := bus.Options{Start: bus.From{Snapshot: true}, Writes: []event.Topic{(*event.Incident)(nil).Topic(), (*event.Page)(nil).Topic()}}
	err := bus.Own(ctx, r.bus, Group, options, func(ctx context.Context, own *bus.Ownership) (bus.Handler[event.Alert], error) {
		return r.openPartition(ctx, own)
	})
	cancel()
	r.sends.Wait()
	for range follows {
		err = errors.Join(err, <-followed)
	}
	return err
}

// Roster is who is on call. Overrides reach it while Run runs; whoever does not run the room puts them in.
func (r *Room) Roster() *oncall.Roster { return r.people.roster }

// Ways says who is told of what.
func (r *Room) Ways() Ways { return r.people }

// Holds is what holds pages back by configuration: a new set, to which the caller adds the silences that people said.
func (r *Room) Holds() *hush.Set { return r.holds() }

// Receivers lists the receivers by name, sorted.
func (r *Room) Receivers() []string { return slices.Sorted(maps.Keys(r.receivers)) }

// Notify sends a page by a receiver, once and past the ledger: for trying a receiver out.
func (r *Room) Notify(ctx context.Context, receiver string, p *event.Page) (response string, err error) {
	n := r.receivers[receiver]
	if n == nil {
		return "", fmt.Errorf("there is no receiver %q: %s", receiver, suggest(receiver, r.Receivers(), "the receivers are "))
	}
	ctx, cancel := context.WithTimeout(ctx, r.policy.SendTimeout)
	defer cancel()
	return notifySafely(ctx, n, p)
}
