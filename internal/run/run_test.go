package run_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kemi.dev/kemi/internal/run"
)

// diary notes what parts do, in order.
type diary struct {
	mu    sync.Mutex
	lines []string
}

func (d *diary) add(line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, line)
}

// part starts after warm-up, then waits for its end and takes a while to leave.
func (d *diary) part(name string, ready chan struct{}) func(context.Context) error {
	return func(ctx context.Context) error {
		time.Sleep(time.Second) // Virtual: these tests run in a bubble.
		d.add("up " + name)
		close(ready)
		<-ctx.Done()
		time.Sleep(time.Second)
		d.add("down " + name)
		return nil
	}
}

func TestPartsStartInOrderAndStopInTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		var g run.Group
		for _, name := range []string{"bus", "alerting", "scheduler"} {
			ready := make(chan struct{})
			g.Add(name, d.part(name, ready), ready)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := g.Run(ctx); err != nil {
			t.Fatal(err)
		}
		want := []string{"up bus", "up alerting", "up scheduler", "down scheduler", "down alerting", "down bus"}
		if !slices.Equal(d.lines, want) {
			t.Errorf("got %q", d.lines)
		}
	})
}

func TestAPartThatFailsStopsTheOthersAndIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		var g run.Group
		ready := make(chan struct{})
		g.Add("bus", d.part("bus", ready), ready)
		g.Add("collector", func(context.Context) error { return errors.New("no socket") })
		err := g.Run(t.Context())
		if err == nil || !strings.Contains(err.Error(), "collector: no socket") {
			t.Errorf("got %v", err)
		}
		if !slices.Contains(d.lines, "down bus") {
			t.Error("the bus was not stopped")
		}
	})
}

func TestCancelledBeforeReadyNothingElseStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g run.Group
		g.Add("slow", func(ctx context.Context) error { <-ctx.Done(); return nil }, make(chan struct{}))
		g.Add("next", func(context.Context) error { t.Error("started"); return nil })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := g.Run(ctx); err != nil {
			t.Error(err)
		}
	})
}

func TestAPartThatDoesNotStopIsNamedAndLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := run.Group{Grace: time.Second}
		stuck := make(chan struct{})
		g.Add("stuck", func(context.Context) error { <-stuck; return nil })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := g.Run(ctx); err == nil || !strings.Contains(err.Error(), "stuck: did not stop within 1s") {
			t.Errorf("got %v", err)
		}
		close(stuck)
		synctest.Wait()
	})
}
