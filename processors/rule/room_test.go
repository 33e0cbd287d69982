package rule_test

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

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/bus/mem"
	"kemi.dev/kemi/internal/canary"
	"kemi.dev/kemi/internal/obs"
	"kemi.dev/kemi/processors/alert"
	"kemi.dev/kemi/processors/rule"
)

// house is a bus in memory with the rule and the alert room on it, all in a bubble of virtual time.
type house struct {
	t      *testing.T
	broker *mem.Driver
	set    *rule.Set
	trips  *canary.Tracker
	reg    *prometheus.Registry // of the rooms
	born   time.Time

	// Of the running process.
	bus  *bus.Bus
	room *rule.Room
	kill func()

	mu    sync.Mutex
	said  []string
	reach []string // what was said of targets being reachable
	count map[string]int
}

func newHouse(t *testing.T, rules string) *house {
	h := &house{t: t, broker: mem.New(), set: parse(t, rules), trips: canary.New(canary.StageRule, canary.StageAlert), count: map[string]int{}, born: time.Now(), reg: prometheus.NewRegistry()}
	h.start(h.broker)
	t.Cleanup(h.stop)
	ear := bus.New(h.broker.Open(), bus.Settings{}, obs.Scope{})
	go func() {
		_ = bus.Follow(t.Context(), ear, bus.From{}, func(m bus.Message[event.Finding]) error {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.count[m.Event.Identity()]++
			if f := m.Event; f.Rule != event.RuleReachable && f.Rule != event.RuleCanary && f.Reason.Code != rule.ReasonRefresh {
				h.said = append(h.said, fmt.Sprintf("%s %s %s", f.Alert, f.Verdict, f.Reason.Code))
			} else if f.Rule == event.RuleReachable {
				h.reach = append(h.reach, fmt.Sprintf("%s %s since %s", f.Target, f.Reason.Code, f.Since.Sub(h.born)))
			}
			return nil
		}, nil)
	}()
	go func() {
		_ = bus.Follow(t.Context(), ear, bus.From{}, func(m bus.Message[event.Alert]) error {
			h.mu.Lock()
			defer h.mu.Unlock()
			if a := m.Event; a.Rule != event.RuleCanary {
				h.said = append(h.said, fmt.Sprintf("ALERT %s %s unknown=%v", a.Name, a.State, a.Unknown))
			}
			return nil
		}, nil)
	}()
	return h
}

// start begins a process.
func (h *house) start(d driver.Driver) {
	h.bus = bus.New(d, bus.Settings{}, obs.Scope{})
	if err := h.bus.Open(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
	room, err := rule.New(rule.Options{Bus: h.bus, Rules: h.set, Canary: h.trips, Scope: obs.New(nil, h.reg)})
	if err != nil {
		h.t.Fatal(err)
	}
	alerts, err := alert.New(alert.Options{Bus: h.bus, Canary: h.trips, Scope: obs.New(nil, h.reg)})
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	for _, run := range []func(context.Context) error{room.Run, alerts.Run} {
		done.Go(func() {
			if err := run(ctx); err != nil && !errors.Is(err, driver.ErrClosed) {
				h.t.Error(err)
			}
		})
	}
	h.room = room
	h.kill = sync.OnceFunc(func() {
		_ = h.bus.Close() // Nothing of what was on the way arrives any more.
		cancel()
		done.Wait()
	})
}

func (h *house) stop() { h.kill() }

// restart kills the process and starts another on the same broker.
func (h *house) restart() {
	h.kill()
	h.start(h.broker.Open())
	synctest.Wait()
}

// poll publishes the reading of the interface of a target, state 0 for a target that does not answer.
func (h *house) poll(target string, state int) {
	h.t.Helper()
	now := time.Now()
	r := &event.Reading{
		JobID: fmt.Sprint(target, now.UnixMilli()), Target: target, Check: "snmp", Kind: "snmp", Status: event.StatusOK, Slot: now, Started: now,
		Interval: 10 * time.Second, Cause: event.CauseSchedule, Labels: event.LabelsOf(map[string]string{"target": target, "class": "switch", "team": "a"}),
		Tables: []event.Table{{Name: "if", Rows: 1, Index: []event.IndexColumn{{Name: "ifIndex", Values: []string{"1"}}}, Columns: []event.Column{{Name: "ifOperStatus", Kind: event.Gauge, Gauges: []float64{float64(state)}}}}},
	}
	if state == 0 {
		r.Status, r.Tables = event.StatusTimeout, nil
	}
	h.publish(r)
}

func (h *house) publish(e event.Event) {
	h.t.Helper()
	if err := bus.New(h.broker.Open(), bus.Settings{}, obs.Scope{}).Publish(h.t.Context(), e); err != nil {
		h.t.Fatal(err)
	}
	synctest.Wait()
}

// expect compares what was said since the last time.
func (h *house) expect(want ...string) {
	h.t.Helper()
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	got := slices.Clone(h.said)
	h.said = nil
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		h.t.Fatalf("said\n  %s\nexpected\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

const roomRules = "groups: [{name: g, rules: [{alert: Down, expr: ifOperStatus == 2, for: 30s}]}]"

func pass(d time.Duration) {
	time.Sleep(d) // In a bubble: virtual time.
	synctest.Wait()
}

// A `for` timer and a firing alert survive kill -9 at any moment, and nothing is said twice or forgotten.
func TestTimersSurviveBeingKilled(t *testing.T) {
	for _, killAfter := range []time.Duration{0, 300 * time.Millisecond, 1500 * time.Millisecond, 9 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t, roomRules)
			die := func() {
				pass(killAfter)
				h.restart()
				pass(10*time.Second - killAfter)
			}
			h.poll("t1", 1)
			die()
			h.expect()
			h.poll("t1", 2)
			die()
			h.expect("Down pending condition-true")
			h.poll("t1", 2)
			die()
			h.poll("t1", 2)
			die()
			h.expect()
			h.poll("t1", 2)
			die()
			h.expect("Down firing held-for", "ALERT Down firing unknown=false")
			h.poll("t1", 0)
			die()
			h.expect("Down unknown target-down", "ALERT Down firing unknown=true")
			h.poll("t1", 0)
			die()
			h.poll("t1", 1)
			die()
			got := h.count
			h.mu.Lock()
			for id, n := range got {
				if n > 1 {
					t.Errorf("the finding %s was said %d times", id, n)
				}
			}
			// After a restart a finding that fires is said again, known or not.
			h.said = slices.DeleteFunc(h.said, func(s string) bool { return s == "Down unknown target-down" })
			h.mu.Unlock()
			h.expect("Down ok condition-false", "ALERT Down resolved unknown=false")
		})
	}
}

