// Package bustest is the conformance suite of brokers: what bus/driver promises, one named test per clause.
//
// In: a way to open drivers of one broker. Out: a verdict.
// It promises that a driver that passes keeps the contract on the machine at hand, in the order things happened.
// It never measures speed, and never sleeps: it waits for deliveries, each wait with a deadline.
//
// A new driver comes under the suite with one test that calls Run with a function that makes a Harness: an empty broker
// for each clause (a server of its own, or a prefix that nobody else has), Open for one more member, Reopen, and Lose, for
// which the driver's tests have a way to make the members of a driver as silent as those of a paused process. Every
// clause holds for every driver; what the harness says of the broker (Dedupes, Patience, Quiet, Hold) tells how to look,
// never what to leave out, and a clause about the optional Restart, Away, Remove, driver.Sizer or driver.Inspector is skipped by
// name where there is none. What a driver promises beyond the contract, such as that a keep-latest topic holds no more
// than its history, is tested in its own package. The promises of the bus itself, such as dead letters, are held over
// each driver by bus/buscheck.
package bustest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"kemi.dev/kemi/bus/driver"
)

// Harness is one broker, empty at the start. The driver's test makes one per clause.
type Harness struct {
	// Open connects one more driver to the broker: other members, on another machine as it were.
	Open func() driver.Driver
	// Reopen closes what Open returned so far and opens the broker again from what it stored.
	Reopen func() driver.Driver
	// Lose makes the members of a driver, those of Work too, silent for longer than their leases last. They come back
	// afterwards.
	Lose func(driver.Driver)
	// Restart stops the broker and starts it again under the open drivers, which must survive it; nil when the
	// broker cannot be restarted alone.
	Restart func()
	// Away makes the broker unreachable for the open drivers, until the function it returns is called; nil when that
	// cannot be had.
	Away func() (back func())
	// Remove takes a topic away with all it holds, as an administrator does under the open drivers; nil when that cannot be
	// had. Whoever ensured it makes it again.
	Remove func(topic string)
	// Dedupes says that the broker drops a second record of one ID.
	Dedupes bool
	// Patience is how long something may take that must happen; 0 is 20 s.
	Patience time.Duration
	// Quiet is how long nothing must come where nothing may come; 0 is 150 ms.
	Quiet time.Duration
	// Hold is well over the time after which the broker gives work of a silent member to another; 0 is 3 s.
	Hold time.Duration
}

// Run holds the broker that open makes to the contract; to the clauses whose names have one of the words in them when there
// are words.
func Run(t *testing.T, open func(t *testing.T) Harness, words ...string) {
	t.Helper()
	wanted := func(c clause) bool {
		return len(words) == 0 || slices.ContainsFunc(words, func(word string) bool { return strings.Contains(c.name, word) })
	}
	for _, group := range [][]clause{publishing, large, latest, groups, fences, working, replaying, clocks, ending, beginningAnew, using, whole} {
		for _, c := range group {
			if !wanted(c) {
				continue
			}
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				c.hold(start(t, open(t)))
			})
		}
	}
}

// clause is one sentence of the contract.
type clause struct {
	name string
	hold func(e *env)
}

// env is what a clause works with.
type env struct {
	*testing.T
	h   Harness
	ctx context.Context
	d   driver.Driver
}

func start(t *testing.T, h Harness) *env {
	if h.Patience == 0 {
		h.Patience = 20 * time.Second
	}
	if h.Quiet == 0 {
		h.Quiet = 150 * time.Millisecond
	}
	if h.Hold == 0 {
		h.Hold = 3 * time.Second
	}
	return &env{T: t, h: h, ctx: t.Context(), d: h.Open()}
}

// topic makes a topic: one partition and 64 MiB unless the caller says otherwise.
func (e *env) topic(t driver.Topic) driver.Topic {
	e.Helper()
	if t.Name == "" {
		t.Name = "things.v1"
	}
	if t.Partitions == 0 {
		t.Partitions = 1
	}
	if t.MaxBytes == 0 {
		t.MaxBytes = 64 << 20
	}
	if err := e.d.Ensure(e.ctx, []driver.Topic{t}); err != nil {
		e.Fatalf("ensure %s: %v", t.Name, err)
	}
	return t
}

func record(t driver.Topic, partition int, key, value string) driver.Record {
	return driver.Record{Topic: t.Name, Partition: partition, Key: key, Value: []byte(value)}
}

// numbered makes n records of one key, "0", "1", …
func numbered(t driver.Topic, partition int, key string, n int) []driver.Record {
	var out []driver.Record
	for i := range n {
		out = append(out, record(t, partition, key, fmt.Sprint(i)))
	}
	return out
}

// publish stores records through d, or ends the test.
func (e *env) publish(d driver.Driver, records ...driver.Record) {
	e.Helper()
	ctx, cancel := context.WithTimeout(e.ctx, e.h.Patience)
	defer cancel()
	if err := d.Publish(ctx, records, nil); err != nil {
		e.Fatalf("publish %d records: %v", len(records), err)
	}
}

// wants ends the test unless err is of that kind.
func (e *env) wants(err, kind error, what string) {
	e.Helper()
	if !errors.Is(err, kind) {
		e.Fatalf("%s: got error %v, want %v", what, err, kind)
	}
}

