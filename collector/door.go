package collector

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/s2"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/collector/poller"
	"kemi.dev/kemi/internal/canary"
	"kemi.dev/kemi/internal/pause"
)

const (
	// defaultDeadline is that of jobs which name none.
	defaultDeadline = time.Minute
	// tickEvery is how often polls that take long are looked for.
	tickEvery = 250 * time.Millisecond
	// perPlace is how many jobs are taken at once for each place in the fast lane: those that wait for a slow target, or
	// are polled slowly, keep no place from others.
	perPlace = 6
	// maxReading is what a broker takes in one record, with room for what goes with it.
	maxReading = 900 << 10
)

// handle gives a job its one outcome.
func (r *Room) handle(ctx context.Context, m bus.Message[event.Job]) error {
	job := m.Event
	if job == nil {
		return nil // A removed job is none.
	}
	if err := r.clog.wait(ctx); err != nil {
		return err
	}
	t := newTicket(job)
	switch v := r.admit(ctx, t); {
	case v == repeated:
		r.settle(t, v, true)
		r.metrics.repeated.WithLabelValues().Inc()
		return nil
	case ctx.Err() != nil:
		r.settle(t, v, false)
		return ctx.Err()
	case v != start:
		reading := r.missed(job, v)
		err := r.publish(ctx, reading)
		r.settle(t, v, err == nil)
		if err != nil {
			return err
		}
		r.count(reading)
		return nil
	}
	r.metrics.delay.WithLabelValues().Observe(time.Since(job.Slot).Seconds())
	reading := r.poll(ctx, t, job)
	if ctx.Err() != nil { // What was found is the fault of our stopping: another takes the job.
		r.done(t, false, nil)
		return ctx.Err()
	}
	r.explain(t, reading)
	if err := r.publish(ctx, reading); err != nil {
		r.done(t, false, reading)
		return err
	}
	r.done(t, true, reading)
	r.count(reading)
	if job.Target == event.CanaryTarget {
		r.options.Canary.Mark(canary.StageCollect, job.Slot)
	}
	return nil
}

// Poll polls now, for somebody who waits: after a poll of the same target that is under way, and never cheaply. The
// reading is returned and not published.
func (r *Room) Poll(ctx context.Context, job *event.Job) *event.Reading {
	t := newTicket(job)
	t.real, t.id = true, job.Identity()
	v := r.admit(ctx, t)
	if v != start || ctx.Err() != nil {
		r.settle(t, v, false)
	}
	switch {
	case ctx.Err() != nil:
		reading := r.missed(job, late)
		reading.Message = "the poll was called off before it began"
		return reading
	case v != start:
		return r.missed(job, v)
	}
	reading := r.poll(ctx, t, job)
	r.done(t, false, reading)
	r.count(reading)
	return reading
}

func newTicket(job *event.Job) *ticket {
	t := &ticket{
		target: job.Target, check: job.Check, slot: job.Slot.UnixMilli(), deadline: job.Deadline,
		real: job.Cause == event.CauseVerify || job.Cause == event.CauseManual, woken: make(chan struct{}),
	}
	if job.Cause != event.CauseSchedule {
		t.id = job.Identity()
	}
	if t.deadline.IsZero() {
		t.deadline = time.Now().Add(defaultDeadline)
	}
	return t
}

// admit waits for the verdict on a ticket: at most until its deadline, or for the outcome of the same job's first.
func (r *Room) admit(ctx context.Context, t *ticket) verdict {
	r.mu.Lock()
	now := time.Now()
	r.engine.sweep(now)
	r.wake(r.engine.tick(now))
	v := r.engine.arrive(t, now)
	r.gauges()
	r.mu.Unlock()
	if v != wait {
		return v
	}
	timer := time.NewTimer(time.Until(t.deadline))
	defer timer.Stop()
	for {
		overdue := false
		select {
		case <-t.woken:
		case <-ctx.Done():
		case <-timer.C:
			overdue = true
		}
		r.mu.Lock()
		if overdue && t.first != nil { // Who takes over after its deadline is woken as late at once.
			r.mu.Unlock()
			continue
		}
		_, woken := r.engine.leave(t, time.Now())
		r.wake(woken)
		v = t.verdict
		r.mu.Unlock()
		return v
	}
}

// settle takes back a ticket that was not polled.
func (r *Room) settle(t *ticket, v verdict, published bool) {
	if v == start {
		r.done(t, published, nil)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wake(r.engine.settle(t, published, time.Now()))
}

// tick lets time pass until ctx ends.
func (r *Room) tick(ctx context.Context) {
	ticker := time.NewTicker(tickEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			r.mu.Lock()
			r.wake(r.engine.tick(now))
			r.mu.Unlock()
		}
	}
}

// done takes a ticket that was started back; reading is nil when nothing was found out about the target.
func (r *Room) done(t *ticket, published bool, reading *event.Reading) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var status event.Status
	var took time.Duration
	if reading != nil {
		status, took = reading.Status, reading.Duration
	}
	r.wake(r.engine.finish(t, published, reading != nil, status, took, time.Now()))
}

// wake tells tickets their verdict. Under mu.
func (r *Room) wake(woken []*ticket) {
	for _, t := range woken {
		close(t.woken)
	}
	r.gauges()
}

func (r *Room) gauges() {
	for i := range r.engine.lanes {
		r.metrics.inFlight[i].Set(float64(r.engine.lanes[i].running))
		r.metrics.waiting[i].Set(float64(r.engine.lanes[i].waiting))
	}
}

