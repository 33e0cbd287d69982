package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/simulate"
)

// The chaos runs use short times, so that a story takes seconds; the rules are the demo's.
const chaosYAML = `listen: %s
data: data
canary_every: 1s
cmdb: [{file: {path: targets.yaml}}]
credentials: {lab: {snmp: {version: 2c, community: public, timeout: 300ms, retries: 1}}}
rules: [rules.yaml]
receivers: {hook: {webhook: {url: %q}}}
teams: {network: {receiver: hook}, default: {receiver: hook}}
alerting: {group_wait: 1s, verify_timeout: 3s, settle: 4s, flap_count: 1000} # The outages below come faster than a real device may fail.
`

const downRule = `groups:
  - name: chaos
    rules:
      - {alert: TargetDown, expr: up == 0, labels: {severity: critical}}
`

// TestChaosKillDuringAnOutage kills the real process with SIGKILL at a random moment of an outage, again and again on
// the same data, and judges by what the receiver got and what the topics hold: no outage unpaged, none paged twice,
// every page resolved, every job slot with one outcome unless nobody ran.
func TestChaosKillDuringAnOutage(t *testing.T) {
	rounds, _ := strconv.Atoi(os.Getenv("KEMI_CHAOS_ROUNDS"))
	if rounds == 0 {
		t.Skip("skipped: KEMI_CHAOS_ROUNDS is not set; make chaos sets it")
	}
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("KEMI_CHAOS_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	t.Logf("KEMI_CHAOS_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 1))

	listen, err := simulate.ParseListen("127.78.0.0/16:0")
	if err != nil {
		t.Fatal(err)
	}
	devices, err := simulate.Site(simulate.DemoSpec(listen).Scale(40))
	if err != nil {
		t.Fatal(err)
	}
	fleet := playFleet(t, simulate.Config{Listen: listen, Devices: devices})
	hook := newReceiver(t)
	addr := freeAddr(t)
	dir := files(t, map[string]string{
		"kemi.yaml": fmt.Sprintf(chaosYAML, addr, hook.URL), "rules.yaml": downRule, "targets.yaml": targetsYAML(fleet.Devices(), time.Second),
	})
	p := start(t, filepath.Join(dir, "kemi.yaml"), addr)
	began := time.Now()
	within(t, 30*time.Second, "everything is up", func() error { return allUp(p, len(devices)) })

	var dead [][2]time.Time
	counted := 0
	for round := 1; round <= rounds; round++ {
		killAt := time.Duration(random.Int64N(int64(12 * time.Second)))
		fall, rise := time.NewTimer(0), time.NewTimer(7*time.Second)
		kill := time.NewTimer(killAt)
		for left := 3; left > 0; left-- {
			select {
			case <-fall.C:
				must(t, fleet.Fault("core-1", simulate.Fault{Kind: simulate.Down}))
			case <-rise.C:
				must(t, fleet.Fault("core-1", simulate.Fault{Kind: simulate.Clear}))
			case <-kill.C:
				counted += p.counted()
				died := time.Now()
				p.kill()
				p.start()
				dead = append(dead, [2]time.Time{died, time.Now()})
			}
		}
		within(t, 40*time.Second, fmt.Sprintf("round %d (killed after %s): one page that it fires, one that it is over", round, killAt), func() error {
			return toldOnce(hook.list(), round)
		})
		within(t, 30*time.Second, "everything is up again", func() error { return allUp(p, len(devices)) })
	}
	if err := toldOnce(hook.list(), rounds); err != nil {
		t.Error(err)
	}
	account(t, p, began, dead, time.Second, func(s accounts) int { return s.lost + s.missed }, func() int { return counted + p.counted() })
}

