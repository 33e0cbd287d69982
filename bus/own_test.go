package bus_test

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/bus/mem"
	"kemi.dev/kemi/internal/journal"
	"kemi.dev/kemi/internal/obs"
)

// stuck is a handler whatever of which fails for a while.
type stuck struct{ not atomic.Bool }

var errStuck = errors.New("the disk is full")

func (s *stuck) Handle(context.Context, []bus.Message[event.Command]) error { return s.err() }
func (s *stuck) Tick(context.Context, time.Time) error                      { return s.err() }

func (s *stuck) err() error {
	if s.not.Load() {
		return nil
	}
	return errStuck
}

func TestAHandlerThatFailsForLongIsLoggedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _, log, _ := observed(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var h stuck
		done := make(chan error, 1)
		go func() {
			done <- bus.Own(ctx, b, "g", bus.Options{}, func(context.Context, *bus.Ownership) (bus.Handler[event.Command], error) { return &h, nil })
		}()
		for i := range 2 { // With nothing to handle it only ticks; while it handles it does not tick.
			h.not.Store(false)
			publish(t, b, 0, i)
			time.Sleep(150*time.Second + 250*time.Millisecond) // Between two ticks.
			h.not.Store(true)
			time.Sleep(150 * time.Second)
		}
		for text, want := range map[string]int{"msg=tick ": 3, `msg="tick works again"`: 1, `msg="handle again"`: 3, `msg="handled at last"`: 1} {
			if n := log.Count(text); n != want {
				t.Errorf("%s is logged %d times, want %d", text, n, want)
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// While the bus is away a handler that has nothing to say does not work again: it says nothing.
func TestATickThatSaysNothingIsNoSignThatTheBusIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, log := &mem.Leaving{Driver: mem.New()}, &journal.Journal{}
		b := bus.New(l, bus.Settings{}, obs.New(slog.New(slog.NewTextHandler(log, nil)), nil))
		if err := b.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var h stuck
		done := make(chan error, 1)
		go func() {
			done <- bus.Own(ctx, b, "g", bus.Options{}, func(context.Context, *bus.Ownership) (bus.Handler[event.Command], error) { return &h, nil })
		}()
		l.Known.Store(true)
		for range 100 {
			time.Sleep(2 * time.Second)
			h.not.Store(!h.not.Load())
		}
		if n := log.Count("works again"); n != 0 {
			t.Errorf("it works again %d times", n)
		}
		l.Known.Store(false)
		h.not.Store(true)
		time.Sleep(2 * time.Second)
		if n := log.Count("works again"); n != 1 {
			t.Errorf("it works again %d times", n)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
