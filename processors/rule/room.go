package rule

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/canary"
	"kemi.dev/kemi/internal/obs"
	"kemi.dev/kemi/internal/run"
)

// Group is the name under which the rules consume readings.
const Group = "rule"

// Options of a Room. Bus is required.
type Options struct {
	Bus *bus.Bus
	// Rules to begin with; nil is none.
	Rules  *Set
	Scope  obs.Scope
	Canary *canary.Tracker
}

// Room evaluates the rules on the readings of every partition that falls to this process.
type Room struct {
	bus    *bus.Bus
	rules  atomic.Pointer[Set]
	canary *canary.Tracker
	scope  obs.Scope

	mu sync.RWMutex
	// alive has what targets.v1 says of a target: true when it is watched, false when it is retired or removed, which is
	// forgotten after forgetAfter.
	alive map[string]bool
	// leftAt has since when a target is not watched any more.
	leftAt map[string]time.Time
	// any reports whether a target was ever published.
	any bool
	// left counts the targets that went, so that owners know when to look.
	left atomic.Int64

	metrics metrics
}

type metrics struct {
	evaluations, failed, templates, findings *prometheus.CounterVec
	instances                                *prometheus.GaugeVec
	seconds                                  *prometheus.HistogramVec
}

// New makes a room; nothing happens before Run.
func New(o Options) (*Room, error) {
	if o.Bus == nil {
		return nil, errors.New("make the rule room: a bus is needed")
	}
	s := o.Scope.For("rule")
	r := &Room{bus: o.Bus, canary: o.Canary, scope: s, alive: map[string]bool{}, leftAt: map[string]time.Time{}, metrics: metrics{
		evaluations: s.Counter("kemi_rule_evaluations_total", "Evaluations of one rule on one target."),
		failed:      s.Counter("kemi_rule_evaluations_failed_total", "Evaluations that ended in an error; their instances are unknown.", "rule"),
		templates:   s.Counter("kemi_rule_template_failures_total", "Labels and annotations whose template failed; their source was used."),
		findings:    s.Counter("kemi_rule_findings_total", "Findings published.", "verdict"),
		instances:   s.Gauge("kemi_rule_instances", "Rule instances that are pending, firing, or firing without data.", "partition", "state"),
		seconds:     s.Histogram("kemi_rule_evaluation_seconds", "Time to judge one reading by all rules, mean of a batch.", []float64{1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 0.1, 1}),
	}}
	r.Reload(o.Rules)
	return r, nil
}

// Reload replaces the rules while the room runs. Timers of rules whose name and labels are the same go on.
func (r *Room) Reload(rules *Set) {
	if rules == nil {
		rules = newSet(nil)
	}
	r.rules.Store(rules)
}

// Run evaluates until ctx ends.
func (r *Room) Run(ctx context.Context) error {
	var g run.Group
	known := make(chan struct{})
	g.Add("follow targets", func(ctx context.Context) error {
		var once sync.Once
		return bus.Follow(ctx, r.bus, bus.From{Snapshot: true}, r.target, func() { once.Do(func() { close(known) }) })
	}, known)
	g.Add("forget targets", func(ctx context.Context) error {
		tick := time.NewTicker(time.Minute)
		defer tick.Stop()
		for {
			select {
			case now := <-tick.C:
				r.forgetLeft(now)
			case <-ctx.Done():
				return nil
			}
		}
	})
	g.Add("own readings", func(ctx context.Context) error {
		return bus.Own(ctx, r.bus, Group, bus.Options{Writes: []event.Topic{(*event.Finding)(nil).Topic()}}, r.open)
	})
	return g.Run(ctx)
}

// target notes what exists.
func (r *Room) target(m bus.Message[event.Target]) error {
	alive := !m.Removed() && m.Event.Lifecycle != event.Retired
	r.mu.Lock()
	was, known := r.alive[m.Key]
	r.alive[m.Key], r.any = alive, true
	if alive {
		delete(r.leftAt, m.Key)
	} else {
		r.leftAt[m.Key] = time.Now()
	}
	r.mu.Unlock()
	if !alive && (was || !known) {
		r.left.Add(1)
	}
	return nil
}

