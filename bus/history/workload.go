package history

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/internal/pause"
)

// Workload makes the load of a fault run: publishers with known identities, members of groups, owners that write under
// their fence, and in the end a drain and a read of everything. Each part takes a driver (wrapped by a Recorder, else it
// proves nothing), so that a run can spread them over processes, and goes on through every error until ctx ends: what went
// wrong is for the checker to say. The zero value is a small one; all parts of a run have the same.
type Workload struct {
	// Name begins the names of the topics; "" is "run".
	Name string
	// Seed makes publishers choose otherwise.
	Seed uint64
	// Partitions of each topic; 0 is 4.
	Partitions int
	// Keys that each publisher has of its own; beside them all share as many. 0 is 16.
	Keys int
	// Size of a value in bytes; 0 is 100.
	Size int
	// Pace is the pause between two calls of a publisher; 0 is none.
	Pace time.Duration
	// Timeout of a call that is then made again; 0 is 10 s.
	Timeout time.Duration
	// Settle is for how long nothing must have come for work to count as drained; 0 is 500 ms. It is longer than the time
	// after which the broker gives work of a lost member to another.
	Settle time.Duration
	// Sync makes the topics synced.
	Sync bool
	// Window of members; 0 is 64.
	Window int
}

func (w Workload) withDefaults() Workload {
	set := func(n *int, to int) {
		if *n == 0 {
			*n = to
		}
	}
	set(&w.Partitions, 4)
	set(&w.Keys, 16)
	set(&w.Size, 100)
	set(&w.Window, 64)
	if w.Name == "" {
		w.Name = "run"
	}
	if w.Timeout == 0 {
		w.Timeout = 10 * time.Second
	}
	if w.Settle == 0 {
		w.Settle = 500 * time.Millisecond
	}
	return w
}

// The topics of a workload, by what they are for.
func (w Workload) log() string    { return w.Name + ".log" }
func (w Workload) latest() string { return w.Name + ".latest" }
func (w Workload) jobs() string   { return w.Name + ".jobs" }
func (w Workload) out() string    { return w.Name + ".out" }
func (w Workload) state() string  { return w.Name + ".state" }

// The groups of a workload.
const (
	groupOwners  = "owners"
	groupMirrors = "mirrors"
	groupWorkers = "workers"
)

// Topics that the run needs; Ensure them through a wrapped driver in every process, so that its log says of which kind
// they are. None of them drops anything within an hour.
func (w Workload) Topics() []driver.Topic {
	w = w.withDefaults()
	topic := func(name string, kind driver.Kind) driver.Topic {
		t := driver.Topic{Name: name, Kind: kind, Partitions: w.Partitions, Keep: time.Hour, MaxBytes: 4 << 30, Sync: w.Sync}
		if kind == driver.Latest {
			t.History = 4
		}
		return t
	}
	return []driver.Topic{
		topic(w.log(), driver.Log), topic(w.latest(), driver.Latest), topic(w.jobs(), driver.Work),
		topic(w.out(), driver.Log), topic(w.state(), driver.Latest),
	}
}

// Publish makes n calls, or calls until ctx ends when n is 0: records of several keys of the log, a new value or the removal
// of a key of the keep-latest topic, and work. A call that fails is made again, with the same records, until it succeeds:
// as the bus does. who names the publisher, differently for each one of a run, also after a restart.
func (w Workload) Publish(ctx context.Context, d driver.Driver, who string, n int) {
	w = w.withDefaults()
	seed := w.Seed
	for _, c := range []byte(who) {
		seed = seed*131 + uint64(c)
	}
	choose := rand.New(rand.NewPCG(w.Seed, seed))
	for call := 0; (n == 0 || call < n) && ctx.Err() == nil; call++ {
		var records []driver.Record
		add := func(topic string, shared bool) *driver.Record {
			key := choose.IntN(w.Keys)
			name := fmt.Sprintf("%s-%d", who, key)
			if shared {
				name = fmt.Sprintf("all-%d", key)
			}
			r := driver.Record{
				Topic: topic, Partition: key % w.Partitions, Key: name,
				ID: fmt.Sprintf("%s/%d/%d", who, call, len(records)), Value: make([]byte, w.Size),
			}
			copy(r.Value, r.ID)
			records = append(records, r)
			return &records[len(records)-1]
		}
		switch choose.IntN(4) {
		case 0:
			for range 1 + choose.IntN(3) {
				add(w.jobs(), false)
			}
		case 1:
			if r := add(w.latest(), choose.IntN(4) == 0); choose.IntN(4) == 0 {
				r.Value = nil
			}
		case 2:
			for range 1 + choose.IntN(12) {
				add(w.log(), false)
			}
			if r := add(w.latest(), false); choose.IntN(4) == 0 {
				r.Value = nil
			}
		default:
			for range 1 + choose.IntN(6) {
				add(w.log(), choose.IntN(4) == 0)
			}
		}
		w.insist(ctx, d, records, nil)
		if w.Pace > 0 {
			pause.For(ctx, w.Pace)
		}
	}
}

// insist makes a call until it succeeds, the epoch or ctx is over. It says whether it succeeded.
func (w Workload) insist(ctx context.Context, d driver.Driver, records []driver.Record, fence *driver.Fence) bool {
	for attempt := 0; ctx.Err() == nil; attempt++ {
		once, cancel := context.WithTimeout(ctx, w.Timeout)
		err := d.Publish(once, records, fence)
		cancel()
		switch {
		case err == nil:
			return true
		case errors.Is(err, driver.ErrFenced), errors.Is(err, driver.ErrClosed):
			return false
		}
		pause.For(ctx, min(10*time.Millisecond<<min(attempt, 6), 500*time.Millisecond))
	}
	return false
}

// subscribe opens a feed, trying until ctx ends; nil then.
func (w Workload) subscribe(ctx context.Context, d driver.Driver, s driver.Subscription) driver.Feed {
	for ctx.Err() == nil {
		once, cancel := context.WithTimeout(ctx, w.Timeout)
		f, err := d.Subscribe(once, s)
		cancel()
		if err == nil {
			return f
		}
		if errors.Is(err, driver.ErrClosed) {
			return nil
		}
		pause.For(ctx, 50*time.Millisecond)
	}
	return nil
}

// read calls handle with what a feed delivers until ctx ends or the feed or its driver is closed, and closes the feed.
func (w Workload) read(ctx context.Context, d driver.Driver, s driver.Subscription, handle func(driver.Feed, []driver.Delivery)) {
	f := w.subscribe(ctx, d, s)
	if f == nil {
		return
	}
	defer f.Close()
	for ctx.Err() == nil {
		got, err := f.Next(ctx)
		if errors.Is(err, driver.ErrClosed) {
			return
		}
		if err != nil {
			pause.For(ctx, 50*time.Millisecond)
			continue
		}
		handle(f, got)
	}
}
