package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/bus/mem"
	"kemi.dev/kemi/internal/obs"
)

// open makes a bus over a broker in memory.
func open(t *testing.T) (*bus.Bus, *mem.Driver) {
	t.Helper()
	d := mem.New()
	b := bus.New(d, bus.Settings{}, obs.Scope{})
	if err := b.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b, d
}

func command(i int, subject string) *event.Command {
	return &event.Command{Kind: event.AcceptShrink, Subject: subject, By: fmt.Sprint(i), At: time.Unix(int64(i), 0).UTC()}
}

// notebook is a handler that notes what it is given; fail decides what it refuses.
type notebook struct {
	mu    sync.Mutex
	seen  []string
	ticks int
	fail  func(by string) error
}

func (n *notebook) Handle(_ context.Context, batch []bus.Message[event.Command]) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, m := range batch {
		if n.fail != nil {
			if err := n.fail(m.Event.By); err != nil {
				return err
			}
		}
		n.seen = append(n.seen, m.Event.By)
	}
	return nil
}

func (n *notebook) Tick(context.Context, time.Time) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ticks++
	return nil
}

func (n *notebook) list() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.seen)
}

func (n *notebook) open(context.Context, *bus.Ownership) (bus.Handler[event.Command], error) {
	return n, nil
}

func publish(t *testing.T, b *bus.Bus, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		if err := b.Publish(t.Context(), command(i, "core-1")); err != nil {
			t.Fatal(err)
		}
	}
}

func own(t *testing.T, b *bus.Bus, group string, opts bus.Options, n *notebook) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- bus.Own(ctx, b, group, opts, n.open) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestOwnHandsOverInOrderOnceAndGoesOnWhereItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := open(t)
		var first, second notebook
		stop := own(t, b, "g", bus.Options{Batch: 3}, &first)
		publish(t, b, 0, 10)
		time.Sleep(3 * time.Second)
		stop()
		publish(t, b, 10, 15)
		stop = own(t, b, "g", bus.Options{}, &second)
		time.Sleep(3 * time.Second)
		stop()
		if got, want := strings.Join(first.list(), ""), "0123456789"; got != want {
			t.Errorf("first %s, want %s", got, want)
		}
		if got, want := strings.Join(second.list(), ""), "1011121314"; got != want {
			t.Errorf("second %s, want %s", got, want)
		}
		if first.ticks < 2 {
			t.Errorf("%d ticks in three seconds", first.ticks)
		}
	})
}

func TestAFailingEventIsTriedAgainInPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := open(t)
		failures := 3
		n := notebook{fail: func(by string) error {
			if by == "1" && failures > 0 {
				failures--
				return errors.New("not now")
			}
			return nil
		}}
		stop := own(t, b, "g", bus.Options{Batch: 1}, &n)
		publish(t, b, 0, 3)
		time.Sleep(10 * time.Second)
		stop()
		if got := strings.Join(n.list(), ""); got != "012" {
			t.Errorf("got %s: order is lost", got)
		}
	})
}

// tail collects what is on a topic now.
func tail(t *testing.T, b *bus.Bus, topic string) (all []bus.Raw) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := b.Tail(ctx, topic, bus.From{}, func(rs []bus.Raw) error { all = append(all, rs...); return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestAnEventThatFailsForGoodGoesToDeadLettersAlone(t *testing.T) {
	for name, c := range map[string]struct {
		opts bus.Options
		err  error
	}{
		"permanent":          {bus.Options{}, bus.Permanent(errors.New("no such thing"))},
		"exhausted attempts": {bus.Options{Attempts: 3}, errors.New("no such thing")},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, _ := open(t)
				publish(t, b, 0, 5)
				n := notebook{fail: func(by string) error {
					if by == "2" {
						return c.err
					}
					return nil
				}}
				stop := own(t, b, "g", c.opts, &n)
				time.Sleep(time.Minute)
				stop()
				// A batch that failed half-way is handed over again: at least once, never less.
				if got := strings.Join(slices.Compact(slices.Sorted(slices.Values(n.list()))), ""); got != "0134" {
					t.Errorf("handled %s", got)
				}
				dead := tail(t, b, bus.TopicDead)
				if len(dead) != 1 {
					t.Fatalf("%d dead letters", len(dead))
				}
				want, _ := command(2, "core-1").Encode()
				if string(dead[0].Value) != string(want) {
					t.Errorf("the bytes are not the original ones: %s", dead[0].Value)
				}
				for header, want := range map[string]string{
					"kemi-dead-topic": "commands.v1", "kemi-dead-group": "g", "kemi-dead-reason": `"no such thing"`, "kemi-word": "dev.kemi.command.v1",
				} {
					if got := dead[0].Headers[header]; got != want {
						t.Errorf("header %s is %q, want %q", header, got, want)
					}
				}
			})
		})
	}
}