// Everything of a target that leaves resolves, also when it left while nobody ran; its last readings raise nothing.
func TestATargetThatLeavesResolves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, strings.ReplaceAll(roomRules, ", for: 30s", ""))
		targets := map[string]*event.Target{}
		for _, id := range []string{"t1", "t2", "t3", "t4"} {
			targets[id] = &event.Target{ID: id, Class: "switch", Team: "a", Lifecycle: event.Active, Version: "1", Updated: time.Now()}
			h.publish(targets[id])
			h.poll(id, 2)
		}
		pass(2 * time.Second)
		h.expect(slices.Repeat([]string{"Down firing condition-true", "ALERT Down firing unknown=false"}, 4)...)

		if err := h.bus.Remove(t.Context(), targets["t1"]); err != nil {
			t.Fatal(err)
		}
		pass(2 * time.Second)
		h.expect("Down ok target-removed", "ALERT Down resolved unknown=false")
		h.poll("t1", 2)
		h.expect()

		targets["t2"].Lifecycle, targets["t2"].Version = event.Retired, "2"
		h.publish(targets["t2"])
		pass(2 * time.Second)
		h.expect("Down ok target-removed", "ALERT Down resolved unknown=false")

		h.kill()
		if err := bus.New(h.broker.Open(), bus.Settings{}, obs.Scope{}).Remove(t.Context(), targets["t3"]); err != nil {
			t.Fatal(err)
		}
		h.start(h.broker.Open())
		pass(2 * time.Second)
		h.expect("Down ok target-removed", "ALERT Down resolved unknown=false")
		h.poll("t4", 1)
		h.expect("Down ok condition-false", "ALERT Down resolved unknown=false")
	})
}

// Rules are replaced while the room runs, and while it does not.
func TestRulesAreReloaded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, roomRules)
		h.poll("t1", 2)
		pass(10 * time.Second)
		h.expect("Down pending condition-true")
		h.set = parse(t, "groups: [{name: g, rules: [{alert: Down, expr: ifOperStatus > 1, for: 10s}, {alert: New, expr: ifOperStatus == 2}]}]")
		h.room.Reload(h.set)
		pass(2 * time.Second)
		h.poll("t1", 2)
		h.expect("Down firing held-for", "ALERT Down firing unknown=false", "New firing condition-true", "ALERT New firing unknown=false")
		pass(2 * time.Second)
		h.room.Reload(parse(t, roomRules))
		pass(2 * time.Second)
		h.expect("New ok rule-removed", "ALERT New resolved unknown=false")
		h.kill()
		h.set = parse(t, "groups: []")
		h.start(h.broker.Open())
		pass(2 * time.Second)
		h.expect("Down ok rule-removed", "ALERT Down resolved unknown=false")
	})
}