// poll asks the target, at most until the job's deadline. A panic of the poller is an outcome too.
func (r *Room) poll(ctx context.Context, t *ticket, job *event.Job) (reading *event.Reading) {
	begun := time.Now()
	defer func() {
		if cause := recover(); cause != nil {
			reading = event.ReadingFor(job)
			reading.Started, reading.Duration = begun, time.Since(begun)
			reading.Status, reading.Message = event.StatusError, fmt.Sprintf("the poller panicked: %v", cause)
			r.metrics.panics.WithLabelValues(job.Kind).Inc()
			if _, said := r.panics.LoadOrStore(panicked(), true); !said {
				r.options.Scope.Log().Error("poller panicked", "kind", job.Kind, "target", job.Target, "cause", cause, "stack", string(debug.Stack()))
			}
		}
	}()
	p := r.pollers[job.Kind]
	if p == nil {
		reading = event.ReadingFor(job)
		reading.Started, reading.Status = begun, event.StatusError
		reading.Message = fmt.Sprintf("there is no poller of kind %q: %s", job.Kind, suggest(job.Kind, r.Kinds()))
		return reading
	}
	ctx, cancel := context.WithDeadline(ctx, t.deadline)
	defer cancel()
	if t.probing {
		ctx = poller.WithProbing(ctx)
	}
	return p.Poll(ctx, job)
}

// panicked names the place in the code where the panic began that was recovered just now.
func panicked() string {
	pcs := make([]uintptr, 64)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	for begun := false; ; {
		f, more := frames.Next()
		own := strings.HasPrefix(f.Function, "runtime.") || strings.HasPrefix(f.Function, "internal/runtime/")
		if begun = begun || own; begun && !own || !more {
			return f.File + ":" + strconv.Itoa(f.Line)
		}
	}
}

// explain adds to the reading of a dead target for how long it has been dead.
func (r *Room) explain(t *ticket, reading *event.Reading) {
	if !t.probing || (reading.Status != event.StatusTimeout && reading.Status != event.StatusUnreachable) {
		return
	}
	r.mu.Lock()
	since := r.engine.backingOff(t.target)
	r.mu.Unlock()
	reading.Message = since + ": " + reading.Message
}

// missed is the outcome of a job that nobody was asked for.
func (r *Room) missed(job *event.Job, v verdict) *event.Reading {
	reading := event.ReadingFor(job)
	reading.Started, reading.Status = time.Now(), event.StatusLate
	switch v {
	case crowded:
		reading.Message = "not asked: too many jobs of targets that are dead or slow wait already"
	case repeated:
		reading.Message = "not asked: this job has had its outcome already"
	default:
		reading.Message = fmt.Sprintf("not asked: the job was past its deadline, %s after its slot", time.Since(job.Slot).Round(time.Millisecond))
	}
	return reading
}

// publish stores a reading, trying until ctx ends: it cannot be read again, and the job stays in hand meanwhile. A bus that
// takes none for long is said once in a while, and keeps new polls from beginning.
func (r *Room) publish(ctx context.Context, reading *event.Reading) error {
	sealed, err := seal(reading)
	if err != nil {
		return bus.Permanent(err)
	}
	defer r.clogged()
	log := r.options.Scope.Log()
	for attempt := 0; ; attempt++ {
		err := r.options.Bus.Publish(ctx, sealed)
		switch {
		case err == nil:
			if over := r.clog.taken(attempt > 0, time.Now()); over >= sayEvery {
				log.Info("readings are published again", "after", over.Round(time.Second))
			}
			return nil
		case ctx.Err() != nil:
			if attempt > 0 {
				r.clog.left()
			}
			return err
		}
		r.metrics.refused.WithLabelValues().Inc()
		if r.clog.refused(attempt == 0, time.Now()) {
			stuck, _ := r.clog.state()
			log.Warn("the bus takes no readings, polling is held back until it does", "target", reading.Target, "waiting", stuck, "err", err)
		}
		r.clogged()
		pause.For(ctx, min(50*time.Millisecond<<min(attempt, 6), time.Second))
	}
}

// clogged shows how the bus takes readings.
func (r *Room) clogged() {
	stuck, held := r.clog.state()
	r.metrics.unpublished.Set(float64(stuck))
	if held {
		r.metrics.held.Set(1)
	} else {
		r.metrics.held.Set(0)
	}
}

// outcome is a reading as it goes onto the bus, encoded once.
type outcome struct {
	*event.Reading
	data []byte
}

// Encode implements event.Event.
func (o outcome) Encode() ([]byte, error) { return o.data, nil }

// seal encodes a reading. One that no broker takes loses its tables and says so: the bus would put it on dead.v1, and
// the job would have no outcome.
func seal(reading *event.Reading) (outcome, error) {
	data, err := reading.Encode()
	size := len(data)
	if size > maxReading && reading.Topic().Compress {
		size = len(s2.Encode(nil, data)) // As the bus does.
	}
	if err != nil || size > maxReading {
		reading.Status, reading.Tables = event.StatusError, nil
		reading.Message = fmt.Sprintf("a reading of %d octets is too large for the bus: lower max_rows in its profile", size)
		if err != nil {
			reading.Message = err.Error()
		}
		data, err = reading.Encode()
	}
	return outcome{reading, data}, err
}

func (r *Room) count(reading *event.Reading) {
	kind := reading.Kind
	if r.pollers[kind] == nil {
		kind = "unknown"
	}
	r.metrics.polls.WithLabelValues(kind, string(reading.Status)).Inc()
	if reading.Status.Asked() {
		r.metrics.duration.WithLabelValues(kind).Observe(reading.Duration.Seconds())
	}
}
