package history_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/history"
	"kemi.dev/kemi/bus/mem"
)

// play runs a scene on a new broker in memory, whose drivers are changed by mutate, and judges it.
func play(t *testing.T, seed uint64, calls int, mutate func(driver.Driver) driver.Driver) history.Verdict {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	broker := mem.New()
	defer broker.Close()
	var log bytes.Buffer
	r := history.NewRecorder(&log, "test")
	s := history.Scene{
		Workload: history.Workload{Name: "w", Seed: seed, Size: 16, Settle: 60 * time.Millisecond, Window: 16, Timeout: time.Second},
		Calls:    calls,
		Open:     func() driver.Driver { return mutate(broker.Open()) },
		Disturb: func(d driver.Driver) {
			for {
				if inner, ok := d.(interface{ Unwrap() driver.Driver }); ok {
					d = inner.Unwrap()
					continue
				}
				d.(*mem.Driver).Lose()
				return
			}
		},
	}
	if err := s.Play(ctx, r); err != nil {
		t.Logf("play: %v", err) // The checker has the last word.
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	v, err := history.Check(history.Rules{}, &log)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func same(d driver.Driver) driver.Driver { return d }

func TestASoundDriverPasses(t *testing.T) {
	t.Parallel()
	seeds := 12
	if testing.Short() {
		seeds = 3
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			v := play(t, uint64(seed), 200, same)
			if !v.OK() {
				t.Fatal(v)
			}
			c := v.Counts
			if c.Published < 1500 || c.Acknowledged < 1500 || c.Delivered < 1500 || c.Accepted < 300 || c.Fenced == 0 || c.Refused == 0 || c.Redelivered == 0 ||
				c.Epochs < 8 || c.Faults != 2 || c.Reads < 7 || c.Lost+c.Foreign+c.Stale != 0 {
				t.Fatalf("the run was not what it should have been: %s", v)
			}
		})
	}
}
