package scheduler_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/scheduler"
)

// history is what the targets became, and when a scheduler that was awake heard of it.
type history struct {
	at      []time.Time
	targets []*event.Target
}

// load makes the plan of a scheduler that starts now: it knows the newest version of each target.
func (h *history) load(t *rapid.T, now time.Time) *scheduler.Plan {
	p := scheduler.NewPlan(zones, now, time.Time{})
	newest := map[string]*event.Target{}
	for i, one := range h.targets {
		if !h.at[i].After(now) {
			newest[one.ID] = one
		}
	}
	for _, one := range newest {
		if err := p.Set(one, now); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// Whatever happens to the scheduler, each slot is handed out once or counted once. The judge is a scheduler that only the
// changes of targets happen to.
func TestEverySlotIsHandedOutOrCountedExactlyOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var h history
		draw := func(id string, updated, heard time.Time) *event.Target {
			interval := time.Duration(rapid.IntRange(1000, 90_000).Draw(t, "every ms")) * time.Millisecond
			checks := []event.Check{every(interval)}
			if rapid.Bool().Draw(t, "cron too") {
				checks = append(checks, cronCheck(rapid.SampledFrom([]string{"* * * * *", "*/3 * * * *", "1,2 12 * * *"}).Draw(t, "cron")))
			}
			one := target(id, updated, checks...)
			one.Version = fmt.Sprint(len(h.targets))
			h.at, h.targets = append(h.at, heard), append(h.targets, one)
			return one
		}
		ms := func(low, high int) time.Duration {
			return time.Duration(rapid.IntRange(low, high).Draw(t, "ms")) * time.Millisecond
		}
		ids := numbered(rapid.IntRange(1, 5).Draw(t, "targets"))
		for _, id := range ids {
			draw(id, noon.Add(-ms(3001, 200_000)), noon)
		}
		now, started := noon, noon
		p := h.load(t, now)
		handed, counted := map[string]int{}, 0
		look := func() {
			jobs, n := p.Due(now)
			counted += n
			for _, j := range jobs {
				handed[j.Identity()]++
				if j.Slot.After(now) {
					t.Fatalf("slot %s was handed out at %s", j.Slot, now)
				}
			}
		}
		for range rapid.IntRange(1, 30).Draw(t, "events") {
			switch rapid.SampledFrom([]string{"run", "run", "hiccup", "pause", "restart", "change", "change"}).Draw(t, "what") {
			case "run":
				for end := now.Add(ms(100, 60_000)); now.Before(end); {
					now = now.Add(ms(50, 900))
					look()
				}
			case "hiccup":
				now = now.Add(ms(1000, 5000))
				look()
			case "pause":
				now = now.Add(ms(5001, 400_000))
				look()
			case "change":
				now = now.Add(ms(2, 90)) // Two changes at one instant would be one.
				updated := now.Add(-ms(0, 20_000))
				if !updated.After(started) {
					updated = started.Add(time.Millisecond) // Else it would have been there at the start.
				}
				one := draw(rapid.SampledFrom(ids).Draw(t, "which"), updated, now)
				if err := p.Set(one, now); err != nil {
					t.Fatal(err)
				}
			case "restart":
				look()
				tick := now
				now = now.Add(ms(0, 100_000))
				p, started = h.load(t, now), now
				counted += p.Missed(tick, now)
			}
		}
		look()

		all, skipped := map[string]bool{}, 0
		first := history{at: h.at[:len(ids)], targets: h.targets[:len(ids)]}
		judge, told := first.load(t, noon), len(ids)
		for at := noon; at.Before(now); {
			next := at.Add(50 * time.Millisecond)
			if told < len(h.at) && !h.at[told].After(next) {
				next = h.at[told]
			}
			if next.After(now) {
				next = now
			}
			at = next
			for told < len(h.at) && !h.at[told].After(at) {
				if err := judge.Set(h.targets[told], at); err != nil {
					t.Fatal(err)
				}
				told++
			}
			jobs, n := judge.Due(at)
			skipped += n
			for _, j := range jobs {
				all[j.Identity()] = true
			}
		}
		for id, n := range handed {
			if n != 1 {
				t.Fatalf("a job was handed out %d times", n)
			}
			if !all[id] && skipped == 0 {
				t.Fatal("a job was handed out that nobody else would make")
			}
		}
		if len(handed)+counted != len(all)+skipped {
			t.Fatalf("%d handed out and %d counted of %d and %d slots", len(handed), counted, len(all), skipped)
		}
	})
}

func numbered(n int) (ids []string) {
	for i := range n {
		ids = append(ids, fmt.Sprintf("t%d", i))
	}
	return ids
}

