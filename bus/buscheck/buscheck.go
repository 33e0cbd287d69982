// Package buscheck is the conformance suite of the bus over a driver: what bus promises once for all brokers, held over
// each of them.
//
// In: a way to open drivers of one broker. Out: a verdict, and what a record costs beside the client library alone.
// It promises that what cannot be handled is on dead.v1 with its bytes, its headers and the reason, and nothing else is, and
// that state and the right to act follow the owner of a partition, in real time and on the broker at hand. A new driver
// comes under it with one line in this package's tests, next to bus/bustest in its own.
// It never judges speed, and never sleeps: it waits for what must happen, each wait with a deadline.
package buscheck

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/obs"
)

// Harness is one broker, empty at the start; it is made anew for each clause.
type Harness struct {
	// Open connects one more driver to the broker.
	Open func() driver.Driver
	// Patience is how long something may take that must happen; 0 is 30 s.
	Patience time.Duration
}

// Run holds the bus over the broker that open makes to its promises.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	t.Helper()
	for _, c := range []struct {
		name string
		hold func(e *env)
	}{
		{"an event that fails for good goes to dead.v1 alone, as it was", permanent},
		{"an event that fails too often goes to dead.v1 alone, as it was", exhausted},
		{"a job that fails for good or too often goes to dead.v1, as it was", jobs},
		{"what is no event of the topic goes to dead.v1, as it was", foreign},
		{"what no broker takes goes to dead.v1, and what was said with it is stored", tooLarge},
		{"state and the right to act follow the owner", ownership},
		{"positions that were written down are known to be of the log or not", places},
		{"a snapshot is what is there", snapshot},
		{"a letter of a record that several groups gave up puts it back once, for all of them", again},
		{"notes of a folder are followed together, with those that were forgotten", notes},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e := &env{T: t, h: open(t)}
			if e.h.Patience == 0 {
				e.h.Patience = 30 * time.Second
			}
			e.b, e.d = e.bus()
			c.hold(e)
		})
	}
}

// env is what a clause works with.
type env struct {
	*testing.T
	h Harness
	b *bus.Bus
	d driver.Driver
}

// bus opens another bus on the broker, as another process would.
func (e *env) bus() (*bus.Bus, driver.Driver) {
	e.Helper()
	d := e.h.Open()
	b := bus.New(d, bus.Settings{}, obs.Scope{})
	ctx, cancel := context.WithTimeout(e.Context(), e.h.Patience)
	defer cancel()
	if err := b.Open(ctx); err != nil {
		e.Fatalf("open the bus: %v", err)
	}
	e.Cleanup(func() { b.Close() })
	return b, d
}

// until polls a condition.
func (e *env) until(what string, done func() bool) {
	e.Helper()
	deadline := time.NewTimer(e.h.Patience)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline.C:
			e.Fatalf("waited %s in vain for %s", e.h.Patience, what)
		}
	}
}

// records reads what is on a topic.
func (e *env) records(topic string) (all []driver.Record) {
	e.Helper()
	ctx, cancel := context.WithTimeout(e.Context(), e.h.Patience)
	defer cancel()
	f, err := e.d.Subscribe(ctx, driver.Subscription{Topic: topic})
	if err != nil {
		e.Fatalf("read %s: %v", topic, err)
	}
	defer f.Close()
	for {
		got, err := f.Next(ctx)
		if err != nil {
			e.Fatalf("read %s: %v", topic, err)
		}
		for i := range got {
			switch got[i].Event {
			case driver.Data:
				all = append(all, got[i].Record)
			case driver.CaughtUp:
				return all
			}
		}
	}
}

// letters waits for so many dead letters and returns them.
func (e *env) letters(n int) (all []driver.Record) {
	e.Helper()
	e.until(fmt.Sprintf("%d letters", n), func() bool {
		all = e.records(bus.TopicDead)
		return len(all) >= n
	})
	if len(all) > n {
		e.Fatalf("%d letters, want %d", len(all), n)
	}
	return all
}

