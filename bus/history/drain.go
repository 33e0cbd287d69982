package history

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"kemi.dev/kemi/bus/driver"
)

// Drain has every group handle what is left, when publishing is over and the run is whole again: it publishes a last record
// to every partition of the log and of the keep-latest topic and is a member of all groups until it committed these and
// there is no work any more. It returns an error when ctx ends before. Other members are best gone by then: what they
// commit only a driver.Inspector tells.
func (w Workload) Drain(ctx context.Context, d driver.Driver) error {
	w = w.withDefaults()
	var members sync.WaitGroup
	defer members.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var mu sync.Mutex
	quietSince := time.Now()
	left := map[string]bool{}
	var last []driver.Record
	for p := range w.Partitions {
		for _, topic := range []string{w.log(), w.latest()} {
			r := driver.Record{Topic: topic, Partition: p, Key: fmt.Sprintf("end-%d", p), ID: fmt.Sprintf("end/%s/%d/%d", topic, p, time.Now().UnixNano()), Value: []byte("end")}
			left[r.ID] = true
			last = append(last, r)
		}
	}
	if !w.insist(ctx, d, last, nil) {
		return fmt.Errorf("drain: publish the last records: %w", context.Cause(ctx))
	}
	done := func(d *driver.Delivery) {
		mu.Lock()
		defer mu.Unlock()
		delete(left, d.Record.ID)
	}
	members.Go(func() { w.own(ctx, d, done) })
	members.Go(func() { w.mirror(ctx, d, done) })
	members.Go(func() {
		w.work(ctx, d, func() {
			mu.Lock()
			defer mu.Unlock()
			quietSince = time.Now()
		})
	})
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		mu.Lock()
		ends, quiet := len(left), time.Since(quietSince)
		mu.Unlock()
		if (ends == 0 || w.handled(ctx, d)) && quiet >= w.Settle && (quiet >= 4*w.Settle || w.waiting(ctx, d, w.jobs(), groupWorkers) == 0) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("drain: %d last records were not handled: %w", ends, context.Cause(ctx))
		}
	}
}

// handled says whether other members have handled everything, as far as the broker knows.
func (w Workload) handled(ctx context.Context, d driver.Driver) bool {
	return w.waiting(ctx, d, w.log(), groupOwners) == 0 && w.waiting(ctx, d, w.latest(), groupMirrors) == 0
}

// waiting is how many records wait for a group; -1 when nobody knows.
func (w Workload) waiting(ctx context.Context, d driver.Driver, topic, group string) int64 {
	i, ok := d.(driver.Inspector)
	if !ok {
		return -1
	}
	info, err := i.Inspect(ctx, topic)
	if err != nil {
		return -1
	}
	for _, g := range info.Groups {
		if g.Name != group {
			continue
		}
		n := int64(0)
		for _, p := range g.Partitions {
			n += p.Lag
		}
		return n
	}
	return -1
}

// Look reads everything once: all of every topic, and a snapshot of those that have one. What is there in the end is judged
// by it. Call it when nobody publishes any more, members of Own among them.
func (w Workload) Look(ctx context.Context, d driver.Driver) error {
	for _, t := range w.Topics() {
		starts := []driver.Start{{}}
		if t.Kind == driver.Latest {
			starts = append(starts, driver.Start{Snapshot: true})
		}
		for _, start := range starts {
			if err := w.withDefaults().look(ctx, d, driver.Subscription{Topic: t.Name, Start: start}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w Workload) look(ctx context.Context, d driver.Driver, s driver.Subscription) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	caughtUp := false
	w.read(ctx, d, s, func(_ driver.Feed, got []driver.Delivery) {
		for i := range got {
			if got[i].Event == driver.CaughtUp {
				caughtUp = true
				cancel(nil)
			}
		}
	})
	if !caughtUp {
		return fmt.Errorf("read all of %s: %w", s.Topic, context.Cause(ctx))
	}
	return nil
}

// Scene is a whole run within one process.
type Scene struct {
	Workload
	// Open makes a driver of the broker; it is closed in the end.
	Open func() driver.Driver
	// Disturb, when given, does something to the driver of a member, twice in a run.
	Disturb func(driver.Driver)
	// Publishers and Calls of each; 0 is 3 and 300.
	Publishers, Calls int
	// Patience is how long the drain, and then the last reads, may take; 0 is 30 s.
	Patience time.Duration
}

// Play runs the scene and records it: three members begin, one joins, one is disturbed, one leaves, one is disturbed again, all
// while publishing goes on; then all is drained and read.
func (s Scene) Play(ctx context.Context, r *Recorder) error {
	if s.Publishers == 0 {
		s.Publishers = 3
	}
	if s.Calls == 0 {
		s.Calls = 300
	}
	if s.Patience == 0 {
		s.Patience = 30 * time.Second
	}
	main := s.Open()
	defer main.Close()
	d := r.Wrap(main)
	if err := d.Ensure(ctx, s.Topics()); err != nil {
		return err
	}
	type actor struct {
		d     driver.Driver
		leave func()
	}
	join := func() actor {
		bare := s.Open()
		wrapped := r.Wrap(bare)
		ctx, cancel := context.WithCancel(ctx)
		var parts sync.WaitGroup
		parts.Go(func() { s.Own(ctx, wrapped) })
		parts.Go(func() { s.Mirror(ctx, wrapped) })
		parts.Go(func() { s.Work(ctx, wrapped) })
		return actor{bare, sync.OnceFunc(func() {
			cancel()
			parts.Wait()
			_ = wrapped.Close()
		})}
	}
	var cast []actor
	defer func() {
		for _, a := range cast {
			a.leave()
		}
	}()
	for range 3 {
		cast = append(cast, join())
	}
	disturb := func(a actor) {
		if s.Disturb != nil {
			over := r.Fault("a member is disturbed")
			s.Disturb(a.d)
			over()
		}
	}
	acts := []func(){
		func() { cast = append(cast, join()) },
		func() { disturb(cast[0]) },
		func() { cast[1].leave() },
		func() { disturb(cast[2]) },
	}
	for i := range len(acts) + 1 {
		var publishing sync.WaitGroup
		for p := range s.Publishers {
			publishing.Go(func() { s.Publish(ctx, d, fmt.Sprintf("p%d.%d", p, i), s.Calls/(len(acts)+1)) })
		}
		if i < len(acts) {
			acts[i]()
		}
		publishing.Wait()
	}
	for _, a := range cast {
		a.leave()
	}
	within := func(do func(context.Context, driver.Driver) error) error {
		ctx, cancel := context.WithTimeout(ctx, s.Patience)
		defer cancel()
		return do(ctx, d)
	}
	return errors.Join(within(s.Drain), within(s.Look)) // What is there is worth a look all the same.
}
