package history_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/history"
	"kemi.dev/kemi/bus/mem"
)

// stage is a scene on a new broker in memory.
type stage struct {
	seed   uint64
	calls  int  // 0 is 200.
	calm   bool // Nobody is disturbed.
	rules  history.Rules
	mutate func(driver.Driver) driver.Driver

	patience time.Duration
}

// play runs the scene and judges it.
func (s stage) play(t *testing.T) history.Verdict {
	t.Helper()
	broker := mem.New()
	defer broker.Close()
	var log bytes.Buffer
	r := history.NewRecorder(&log, "test")
	if s.calls == 0 {
		s.calls = 200
	}
	scene := history.Scene{
		Workload: history.Workload{Name: "w", Seed: s.seed, Size: 16, Settle: 60 * time.Millisecond, Window: 16, Timeout: time.Second},
		Calls:    s.calls, Patience: s.patience,
		Open: func() driver.Driver { return s.mutate(broker.Open()) },
	}
	if !s.calm {
		scene.Disturb = func(d driver.Driver) {
			if m, ok := d.(*mutant); ok {
				d = m.Driver
			}
			d.(*mem.Driver).Lose()
		}
	}
	if err := scene.Play(t.Context(), r); err != nil {
		t.Logf("play: %v", err) // The checker has the last word.
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	v, err := history.Check(s.rules, &log)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// lively is a run in which members are lost, and come back to acknowledge what is on its way to others.
var lively = history.Rules{AckDelay: 5 * time.Second}

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
			var v history.Verdict
			for range 3 { // Whom a fault meets, and doing what, is up to the scheduler: once in a while it meets nobody.
				v = stage{seed: uint64(seed), rules: lively, mutate: same, patience: 20 * time.Second}.play(t)
				if !v.OK() {
					t.Fatal(v)
				}
				c := v.Counts
				if c.Published >= 1500 && c.Acknowledged >= 1500 && c.Delivered >= 1500 && c.Accepted >= 300 && c.Fenced > 0 && c.Refused > 0 && c.Redelivered > 0 &&
					c.Epochs >= 8 && c.Faults == 2 && c.Reads >= 7 && c.Lost+c.Foreign+c.Stale == 0 {
					return
				}
			}
			t.Fatalf("the run was not what it should have been: %s", v)
		})
	}
}