// holds ends the test unless a letter has the record's bytes and headers, whose it was and why.
func (e *env) holds(letter driver.Record, r *driver.Record, group, reason string) {
	e.Helper()
	if !bytes.Equal(letter.Value, r.Value) || letter.Key != r.Key {
		e.Errorf("the letter of %.60q has %.60q, key %q", r.Value, letter.Value, letter.Key)
	}
	for _, h := range r.Headers {
		if letter.Header(h.Name) != h.Value {
			e.Errorf("header %s is %q, want %q", h.Name, letter.Header(h.Name), h.Value)
		}
	}
	for name, want := range map[string]string{"kemi-dead-topic": r.Topic, "kemi-dead-group": group} {
		if got := letter.Header(name); got != want {
			e.Errorf("header %s is %q, want %q", name, got, want)
		}
	}
	if got := letter.Header("kemi-dead-reason"); !strings.Contains(got, reason) {
		e.Errorf("the reason is %q, want %q", got, reason)
	}
}

const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// command publishes a command as another producer would, with a trace and a header that is nobody's, and returns its
// record.
func (e *env) command(by string) driver.Record {
	e.Helper()
	c := &event.Command{Kind: event.AcceptShrink, Subject: "core-1", By: by, At: time.Unix(1, 0).UTC()}
	t := c.Topic()
	value, err := c.Encode()
	if err != nil {
		e.Fatal(err)
	}
	r := driver.Record{
		Topic: t.Name, Partition: bus.Partition(c.Route(), t.Partitions), Key: c.Key(), ID: c.Identity(), Value: value,
		Headers: []driver.Header{
			{Name: "kemi-word", Value: t.Word},
			{Name: "content-type", Value: t.ContentType},
			{Name: "traceparent", Value: trace},
			{Name: "x-theirs", Value: "äöü"},
		},
	}
	if err := e.d.Publish(e.Context(), []driver.Record{r}, nil); err != nil {
		e.Fatalf("publish: %v", err)
	}
	return r
}

// book is a handler that notes what it handled.
type book struct {
	mu   sync.Mutex
	seen []string
	fail func(by string) error
	o    *bus.Ownership
}

func (k *book) Handle(_ context.Context, batch []bus.Message[event.Command]) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, m := range batch {
		if k.fail != nil {
			if err := k.fail(m.Event.By); err != nil {
				return err
			}
		}
		k.seen = append(k.seen, m.Event.By)
	}
	return nil
}

func (k *book) Tick(context.Context, time.Time) error { return nil }

func (k *book) has(by ...string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, b := range by {
		if !slices.Contains(k.seen, b) {
			return false
		}
	}
	return true
}

// own consumes commands through b until stop is called.
func (e *env) own(b *bus.Bus, opts bus.Options, open func(context.Context, *bus.Ownership) (bus.Handler[event.Command], error)) (stop func()) {
	ctx, cancel := context.WithCancel(e.Context())
	done := make(chan error, 1)
	go func() { done <- bus.Own(ctx, b, "g", opts, open) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			e.Errorf("own: %v", err)
		}
	})
	e.Cleanup(stop)
	return stop
}

var errNoSuch = errors.New("no such thing")

func permanent(e *env) { failing(e, bus.Options{}, bus.Permanent(errNoSuch)) }
func exhausted(e *env) { failing(e, bus.Options{Attempts: 2}, errNoSuch) }

