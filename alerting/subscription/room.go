package subscription

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kemi.dev/kemi/alerting/notify/post"
	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/conf"
	"kemi.dev/kemi/internal/obs"
)

// Options of a Room. Bus is required.
type Options struct {
	Bus           *bus.Bus
	Subscriptions map[string]Config
	Scope         obs.Scope
}

// Room delivers for all subscriptions. Any number of processes share the work, by partition.
type Room struct {
	bus       *bus.Bus
	scope     obs.Scope
	endpoints map[string]*endpoint
	keys      map[string]*atomic.Pointer[keys]
	oldest    *prometheus.GaugeVec
}

// New makes the room; it starts nothing.
func New(o Options) (*Room, conf.Problems) {
	s := o.Scope.For("subscription")
	r := &Room{
		bus: o.Bus, scope: s, endpoints: map[string]*endpoint{}, keys: map[string]*atomic.Pointer[keys]{},
		oldest: s.Gauge("kemi_subscription_oldest_undelivered_seconds", "Age of the oldest event that this process is to deliver and has not, 0 when there is none.", "subscription"),
	}
	outcomes := s.Counter("kemi_subscription_deliveries_total", "What came of events: delivered, failed (to be tried again), refused, given up (both are dead letters), or left out (another team's).", "subscription", "topic", "outcome")
	var problems conf.Problems
	for _, name := range slices.Sorted(maps.Keys(o.Subscriptions)) {
		c := o.Subscriptions[name]
		client, err := post.New(c.Config)
		if err != nil {
			problems = append(problems, c.Pos.Problem(fmt.Sprintf("subscription %s: %v", name, err), "mend tls"))
			continue
		}
		all, err := parseKeys(c.Secret.Reveal())
		if err != nil {
			continue // Validate has said so, and where; nothing is sent that is not signed.
		}
		held := &atomic.Pointer[keys]{}
		held.Store(&all)
		r.keys[name] = held
		r.endpoints[name] = &endpoint{
			name: name, config: c, client: client, keys: func() keys { return *held.Load() }, scope: s, slots: make(chan struct{}, requests),
			outcomes: outcomes, parts: map[*partition]bool{},
		}
	}
	return r, problems
}

