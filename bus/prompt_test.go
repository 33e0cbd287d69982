package bus_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/mem"
	"kemi.dev/kemi/internal/obs"
)

func TestWhoWaitsForAnAnswerHearsSoonThatTheBusIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &mem.Leaving{Driver: mem.New()}
		b := bus.New(l, bus.Settings{}, obs.Scope{})
		if err := b.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		say := func() (time.Duration, error) {
			begin := time.Now()
			err := b.PublishPromptly(t.Context(), command(1, "a"))
			return time.Since(begin), err
		}
		if _, err := say(); err != nil {
			t.Fatal(err)
		}
		l.Away.Store(true)
		if took, err := say(); took != 5*time.Second || !errors.Is(err, bus.ErrAway) || !strings.Contains(err.Error(), "look in a moment") {
			t.Errorf("before it is known: after %s %v", took, err)
		}
		l.Known.Store(true)
		if took, err := say(); took != time.Second || !errors.Is(err, bus.ErrAway) || !strings.Contains(err.Error(), "the bus is away, try again when it is back") {
			t.Errorf("when it is known: after %s %v", took, err)
		}
		l.Away.Store(false)
		if took, err := say(); took != 0 || err != nil {
			t.Errorf("something else is wrong: after %s %v", took, err)
		}
		l.Away.Store(true)
		l.Known.Store(false)
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		if err := b.PublishPromptly(ctx, command(1, "a")); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, bus.ErrAway) {
			t.Errorf("whose own time ends: %v", err)
		}
	})
}