func failing(e *env, opts bus.Options, err error) {
	e.command("0")
	bad := e.command("1")
	e.command("2")
	k := &book{fail: func(by string) error {
		if by == "1" {
			return err
		}
		return nil
	}}
	stop := e.own(e.b, opts, func(context.Context, *bus.Ownership) (bus.Handler[event.Command], error) { return k, nil })
	e.until("the others", func() bool { return k.has("0", "2") })
	e.holds(e.letters(1)[0], &bad, "g", "no such thing")
	stop()
	// The group has done with it: who comes next is not given it again.
	next := &book{}
	e.command("3")
	e.own(e.b, opts, func(context.Context, *bus.Ownership) (bus.Handler[event.Command], error) { return next, nil })
	e.until("the next", func() bool { return next.has("3") })
	if next.has("1") {
		e.Error("the next owner was given it again")
	}
	e.letters(1)
}

func jobs(e *env) {
	for i := range 6 {
		target := &event.Target{ID: fmt.Sprintf("t%d", i)}
		j := event.JobFor(target, event.Check{Name: "c", Kind: "c"}, time.Unix(int64(i+1), 0), time.Time{}, 0, event.CauseSchedule, "")
		if err := e.b.Publish(e.Context(), j); err != nil {
			e.Fatalf("publish: %v", err)
		}
	}
	topic := event.JobsTopic("")
	was := map[string]driver.Record{}
	for _, r := range e.records(topic.Name) {
		was[r.Key] = r
	}
	var mu sync.Mutex
	tries, done := map[string]int{}, 0
	ctx, cancel := context.WithCancel(e.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- bus.Work(ctx, e.b, topic, "pollers", 4, func(_ context.Context, m bus.Message[event.Job]) error {
			mu.Lock()
			defer mu.Unlock()
			tries[m.Event.Target]++
			switch m.Event.Target {
			case "t1":
				return bus.Permanent(errors.New("never"))
			case "t2":
				return errors.New("not yet")
			}
			done++
			return nil
		})
	}()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			e.Errorf("work: %v", err)
		}
	}()
	letters := e.letters(2)
	for _, l := range letters {
		r, reason := was[l.Key], "never"
		if l.Key == was["t2"].Key {
			reason = "not yet"
		}
		e.holds(l, &r, "pollers", reason)
	}
	e.until("the other jobs", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return done == 4
	})
	mu.Lock()
	defer mu.Unlock()
	if tries["t1"] != 1 || tries["t2"] < 2 {
		e.Errorf("tries: %v", tries)
	}
}

func foreign(e *env) {
	headers := []driver.Header{{Name: "traceparent", Value: trace}}
	bad := []driver.Record{
		{Key: "no event", Value: []byte("hello")},
		{Key: "truncated", Value: []byte("\x05\x00abc"), Headers: append(headers, driver.Header{Name: "content-encoding", Value: "s2"})},
		{Key: "another word", Value: []byte("{}"), Headers: append(headers, driver.Header{Name: "kemi-word", Value: "dev.kemi.page.v1"})},
		{Key: "an encoding", Value: []byte("{}"), Headers: append(headers, driver.Header{Name: "content-encoding", Value: "brotli"})},
		{Key: "a content type", Value: []byte("{}"), Headers: append(headers, driver.Header{Name: "content-type", Value: "text/html"})},
	}
	for i := range bad {
		bad[i].Topic = "commands.v1"
	}
	if err := e.d.Publish(e.Context(), bad, nil); err != nil {
		e.Fatalf("publish: %v", err)
	}
	e.command("good")
	k := &book{}
	e.own(e.b, bus.Options{}, func(context.Context, *bus.Ownership) (bus.Handler[event.Command], error) { return k, nil })
	e.until("the good one", func() bool { return k.has("good") })
	for _, l := range e.letters(len(bad)) {
		i := slices.IndexFunc(bad, func(r driver.Record) bool { return r.Key == l.Key })
		if i < 0 {
			e.Fatalf("a letter of %q", l.Key)
		}
		e.holds(l, &bad[i], "g", "")
	}
}