// forgetAfter is how long a target that left is remembered: no reading of it is on its way any more then, and one that
// is none the less ends with owner.forget.
const forgetAfter = 15 * time.Minute

// forgetLeft forgets the targets that left long ago.
func (r *Room) forgetLeft(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, at := range r.leftAt {
		if now.Sub(at) >= forgetAfter {
			delete(r.leftAt, id)
			delete(r.alive, id)
		}
	}
}

// gone reports whether a target was retired or removed. One that was never heard of is not gone: its reading may be
// faster than its target.
func (r *Room) gone(id string) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	alive, known := r.alive[id]
	return known && !alive
}

// lost reports whether a target that was polled long enough ago to be known is not there. When no target was ever
// published, none is lost.
func (r *Room) lost(id string) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.any && !r.alive[id]
}

// owner is the door of one partition.
type owner struct {
	room *Room
	o    *bus.Ownership
	desk *Desk
	set  *Set

	// position is the newest reading's that was handled, judged that of the newest one that was judged; outbox holds findings
	// that are not published yet.
	position  int64
	judged    meta
	outbox    []*event.Finding
	trip      time.Time // slot of a canary's trip among them
	left      int64
	counted   Stats
	refreshed time.Time
	swept     time.Time
	kept      meta // as it was last saved
	ahead     bool // The saved positions are beyond where the epoch begins, and of a log before.

	// Of the epochs before: up to which position readings were judged, by all and by bucket, -1 where nobody knows; and from
	// when on they are needed all the same.
	known   int64
	buckets [256]int64
	since   time.Time
}