// counted is how many slots the process has counted as missed since it was started.
func (p *process) counted() int {
	p.t.Helper()
	n, err := p.metric("kemi_scheduler_slots_missed_total", "")
	if err != nil {
		p.t.Fatal(err)
	}
	return int(n)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// allUp is nil when every target is up.
func allUp(p *process, n int) error {
	var up []json.RawMessage
	if err := p.get("/api/kemi/v1/targets?state=up", &up); err != nil {
		return err
	}
	if len(up) != n {
		return fmt.Errorf("%d of %d up", len(up), n)
	}
	return nil
}

// toldOnce judges what the receiver got: of each outage one page that it fires and one that it is over, all of core-1. One
// incident may have several, as it is opened again when it fires again soon. A repetition of one page (same idempotency key)
// is what a provider folds.
func toldOnce(all []delivery, outages int) error {
	firing, resolved := map[string]int{}, map[string]int{}
	seen := map[string]bool{}
	for _, d := range all {
		if d.Cause != "core-1" {
			return fmt.Errorf("a page names %q as the cause: %+v", d.Cause, d)
		}
		if seen[d.Key] {
			continue
		}
		seen[d.Key] = true
		if d.Status == "resolved" {
			resolved[d.Dedup]++
		} else {
			firing[d.Dedup]++
		}
	}
	if len(seen) != 2*outages || !maps.Equal(firing, resolved) {
		return fmt.Errorf("pages for %d outages, by incident: firing %v, resolved %v", outages, firing, resolved)
	}
	return nil
}

// accounts is what became of slots: without an outcome while all roles ran (lost) or somebody was dead (missed), or with two.
type accounts struct{ checked, lost, twice, missed int }

// account waits until every slot up to now that has to has an outcome, or was counted as missed: on a busy machine a job may
// come too late to be run, and its end takes its time. None may have two.
func account(t *testing.T, p *process, began time.Time, dead [][2]time.Time, every time.Duration, owed func(accounts) int, counted func() int) {
	t.Helper()
	var s accounts
	until := time.Now()
	within(t, time.Minute, "every slot has an outcome or is counted", func() error {
		s = slots(t, p, began, until, dead, every)
		said := fmt.Sprintf("after %s: %d slots: without outcome %d, with two %d, without one while somebody was dead %d; counted as missed %d",
			until.Sub(began).Round(time.Second), s.checked, s.lost, s.twice, s.missed, counted())
		if owed(s) > counted() {
			return errors.New(said)
		}
		t.Log(said)
		return nil
	})
	if s.twice > 0 || s.checked == 0 {
		t.Errorf("%d of %d slots have two outcomes", s.twice, s.checked)
	}
}

// slots looks every slot of every target up among the readings.
func slots(t *testing.T, p *process, began, until time.Time, dead [][2]time.Time, every time.Duration) (s accounts) {
	t.Helper()
	outcomes := map[string]map[int64]int{}
	for _, l := range p.everything("readings.v1") {
		var r struct {
			Target, Check, Cause string
			Slot                 time.Time
		}
		if err := json.Unmarshal(l.Event, &r); err != nil {
			t.Fatalf("read %+v: %v", l, err)
		}
		if r.Cause != string(event.CauseSchedule) || r.Target == event.CanaryTarget {
			continue
		}
		key := r.Target + "/" + r.Check
		if outcomes[key] == nil {
			outcomes[key] = map[int64]int{}
		}
		outcomes[key][r.Slot.UnixMilli()]++
	}
	if len(outcomes) == 0 {
		t.Fatal("no readings at all")
	}
	for _, bySlot := range outcomes {
		phase := int64(-1)
		for slot, n := range bySlot {
			if n > 1 && !whileDead(time.UnixMilli(slot), dead) {
				s.twice++
			}
			if slot > began.Add(10*time.Second).UnixMilli() && (phase < 0 || slot < phase) {
				phase = slot
			}
		}
		if phase < 0 {
			continue
		}
		for slot := phase; slot < until.UnixMilli(); slot += every.Milliseconds() {
			s.checked++
			if bySlot[slot] > 0 {
				continue
			}
			if whileDead(time.UnixMilli(slot), dead) {
				s.missed++
			} else {
				s.lost++
			}
		}
	}
	return s
}

// whileDead reports whether nobody ran when the slot was due: jobs of the last moment before a kill may have been with
// the process, and the first moments after the start belong to starting.
func whileDead(slot time.Time, dead [][2]time.Time) bool {
	for _, d := range dead {
		if slot.After(d[0].Add(-2*time.Second)) && slot.Before(d[1].Add(2*time.Second)) {
			return true
		}
	}
	return false
}