func tooLarge(e *env) {
	large := &event.Command{Kind: event.AcceptShrink, Subject: "core-1", By: "large", At: time.Unix(1, 0).UTC(), Comment: strings.Repeat("x", 3<<20)}
	small := func(by string) event.Event {
		return &event.Command{Kind: event.AcceptShrink, Subject: "core-1", By: by, At: time.Unix(2, 0).UTC()}
	}
	if err := e.b.Publish(e.Context(), small("before"), large, small("after")); err != nil {
		e.Fatalf("publish: %v", err)
	}
	if got := e.records("commands.v1"); len(got) != 2 {
		e.Errorf("%d commands are stored, want 2", len(got))
	}
	l := e.letters(1)[0]
	if l.Header("kemi-dead-truncated") == "" || l.Header("kemi-dead-group") != "publisher" || len(l.Value) == 0 {
		e.Errorf("the letter has %d bytes and headers %v", len(l.Value), l.Headers)
	}
}

func ownership(e *env) {
	e.command("0")
	keep := func(k *book, load func(map[string][]byte)) func(context.Context, *bus.Ownership) (bus.Handler[event.Command], error) {
		return func(ctx context.Context, o *bus.Ownership) (bus.Handler[event.Command], error) {
			state, err := o.LoadState(ctx)
			if err != nil {
				return nil, err
			}
			k.mu.Lock()
			defer k.mu.Unlock()
			if len(state) > 0 {
				load(state)
			}
			k.o = o
			return k, nil
		}
	}
	first := &book{}
	stop := e.own(e.b, bus.Options{}, keep(first, func(state map[string][]byte) { e.Errorf("there was %v before the first owner", state) }))
	e.until("the first owner", func() bool { return first.has("0") })
	ctx := e.Context()
	if err := errors.Join(first.o.Held(ctx), first.o.SaveState(ctx, "timers", []byte("42")), first.o.SaveState(ctx, "gone", []byte("x")), first.o.SaveState(ctx, "gone", nil)); err != nil {
		e.Fatalf("the owner: %v", err)
	}
	stop()
	other, _ := e.bus()
	second := &book{}
	var state map[string][]byte
	e.own(other, bus.Options{}, keep(second, func(s map[string][]byte) { state = s }))
	e.command("1")
	e.until("the second owner", func() bool { return second.has("1") })
	second.mu.Lock()
	if len(state) != 1 || string(state["timers"]) != "42" || slices.Contains(second.seen, "0") {
		e.Errorf("the second owner found %q and was given %q", state, second.seen)
	}
	second.mu.Unlock()
	for what, err := range map[string]error{
		"saved state": first.o.SaveState(ctx, "timers", []byte("zombie")),
		"published":   first.o.Publish(ctx, &event.Command{Kind: event.AcceptShrink, Subject: "core-1", By: "zombie", At: time.Unix(9, 0).UTC()}),
		"is held":     first.o.Held(ctx),
	} {
		if !errors.Is(err, driver.ErrFenced) {
			e.Errorf("the former owner %s: %v", what, err)
		}
	}
	for _, r := range append(e.records("commands.v1"), e.records(bus.TopicState)...) {
		if bytes.Contains(r.Value, []byte("zombie")) {
			e.Errorf("%s has what the former owner wrote", r.Topic)
		}
	}
}

func snapshot(e *env) {
	put := func(id, class string) *event.Target {
		target := &event.Target{ID: id, Class: class}
		target.Version = target.ComputeVersion()
		if err := e.b.Publish(e.Context(), target); err != nil {
			e.Fatalf("publish: %v", err)
		}
		return target
	}
	put("a", "old")
	b := put("b", "server")
	put("a", "switch")
	if err := e.b.Remove(e.Context(), b); err != nil {
		e.Fatalf("remove: %v", err)
	}
	other, _ := e.bus()
	var got []string
	err := bus.Snapshot(e.Context(), other, func(m bus.Message[event.Target]) error {
		got = append(got, m.Key+"="+m.Event.Class)
		return nil
	})
	if err != nil || fmt.Sprint(got) != "[a=switch]" {
		e.Errorf("snapshot %v, %v", got, err)
	}
}