// Slots are what is said of them: one every interval, in a phase that does not depend on when the scheduler started.
func TestIntervalSlotsAreAnIntervalApart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		interval := time.Duration(rapid.IntRange(1000, 100_000).Draw(t, "ms")) * time.Millisecond
		start := noon.Add(time.Duration(rapid.Int64Range(-1e15, 1e15).Draw(t, "start")))
		one := target(rapid.StringMatching("[a-z]{1,12}").Draw(t, "id"), start.Add(-time.Hour), every(interval))
		p := scheduler.NewPlan(zones, start, time.Time{})
		if err := p.Set(one, start); err != nil {
			t.Fatal(err)
		}
		jobs, _ := play(p, start, start.Add(5*interval+200*time.Millisecond))
		if len(jobs) < 5 {
			t.Fatalf("%d slots in five intervals", len(jobs))
		}
		phase := jobs[0].Slot.UnixMilli() % interval.Milliseconds()
		for i, j := range jobs {
			if i > 0 && j.Slot.Sub(jobs[i-1].Slot) != interval {
				t.Fatalf("slots %s and %s", jobs[i-1].Slot, j.Slot)
			}
			if j.Slot.UnixMilli()%interval.Milliseconds() != phase {
				t.Fatal("the phase moved")
			}
		}
	})
}

// machine is one of many targets, with strings of its own as they come from the bus.
func machine(i int, updated time.Time) *event.Target {
	return &event.Target{
		ID: fmt.Sprintf("vm-%05d.dc%d.example", i, i%4), Class: "vm", Address: fmt.Sprintf("10.%d.%d.%d:161", i>>16, i>>8&255, i&255), Team: "compute",
		Labels: map[string]string{"site": fmt.Sprintf("dc%d", i%4), "rack": fmt.Sprintf("r%d", i%400), "service": fmt.Sprintf("svc%d", i%900)},
		Checks: []event.Check{every(time.Minute)}, Relations: map[string][]event.Need{event.RunsOn: {{fmt.Sprintf("host-%d", i/20)}}},
		Lifecycle: event.Active, Source: fmt.Sprintf("file:targets/dc%d.yaml:%d", i%4, i), Version: "v1", Updated: updated,
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A hundred thousand targets at 60 s. Measured: jobs in each of the 60 one-second windows of a round, the largest over the
// mean; the time from a slot to the look at the clock that hands it out, with looks every 100 ms of which one in fifty
// comes up to 600 ms late; and what the plan adds to the heap for each target.
func TestAHundredThousandTargetsAreSpreadOnTimeAndSmall(t *testing.T) {
	if raced {
		t.Skip("one goroutine: there is nothing for the race detector to find, and it makes this slow")
	}
	const n = 100_000
	before := heap()
	p := scheduler.NewPlan(zones, noon, time.Time{})
	for i := range n {
		set(t, p, noon, machine(i, noon.Add(-time.Hour)))
	}
	if per := (int64(heap()) - int64(before)) / n; per > 1000 {
		t.Errorf("the plan holds %d bytes for each target, want at most 1000", per)
	} else {
		t.Logf("%d bytes for each target", per)
	}

	random := rand.New(rand.NewPCG(1, 2))
	windows := make([]int, 60)
	delays := make([]time.Duration, 0, n)
	total := 0
	for now := noon; now.Before(noon.Add(time.Minute)); {
		now = now.Add(100 * time.Millisecond)
		if random.IntN(50) == 0 {
			now = now.Add(time.Duration(random.Int64N(int64(600 * time.Millisecond))))
		}
		if now.After(noon.Add(time.Minute)) {
			now = noon.Add(time.Minute)
		}
		jobs, skipped := p.Due(now)
		if skipped > 0 {
			t.Fatal("slots were skipped")
		}
		for _, j := range jobs {
			windows[min(59, j.Slot.Sub(noon)/time.Second)]++
			delays = append(delays, now.Sub(j.Slot))
			total++
		}
	}
	if total != n {
		t.Errorf("%d jobs in a round, want %d", total, n)
	}
	if ratio := float64(slices.Max(windows)) / (float64(total) / 60); ratio > 1.2 {
		t.Errorf("peak over mean is %.3f, want at most 1.2", ratio)
	} else {
		t.Logf("peak over mean %.3f", ratio)
	}
	slices.Sort(delays)
	if p99 := delays[len(delays)*99/100]; p99 > time.Second {
		t.Errorf("p99 start delay %s", p99)
	} else {
		t.Logf("start delay p50 %s p99 %s", delays[len(delays)/2], p99)
	}
}

func BenchmarkDue100k(b *testing.B) {
	p := scheduler.NewPlan(zones, noon, time.Time{})
	for i := range 100_000 {
		set(b, p, noon, machine(i, noon.Add(-time.Hour)))
	}
	now, jobs := noon, 0
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		now = now.Add(100 * time.Millisecond)
		due, _ := p.Due(now)
		jobs += len(due)
	}
	b.ReportMetric(float64(jobs)/float64(b.N), "jobs/op")
}

func BenchmarkSet(b *testing.B) {
	targets := make([]*event.Target, b.N)
	for i := range targets {
		targets[i] = machine(i, noon.Add(-time.Hour))
	}
	p := scheduler.NewPlan(zones, noon, time.Time{})
	b.ReportAllocs()
	b.ResetTimer()
	set(b, p, noon, targets...)
}
