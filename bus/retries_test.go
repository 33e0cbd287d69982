package bus_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/bus/mem"
	"kemi.dev/kemi/internal/journal"
	"kemi.dev/kemi/internal/obs"
)

// barred is a broker whose groups nobody may use.
type barred struct{ *mem.Driver }

type advice struct{ group string }

func (a advice) Error() string  { return a.Advice() + " (" + a.group + ")" }
func (a advice) Advice() string { return "allow Read on the groups" }

func (b barred) Subscribe(_ context.Context, s driver.Subscription) (driver.Feed, error) {
	return nil, fmt.Errorf("subscribe to %s: %w", s.Topic, advice{s.Group})
}

// What many groups are refused for one reason is told once a minute, not by each of them with each attempt.
func TestWhatManyGroupsLackIsLoggedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &journal.Journal{}
		b := bus.New(barred{mem.New()}, bus.Settings{}, obs.New(slog.New(slog.NewTextHandler(log, nil)), nil))
		if err := b.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for i := range 12 {
			all.Go(func() {
				_ = bus.Own(ctx, b, fmt.Sprint("g", i), bus.Options{}, func(context.Context, *bus.Ownership) (bus.Handler[event.Finding], error) { return nil, nil })
			})
		}
		time.Sleep(5 * time.Minute)
		cancel()
		all.Wait()
		text := log.String()
		if n := strings.Count(text, "subscribe again"); n < 4 || n > 6 {
			t.Errorf("%d lines in 5 minutes, want one in each:\n%s", n, text)
		}
		if !strings.Contains(text, "held_back=") || !strings.Contains(text, "allow Read on the groups") {
			t.Errorf("got:\n%s", text)
		}
	})
}