// soon looks until there is nothing to complain about, for what a broker measures from time to time.
func (e *env) soon(what string, complaint func() string) {
	e.Helper()
	deadline := time.NewTimer(e.h.Patience)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		wrong := complaint()
		if wrong == "" {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			e.Fatalf("%s after %s: %s", what, e.h.Patience, wrong)
		}
	}
}

// feed is a subscription that hands out one delivery at a time.
type feed struct {
	driver.Feed
	e    *env
	next []driver.Delivery
}

func (e *env) subscribe(d driver.Driver, s driver.Subscription) *feed {
	e.Helper()
	ctx, cancel := context.WithTimeout(e.ctx, e.h.Patience)
	defer cancel()
	f, err := d.Subscribe(ctx, s)
	if err != nil {
		e.Fatalf("subscribe %+v: %v", s, err)
	}
	e.Cleanup(func() { f.Close() })
	return &feed{Feed: f, e: e}
}

// pull returns the next delivery, or false when none comes within the time.
func (f *feed) pull(within time.Duration) (driver.Delivery, bool) {
	f.e.Helper()
	if len(f.next) == 0 {
		ctx, cancel := context.WithTimeout(f.e.ctx, within)
		defer cancel()
		got, err := f.Next(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return driver.Delivery{}, false
			}
			f.e.Fatalf("next: %v", err)
		}
		if len(got) == 0 {
			f.e.Fatal("Next returned nothing and no error")
		}
		f.next = got
	}
	d := f.next[0]
	f.next = f.next[1:]
	return d, true
}

// until returns what comes up to and with the first delivery that is the last one wanted.
func (f *feed) until(what string, last func(driver.Delivery) bool) []driver.Delivery {
	f.e.Helper()
	var out []driver.Delivery
	deadline := time.Now().Add(f.e.h.Patience)
	for {
		d, ok := f.pull(time.Until(deadline))
		if !ok {
			f.e.Fatalf("waited %s for %s; got %d deliveries %s", f.e.h.Patience, what, len(out), brief(out))
		}
		if out = append(out, d); last(d) {
			return out
		}
	}
}

// data returns the next n records and passes over events.
func (f *feed) data(n int) []driver.Delivery {
	f.e.Helper()
	left := n
	all := f.until(fmt.Sprintf("%d records", n), func(d driver.Delivery) bool {
		if d.Event == driver.Data {
			left--
		}
		return left == 0
	})
	return slices.DeleteFunc(all, func(d driver.Delivery) bool { return d.Event != driver.Data })
}

// event returns the next event of that kind and passes over records.
func (f *feed) event(kind driver.Event) driver.Delivery {
	f.e.Helper()
	all := f.until(fmt.Sprintf("event %d", kind), func(d driver.Delivery) bool { return d.Event == kind })
	return all[len(all)-1]
}

// everything returns the records of a replay up to CaughtUp.
func (f *feed) everything() []driver.Delivery {
	f.e.Helper()
	all := f.until("caught up", func(d driver.Delivery) bool { return d.Event == driver.CaughtUp })
	return all[:len(all)-1]
}

// quiet ends the test when a record comes.
func (f *feed) quiet(why string) {
	f.e.Helper()
	f.quietFor(f.e.h.Quiet, why)
}

func (f *feed) quietFor(within time.Duration, why string) {
	f.e.Helper()
	deadline := time.Now().Add(within)
	for {
		d, ok := f.pull(time.Until(deadline))
		if !ok {
			return
		}
		if d.Event == driver.Data {
			f.e.Fatalf("%s, yet there came %s", why, brief([]driver.Delivery{d}))
		}
	}
}

// ack acknowledges, or ends the test.
func (f *feed) ack(ds ...driver.Delivery) {
	f.e.Helper()
	for _, d := range ds {
		if err := f.Ack(f.e.ctx, d); err != nil {
			f.e.Fatalf("ack position %d: %v", d.Position, err)
		}
	}
}

// values are the records' values as text.
func values(ds []driver.Delivery) []string {
	out := make([]string, 0, len(ds))
	for _, d := range ds {
		out = append(out, string(d.Record.Value))
	}
	return out
}

// same ends the test unless the values are these, in this order.
func (e *env) same(got []driver.Delivery, want ...string) {
	e.Helper()
	if !slices.Equal(values(got), want) {
		e.Fatalf("got %q, want %q", values(got), want)
	}
}

// sameSet ends the test unless the values are these, in any order: there is none between partitions.
func (e *env) sameSet(got []driver.Delivery, want ...string) {
	e.Helper()
	have := slices.Sorted(slices.Values(values(got)))
	if want := slices.Sorted(slices.Values(want)); !slices.Equal(have, want) {
		e.Fatalf("got %q, want %q", have, want)
	}
}

// count makes "from", …, "to-1".
func count(from, to int) []string {
	var out []string
	for i := from; i < to; i++ {
		out = append(out, fmt.Sprint(i))
	}
	return out
}

func brief(ds []driver.Delivery) string {
	var out []string
	for _, d := range ds[max(0, len(ds)-20):] {
		value := d.Record.Value
		out = append(out, fmt.Sprintf("{event %d partition %d epoch %d position %d attempt %d key %.20q value %.20q}",
			d.Event, d.Partition, d.Epoch, d.Position, d.Attempt, d.Record.Key, value))
	}
	return fmt.Sprint(out)
}