// open makes the owner of a partition: with the state that was saved, and with windows warmed up.
func (r *Room) open(ctx context.Context, o *bus.Ownership) (bus.Handler[event.Reading], error) {
	now := time.Now()
	set := r.rules.Load()
	w := &owner{room: r, o: o, desk: NewDesk(set), set: set, position: o.From - 1, left: r.left.Load(), refreshed: now, swept: now, counted: Stats{Failed: map[string]uint64{}}}
	pieces, err := o.LoadState(ctx)
	if err != nil {
		return nil, fmt.Errorf("open rules of partition %d: %w", o.Partition, err)
	}
	if err := w.load(ctx, pieces, now); err != nil {
		return nil, fmt.Errorf("open rules of partition %d: %w", o.Partition, err)
	}
	w.outbox = w.desk.Findings() // Of rules that went while nobody ran.
	err = bus.Replay(ctx, o, w.since, func(m bus.Message[event.Reading]) error {
		if m.Event == nil || r.lost(m.Event.Target) {
			return nil
		}
		if w.before(&m) {
			w.desk.Warm(m.Event)
		} else {
			w.desk.Reading(m.Event)
			w.judged = meta{m.Position, m.Stored}
		}
		_ = w.desk.Findings() // Whoever owned the partition then has said them.
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("warm up rules of partition %d: %w", o.Partition, err)
	}
	w.desk.SayAgain()
	for _, id := range w.desk.Targets() {
		if r.lost(id) {
			w.desk.Remove(id, now)
		}
	}
	if w.ahead { // Before they could be taken for positions of what is judged from now on.
		if err := w.save(ctx, now); err != nil {
			return nil, err
		}
	}
	context.AfterFunc(ctx, w.unmeasure)
	return w, nil
}

// Handle implements bus.Handler.
func (w *owner) Handle(ctx context.Context, batch []bus.Message[event.Reading]) error {
	begin := time.Now()
	w.follow(begin)
	n := 0
	for i := range batch {
		m := &batch[i]
		// A batch comes again when its findings could not be published: it was judged already.
		if m.Position <= w.position {
			continue
		}
		if w.position = m.Position; w.before(m) { // It is handed over again, and what followed from it was said.
			if !m.Stored.Before(w.since) && !w.room.lost(m.Event.Target) {
				w.desk.Warm(m.Event)
			}
			continue
		}
		w.judged = meta{m.Position, m.Stored}
		if m.Event == nil || w.room.gone(m.Event.Target) {
			continue
		}
		w.desk.Reading(m.Event)
		if n++; m.Event.Target == event.CanaryTarget {
			w.trip = m.Event.Slot
		}
	}
	if n > 0 {
		w.room.metrics.seconds.WithLabelValues().Observe(time.Since(begin).Seconds() / float64(n))
	}
	return w.publish(ctx)
}

// Tick implements bus.Handler.
func (w *owner) Tick(ctx context.Context, now time.Time) error {
	w.follow(now)
	w.measure()
	if ctx.Err() != nil {
		w.unmeasure() // The partition went meanwhile.
	}
	if err := w.publish(ctx); err != nil {
		return err
	}
	if now.Sub(w.swept) > 10*time.Minute {
		w.swept = now
		w.desk.Sweep(now)
		w.forget(now)
	}
	return w.save(ctx, now)
}

// follow takes up new rules and targets that left.
func (w *owner) follow(now time.Time) {
	if set := w.room.rules.Load(); set != w.set {
		w.set = set
		w.desk.Reload(set, now)
	}
	if left := w.room.left.Load(); left != w.left {
		w.left = left
		for _, id := range w.desk.Targets() {
			if w.room.gone(id) {
				w.desk.Remove(id, now)
			}
		}
	}
}

// forget ends what a last reading of a target raised that had left before this process knew of it.
func (w *owner) forget(now time.Time) {
	for _, id := range w.desk.Targets() {
		if w.room.lost(id) && now.Sub(w.desk.Heard(id)) > 10*time.Minute {
			w.desk.Remove(id, now)
		}
	}
}

// publishMost bounds the findings of one publish call.
const publishMost = 500

// publish says what was found; what could not be said is kept for the next time.
func (w *owner) publish(ctx context.Context) error {
	w.outbox = append(w.outbox, w.desk.Findings()...)
	for len(w.outbox) > 0 {
		n := min(len(w.outbox), publishMost)
		events := make([]event.Event, n)
		for i, f := range w.outbox[:n] {
			events[i] = f
		}
		if err := w.o.Publish(ctx, events...); err != nil {
			return err
		}
		for _, f := range w.outbox[:n] {
			w.room.metrics.findings.WithLabelValues(string(f.Verdict)).Inc()
		}
		w.outbox = w.outbox[n:]
	}
	w.outbox = nil
	if !w.trip.IsZero() {
		w.room.canary.Mark(canary.StageRule, w.trip)
		w.trip = time.Time{}
	}
	return nil
}

// measure turns what the desk counted into metrics.
func (w *owner) measure() {
	m, s := &w.room.metrics, w.desk.Stats()
	m.evaluations.WithLabelValues().Add(float64(s.Evaluations - w.counted.Evaluations))
	m.templates.WithLabelValues().Add(float64(s.TemplateFailures - w.counted.TemplateFailures))
	for name, n := range s.Failed {
		m.failed.WithLabelValues(name).Add(float64(n - w.counted.Failed[name]))
		w.counted.Failed[name] = n
	}
	w.counted.Evaluations, w.counted.TemplateFailures = s.Evaluations, s.TemplateFailures
	partition := fmt.Sprint(w.o.Partition)
	pending, firing, unknown := w.desk.Instances()
	m.instances.WithLabelValues(partition, "pending").Set(float64(pending))
	m.instances.WithLabelValues(partition, "firing").Set(float64(firing))
	m.instances.WithLabelValues(partition, "unknown").Set(float64(unknown))
}

// unmeasure takes back what is exported of the partition: it is another's from now on.
func (w *owner) unmeasure() {
	w.room.metrics.instances.DeletePartialMatch(prometheus.Labels{"partition": fmt.Sprint(w.o.Partition)})
}