// The canary's reading passes both rooms.
func TestTheCanaryPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, roomRules)
		h.poll(event.CanaryTarget, 1)
		now := time.Now()
		pass(2 * time.Second)
		if slot, slowest := h.trips.Newest(); !slot.Equal(now) {
			t.Fatalf("the trip is at %s (%s), want %s", slot, slowest, now)
		}
		h.expect()
	})
}

// What the broker does not take is said when it takes it again, once.
func TestFindingsWaitForTheBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, strings.ReplaceAll(roomRules, ", for: 30s", ""))
		h.kill()
		f := &flaky{Driver: h.broker.Open()}
		f.fail("findings.v1", "alerts.v1", "state.v1")
		h.start(f)
		synctest.Wait()
		h.poll("t1", 2)
		pass(20 * time.Second)
		h.expect()
		f.fail("alerts.v1")
		pass(20 * time.Second)
		h.expect("Down firing condition-true")
		f.fail()
		pass(20 * time.Second)
		h.expect("ALERT Down firing unknown=false")
	})
}

// flaky is a broker that refuses to store on some topics.
type flaky struct {
	driver.Driver
	mu     sync.Mutex
	broken []string
}

func (f *flaky) fail(topics ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.broken = topics
}

func (f *flaky) Publish(ctx context.Context, records []driver.Record, fence *driver.Fence) error {
	f.mu.Lock()
	broken := len(records) > 0 && slices.Contains(f.broken, records[0].Topic)
	f.mu.Unlock()
	if broken {
		return errors.New("out of order for a while")
	}
	return f.Driver.Publish(ctx, records, fence)
}

func TestARoomNeedsABus(t *testing.T) {
	if _, err := rule.New(rule.Options{}); err == nil {
		t.Error("a rule room without a bus was made")
	}
	if _, err := alert.New(alert.Options{}); err == nil {
		t.Error("an alert room without a bus was made")
	}
}

// Whether a target answers is said again now and then and after a restart, and since when, though nothing changed for
// hours: who comes later does not look back that far.
func TestReachabilityIsSaidAgainAfterAWhileAndARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, "groups: []")
		heard := func(want ...string) {
			t.Helper()
			synctest.Wait()
			h.mu.Lock()
			defer h.mu.Unlock()
			if !slices.Equal(h.reach, want) {
				t.Errorf("heard %q, want %q", h.reach, want)
			}
			h.reach = nil
		}
		h.poll("t1", 1)
		heard("t1 reachable since 0s")
		pass(10 * time.Second)
		h.poll("t2", 0)
		heard("t2 unreachable since 10s")
		pass(20 * time.Minute)
		h.poll("t1", 1)
		h.poll("t2", 0)
		heard()
		for range 3 {
			pass(40 * time.Minute)
			h.poll("t1", 1)
			h.poll("t2", 0)
			heard("t1 reachable since 0s", "t2 unreachable since 10s")
		}
		pass(10 * time.Second)
		h.restart()
		pass(10 * time.Second)
		h.poll("t1", 1)
		h.poll("t2", 0)
		heard("t1 reachable since 0s", "t2 unreachable since 10s")
		pass(10 * time.Second)
		h.poll("t1", 1)
		h.poll("t2", 0)
		heard()

		pass(10 * time.Second)
		h.poll("t1", 0) // It is told as of now, and not saved yet when the process ends.
		heard(fmt.Sprintf("t1 unreachable since %s", time.Since(h.born)))
		since := time.Since(h.born)
		h.restart()
		pass(10 * time.Second)
		h.poll("t1", 0)
		heard(fmt.Sprintf("t1 unreachable since %s", since))
	})
}

// What a process exported of a partition goes with the partition.
func TestGaugesGoWithTheirPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, roomRules)
		names := []string{"kemi_rule_instances", "kemi_alert_firing"}
		count := func() int {
			n, err := testutil.GatherAndCount(h.reg, names...)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		h.poll("t1", 2)
		pass(3 * time.Second)
		if count() == 0 {
			t.Fatal("nothing is exported while the rooms run")
		}
		h.kill()
		synctest.Wait()
		if n := count(); n != 0 {
			t.Errorf("%d values are exported of partitions that went", n)
		}
		h.start(h.broker.Open())
		pass(3 * time.Second)
		if count() == 0 {
			t.Error("nothing is exported after the partitions came back")
		}
	})
}