// Reload reads the secrets and URLs again that are in files. A secret that is none leaves the one that was.
func (r *Room) Reload() error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(r.endpoints)) {
		c := r.endpoints[name].config
		err := errors.Join(c.Secret.Reload(), c.URL.Reload())
		if err == nil {
			var all keys
			if all, err = parseKeys(c.Secret.Reveal()); err == nil {
				r.keys[name].Store(&all)
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("subscription %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// Run delivers until ctx ends.
func (r *Room) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var reading sync.WaitGroup
	start := func(run func(context.Context) error) {
		reading.Go(func() {
			if err := run(ctx); err != nil {
				cancel(err)
			}
		})
	}
	for _, e := range r.endpoints {
		for _, name := range e.config.Topics {
			s, _ := subjectOf(name) // Validate has said that there is one.
			start(func(ctx context.Context) error { return s.own(ctx, r.bus, e) })
		}
		start(func(ctx context.Context) error { return r.ownAgain(ctx, e) })
	}
	r.measure(ctx)
	reading.Wait()
	if err := context.Cause(ctx); err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// measure keeps the ages, once a second until ctx ends, and says once whose subscriptions are gone.
func (r *Room) measure(ctx context.Context) {
	defer r.oldest.Reset()
	r.sayRemoved(ctx)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		for name, e := range r.endpoints {
			age := 0.0
			if at := e.oldest(); !at.IsZero() {
				age = time.Since(at).Seconds()
			}
			r.oldest.WithLabelValues(name).Set(age)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// sayRemoved logs which subscriptions the bus knows that are in the configuration no more.
func (r *Room) sayRemoved(ctx context.Context) {
	info, err := r.bus.Inspect(ctx, bus.TopicAgain)
	if err != nil {
		return // It is only a word to whoever reads the log.
	}
	for _, g := range info.Groups {
		name, ours := strings.CutPrefix(g.Name, bus.AloneGroup)
		if _, there := r.endpoints[name]; ours && !there {
			r.scope.Log().Info("a subscription is not configured here any more; its place on the bus stays until it is removed there, see docs/subscribing.md", "subscription", name)
		}
	}
}

// handler is a bus.Handler of what can be made items of.
type handler[T any] struct {
	*partition
	make func(*bus.Message[T]) (item, bool, error)
}

// Handle implements bus.Handler.
func (h handler[T]) Handle(ctx context.Context, batch []bus.Message[T]) error {
	items := make([]item, 0, len(batch))
	for i := range batch {
		it, mine, err := h.make(&batch[i])
		if err != nil { // It will be no better.
			return bus.PermanentAt(batch[i].Position, err)
		}
		if mine {
			items = append(items, it)
		}
	}
	return h.deliver(ctx, items)
}

// Tick implements bus.Handler: what waits, waits in Handle.
func (handler[T]) Tick(context.Context, time.Time) error { return nil }

// own delivers a topic as the subscription's group. One that never did begins with what comes from now on.
func own[T any, W event.Word[T]](ctx context.Context, b *bus.Bus, e *endpoint) error {
	topic := W(new(T)).Topic()
	opts := bus.Options{Batch: batch, More: more, Start: bus.From{End: true}}
	return bus.Own(ctx, b, Group(e.name), opts, func(ctx context.Context, o *bus.Ownership) (bus.Handler[said[T, W]], error) {
		return handler[said[T, W]]{e.partition(ctx, o), func(m *bus.Message[said[T, W]]) (item, bool, error) {
			it, err := itemOf(topic, m)
			return it, true, err
		}}, nil
	})
}

// ownAgain delivers what the subscription alone is handed again.
func (r *Room) ownAgain(ctx context.Context, e *endpoint) error {
	group := Group(e.name)
	opts := bus.Options{Batch: batch, More: more, Start: bus.From{End: true}}
	return bus.Own(ctx, r.bus, group, opts, func(ctx context.Context, o *bus.Ownership) (bus.Handler[bus.Redelivery], error) {
		return handler[bus.Redelivery]{e.partition(ctx, o), func(m *bus.Message[bus.Redelivery]) (item, bool, error) {
			if m.Removed() || m.Event.For != group {
				return item{}, false, nil
			}
			it, err := itemAgain(m)
			return it, true, err
		}}, nil
	})
}

// Names lists the subscriptions.
func (r *Room) Names() []string { return slices.Sorted(maps.Keys(r.endpoints)) }

// TestWord is the type of the event that Test sends.
const TestWord = "dev.kemi.test.v1"

// Test sends one signed event that says that it is a test, once, and returns what the endpoint answered.
func (r *Room) Test(ctx context.Context, name, text string, now time.Time) (answer string, err error) {
	e := r.endpoints[name]
	if e == nil {
		do := "the configuration has no subscriptions"
		if names := r.Names(); len(names) > 0 {
			do = "there are " + strings.Join(names, ", ")
			if near := conf.Nearest(name, names); near != "" {
				do = fmt.Sprintf("did you mean %q?", near)
			}
		}
		return "", fmt.Errorf("there is no subscription %q: %s", name, do)
	}
	id := event.ComputeID("test of a subscription", name, now.UTC().Format(time.RFC3339Nano))
	body, err := json.Marshal(map[string]any{
		"specversion": "1.0", "id": id, "source": "/kemi/alerting", "type": TestWord, "subject": name, "time": now.UTC(),
		"datacontenttype": "application/json", "data": map[string]string{"subscription": name, "text": text},
	})
	if err != nil {
		return "", err
	}
	return e.send(ctx, &item{id: id, body: body})
}