func TestBytesThatAreNoEventGoToDeadLetters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, d := open(t)
		bad := []driver.Record{
			{Topic: "commands.v1", Key: "k", Value: []byte("hello"), ID: "1"},
			{Topic: "commands.v1", Key: "k", Value: []byte("\x05\x00abc"), ID: "2", Headers: []driver.Header{{Name: "content-encoding", Value: "s2"}}},
			{Topic: "commands.v1", Key: "k", Value: []byte("{}"), ID: "3", Headers: []driver.Header{{Name: "kemi-word", Value: "dev.kemi.page.v1"}}},
			{Topic: "commands.v1", Key: "k", Value: []byte("{}"), ID: "4", Headers: []driver.Header{{Name: "content-encoding", Value: "brotli"}}},
		}
		if err := d.Publish(t.Context(), bad, nil); err != nil {
			t.Fatal(err)
		}
		publish(t, b, 0, 1)
		var n notebook
		stop := own(t, b, "g", bus.Options{}, &n)
		time.Sleep(5 * time.Second)
		stop()
		if got := n.list(); len(got) != 1 {
			t.Errorf("handled %q", got)
		}
		if dead := tail(t, b, bus.TopicDead); len(dead) != len(bad) {
			t.Errorf("%d dead letters of %d", len(dead), len(bad))
		}
	})
}

func job(i int) *event.Job {
	target := &event.Target{ID: fmt.Sprintf("t%d", i)}
	return event.JobFor(target, event.Check{Name: "c", Kind: "c"}, time.Unix(int64(i+1), 0), time.Time{}, 0, event.CauseSchedule, "")
}

func TestWorkIsSharedAndASlowJobHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := open(t)
		for i := range 20 {
			if err := b.Publish(t.Context(), job(i)); err != nil {
				t.Fatal(err)
			}
		}
		var mu sync.Mutex
		done, fails := map[string]int{}, 0
		ctx, cancel := context.WithCancel(t.Context())
		var workers sync.WaitGroup
		for range 2 {
			workers.Go(func() {
				err := bus.Work(ctx, b, event.JobsTopic(""), "pollers", 4, func(ctx context.Context, m bus.Message[event.Job]) error {
					if m.Event.Target == "t0" {
						<-ctx.Done()
						return ctx.Err()
					}
					mu.Lock()
					defer mu.Unlock()
					if m.Event.Target == "t1" && fails < 2 {
						fails++
						return errors.New("try again")
					}
					if m.Event.Target == "t2" {
						return bus.Permanent(errors.New("never"))
					}
					done[m.Event.Target]++
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		time.Sleep(30 * time.Second)
		cancel()
		workers.Wait()
		if len(done) != 18 || done["t1"] != 1 {
			t.Errorf("done: %v", done)
		}
		if dead := tail(t, b, bus.TopicDead); len(dead) != 1 || dead[0].Headers["kemi-dead-topic"] != "jobs.v1.default" {
			t.Errorf("dead letters: %v", dead)
		}
	})
}

func TestSnapshotIsTheNewestOfEachKeyAndFollowGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := open(t)
		put := func(id, class string) {
			target := &event.Target{ID: id, Class: class}
			target.Version = target.ComputeVersion()
			if err := b.Publish(t.Context(), target); err != nil {
				t.Fatal(err)
			}
		}
		put("a", "old")
		put("b", "server")
		put("a", "switch")
		if err := b.Remove(t.Context(), &event.Target{ID: "b"}); err != nil {
			t.Fatal(err)
		}
		var got []string
		note := func(m bus.Message[event.Target]) error {
			if m.Removed() {
				got = append(got, "-"+m.Key)
			} else {
				got = append(got, m.Key+"="+m.Event.Class)
			}
			return nil
		}
		if err := bus.Snapshot(t.Context(), b, note); err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(got) != "[a=switch]" {
			t.Errorf("snapshot %v", got)
		}
		got = nil
		ctx, cancel := context.WithCancel(t.Context())
		caughtUp := make(chan struct{})
		done := make(chan error)
		go func() {
			done <- bus.Follow(ctx, b, bus.From{Snapshot: true}, note, func() { close(caughtUp) })
		}()
		<-caughtUp
		put("c", "vm")
		if err := b.Remove(t.Context(), &event.Target{ID: "a"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if fmt.Sprint(got) != "[a=switch c=vm -a]" {
			t.Errorf("followed %v", got)
		}
	})
}

// keeper saves what it has seen and replays what came before.
type keeper struct {
	notebook
	o        *bus.Ownership
	replayed []string
	state    map[string][]byte
}

func (k *keeper) open(ctx context.Context, o *bus.Ownership) (bus.Handler[event.Command], error) {
	k.o = o
	var err error
	if k.state, err = o.LoadState(ctx); err != nil {
		return nil, err
	}
	err = bus.Replay(ctx, o, time.Time{}, func(m bus.Message[event.Command]) error {
		k.replayed = append(k.replayed, m.Event.By)
		return nil
	})
	return k, err
}

func TestANewOwnerFindsStateAndReplaysWhatCameBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := open(t)
		run := func(k *keeper, during func()) {
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- bus.Own(ctx, b, "g", bus.Options{}, k.open) }()
			time.Sleep(3 * time.Second)
			synctest.Wait()
			during()
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		publish(t, b, 0, 3)
		var first, second keeper
		run(&first, func() {
			for name, data := range map[string]string{"timers": "42", "gone": "x"} {
				if err := first.o.SaveState(t.Context(), name, []byte(data)); err != nil {
					t.Fatal(err)
				}
			}
			if err := first.o.SaveState(t.Context(), "gone", nil); err != nil {
				t.Fatal(err)
			}
		})
		if len(first.replayed) != 0 || len(first.state) != 0 {
			t.Errorf("the first owner found %v and replayed %v", first.state, first.replayed)
		}
		publish(t, b, 3, 5)
		run(&second, func() {
			if err := first.o.SaveState(t.Context(), "timers", []byte("zombie")); !errors.Is(err, driver.ErrFenced) {
				t.Errorf("the former owner saved state: %v", err)
			}
			if err := first.o.Publish(t.Context(), command(99, "core-1")); !errors.Is(err, driver.ErrFenced) {
				t.Errorf("the former owner published: %v", err)
			}
		})
		if got := string(second.state["timers"]); got != "42" || len(second.state) != 1 {
			t.Errorf("state %v", second.state)
		}
		if got := strings.Join(second.replayed, ""); got != "012" {
			t.Errorf("replayed %s", got)
		}
		if got := strings.Join(second.list(), ""); got != "34" {
			t.Errorf("handled %s", got)
		}
	})
}

func TestLargeReadingsTravelCompressed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, d := open(t)
		r := event.ReadingFor(job(1))
		r.Status = event.StatusOK
		r.Message = strings.Repeat("all is well. ", 1000)
		if err := b.Publish(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		feed, err := d.Subscribe(t.Context(), driver.Subscription{Topic: "readings.v1"})
		if err != nil {
			t.Fatal(err)
		}
		var stored int
		for stored == 0 {
			batch, err := feed.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range batch {
				if x.Event == driver.Data {
					stored = len(x.Record.Value)
				}
			}
		}
		feed.Close()
		if stored > len(r.Message)/10 {
			t.Errorf("%d bytes on the wire for %d", stored, len(r.Message))
		}
		all := tail(t, b, "readings.v1")
		e, err := event.Parse("readings.v1", all[0].Value)
		if err != nil || e.(*event.Reading).Message != r.Message {
			t.Errorf("read back %v, %v", e, err)
		}
	})
}

func TestAZoneThatIsNotCarriedIsAClearError(t *testing.T) {
	b, _ := open(t)
	j := job(1)
	j.Zone = "moon"
	if err := b.Publish(t.Context(), j); !errors.Is(err, driver.ErrNoTopic) || !strings.Contains(err.Error(), "jobs.v1.moon") {
		t.Errorf("got %v", err)
	}
}

func TestPartitionsAreEven(t *testing.T) {
	counts := make([]int, 8)
	for i := range 8000 {
		counts[bus.Partition(fmt.Sprintf("target-%d", i), 8)]++
	}
	for p, n := range counts {
		if n < 850 || n > 1150 {
			t.Errorf("partition %d has %d of 8000 routes", p, n)
		}
	}
}
