package scheduler_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/scheduler"
)

var (
	noon  = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	zones = []string{event.DefaultZone}
)

func target(id string, updated time.Time, checks ...event.Check) *event.Target {
	t := &event.Target{
		ID: id, Class: "switch", Address: "127.1.0.2:1161", Team: "network", Lifecycle: event.Active,
		Labels: map[string]string{"site": "dc1", "rack": "r7"}, Checks: checks, Updated: updated,
	}
	t.Version = t.ComputeVersion()
	return t
}

func every(d time.Duration) event.Check {
	return event.Check{Name: "snmp", Kind: "snmp", Every: d, Profile: "interfaces", Credential: "lab"}
}

func cronCheck(expression string) event.Check {
	return event.Check{Name: "backup", Kind: "http", Cron: expression}
}

func set(t testing.TB, p *scheduler.Plan, now time.Time, targets ...*event.Target) {
	t.Helper()
	for _, one := range targets {
		if err := p.Set(one, now); err != nil {
			t.Fatal(err)
		}
	}
}

// play looks at the clock ten times a second, after from and until to.
func play(p *scheduler.Plan, from, to time.Time) (jobs []*event.Job, skipped int) {
	for now := from.Add(100 * time.Millisecond); !now.After(to); now = now.Add(100 * time.Millisecond) {
		js, n := p.Due(now)
		jobs, skipped = append(jobs, js...), skipped+n
	}
	return jobs, skipped
}

func identities(jobs []*event.Job) map[string]int {
	seen := map[string]int{}
	for _, j := range jobs {
		seen[j.Identity()]++
	}
	return seen
}

func slots(jobs []*event.Job) []time.Time {
	var at []time.Time
	for _, j := range jobs {
		at = append(at, j.Slot)
	}
	return at
}

func TestAJobSaysWhatTheTargetAndTheCheckSay(t *testing.T) {
	p := scheduler.NewPlan(zones, noon, time.Time{})
	tor := target("tor-1", noon.Add(-time.Hour), every(10*time.Second))
	set(t, p, noon, tor)
	jobs, _ := play(p, noon, noon.Add(11*time.Second))
	if len(jobs) == 0 {
		t.Fatal("nothing was due within an interval")
	}
	slot := jobs[0].Slot
	want := event.JobFor(tor, tor.Checks[0], slot, slot.Add(10*time.Second), 10*time.Second, event.CauseSchedule, "")
	if diff := cmp.Diff(want, jobs[0]); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestTheDeadlineIsTheNextSlotWithinReason(t *testing.T) {
	for interval, want := range map[time.Duration]time.Duration{
		time.Second: 5 * time.Second, time.Minute: time.Minute, time.Hour: 5 * time.Minute,
	} {
		p := scheduler.NewPlan(zones, noon, time.Time{})
		set(t, p, noon, target("a", noon, every(interval)))
		jobs, _ := play(p, noon, noon.Add(5*time.Second))
		if len(jobs) == 0 {
			t.Fatal("no job")
		}
		if got := jobs[0].Deadline.Sub(jobs[0].Slot); got != want {
			t.Errorf("every %s: the deadline is %s after the slot, want %s", interval, got, want)
		}
	}
}

func TestANewOrChangedTargetIsDueAtOnceAndThenInItsPhase(t *testing.T) {
	p := scheduler.NewPlan(zones, noon, time.Time{})
	var targets []*event.Target
	for i := range 500 {
		targets = append(targets, target(fmt.Sprintf("sw-%d", i), noon.Add(time.Second), every(time.Minute)))
	}
	set(t, p, noon.Add(time.Second), targets...)
	jobs, _ := play(p, noon.Add(time.Second), noon.Add(4100*time.Millisecond))
	if len(jobs) != 500 {
		t.Fatalf("%d jobs within 3.1 s, want 500", len(jobs))
	}
	perSecond := map[int64]int{}
	for _, j := range jobs {
		perSecond[j.Slot.Unix()]++
	}
	for second, n := range perSecond {
		if n > 250 {
			t.Errorf("%d of 500 first slots in second %d: they are not spread", n, second)
		}
	}
	// The second slot comes half an interval to an interval and a half later, and from then on every minute.
	byTarget := map[string][]time.Time{}
	later, _ := play(p, noon.Add(4100*time.Millisecond), noon.Add(200*time.Second))
	for _, j := range append(jobs, later...) {
		byTarget[j.Target] = append(byTarget[j.Target], j.Slot)
	}
	for id, at := range byTarget {
		if gap := at[1].Sub(at[0]); gap < 30*time.Second || gap > 90*time.Second {
			t.Errorf("%s: the second slot is %s after the first", id, gap)
		}
		if gap := at[2].Sub(at[1]); gap != time.Minute {
			t.Errorf("%s: then the gap is %s", id, gap)
		}
	}
	changed := target("sw-7", noon.Add(200*time.Second), every(time.Minute))
	changed.Address = "127.1.0.9"
	changed.Version = changed.ComputeVersion()
	set(t, p, noon.Add(200*time.Second), changed)
	jobs, _ = play(p, noon.Add(200*time.Second), noon.Add(203100*time.Millisecond))
	found := false
	for _, j := range jobs {
		found = found || j.Target == "sw-7" && j.Address == "127.1.0.9"
	}
	if !found {
		t.Error("the changed target was not due within 3.1 s")
	}
	before := p.Len()
	set(t, p, noon.Add(300*time.Second), changed)
	if jobs, _ := play(p, noon.Add(203100*time.Millisecond), noon.Add(203200*time.Millisecond)); len(jobs) > 60 || p.Len() != before {
		t.Errorf("setting the same version again made %d jobs", len(jobs))
	}
}

func TestATargetWhoseChangeIsStampedAheadOfOurClockIsNotWaitedFor(t *testing.T) {
	p := scheduler.NewPlan(zones, noon, time.Time{})
	set(t, p, noon, target("a", noon.Add(time.Hour), every(10*time.Second)))
	if jobs, _ := play(p, noon, noon.Add(11*time.Second)); len(jobs) == 0 {
		t.Error("no job within an interval")
	}
}

func TestARestartContinuesWithTheSameSlotsAndWithoutAStorm(t *testing.T) {
	var targets []*event.Target
	for i := range 600 {
		targets = append(targets, target(fmt.Sprintf("vm-%d", i), noon.Add(-time.Hour), every(time.Minute)))
	}
	a, b := scheduler.NewPlan(zones, noon, time.Time{}), scheduler.NewPlan(zones, noon.Add(17*time.Second), time.Time{})
	set(t, a, noon, targets...)
	whole, _ := play(a, noon, noon.Add(2*time.Minute))
	set(t, b, noon.Add(17*time.Second), targets...)
	second, _ := play(b, noon.Add(17*time.Second), noon.Add(2*time.Minute))
	atStart := 0
	for _, j := range second {
		if j.Slot.Before(noon.Add(18 * time.Second)) {
			atStart++
		}
	}
	if atStart > 30 {
		t.Errorf("%d of 600 targets were due in the first second after the restart", atStart)
	}
	known := identities(whole)
	for id := range identities(second) {
		if known[id] != 1 {
			t.Fatal("the second scheduler made a job that the first did not know")
		}
	}
	var expected int
	for _, j := range whole {
		if j.Slot.After(noon.Add(17 * time.Second)) {
			expected++
		}
	}
	if len(second) != expected {
		t.Errorf("the second made %d jobs, the first %d in the same time", len(second), expected)
	}
}

func TestWhatWasDueDuringAPauseIsCountedAndNotCaughtUp(t *testing.T) {
	for name, pause := range map[string]time.Duration{"stopped for ten minutes": 10 * time.Minute, "stopped for six seconds": 6 * time.Second} {
		t.Run(name, func(t *testing.T) {
			p := scheduler.NewPlan(zones, noon, time.Time{})
			for i := range 300 {
				set(t, p, noon, target(fmt.Sprintf("vm-%d", i), noon.Add(-time.Hour), every(time.Minute)))
			}
			from := noon.Add(time.Minute)
			play(p, noon, from)
			want := p.Missed(from, from.Add(pause))
			jobs, skipped := p.Due(from.Add(pause))
			if len(jobs) != 0 || skipped != want || want == 0 {
				t.Errorf("%d jobs and %d skipped after the pause, want 0 and %d", len(jobs), skipped, want)
			}
			jobs, skipped = play(p, from.Add(pause), from.Add(pause+time.Minute))
			if len(jobs) != 300 || skipped != 0 {
				t.Errorf("%d jobs and %d skipped in the minute after it, want 300 and 0", len(jobs), skipped)
			}
		})
	}
}

func TestAClockThatIsPutBackRepeatsNothingAndStopsNothing(t *testing.T) {
	for _, back := range []time.Duration{500 * time.Millisecond, 4 * time.Second, 45 * time.Second, 2 * time.Minute, 3 * time.Hour} {
		t.Run(back.String(), func(t *testing.T) {
			p := scheduler.NewPlan(zones, noon, time.Time{})
			for i := range 50 {
				set(t, p, noon, target(fmt.Sprintf("vm-%d", i), noon.Add(-24*time.Hour), every(time.Minute), cronCheck("*/2 * * * *")))
			}
			jobs, _ := play(p, noon, noon.Add(10*time.Minute))
			from := noon.Add(10*time.Minute - back)
			// Twice: time that comes a third time has slots of its own too.
			for range 2 {
				again, _ := play(p, from, from.Add(5*time.Minute))
				jobs = append(jobs, again...)
				perTarget := map[string]int{}
				for _, j := range again {
					if j.Check == "snmp" {
						perTarget[j.Target]++
					}
				}
				for i := range 50 {
					if n := perTarget[fmt.Sprintf("vm-%d", i)]; n < 3 {
						t.Errorf("vm-%d was polled %d times in five minutes after the clock was put back", i, n)
					}
				}
				from = from.Add(5*time.Minute - back)
			}
			for id, n := range identities(jobs) {
				if n > 1 {
					t.Fatalf("job %s was made %d times", id, n)
				}
			}
		})
	}
}

func TestAClockThatIsPutBackBetweenTwoRunsRepeatsNothing(t *testing.T) {
	one := target("a", noon.Add(-24*time.Hour), every(10*time.Second))
	first := scheduler.NewPlan(zones, noon, time.Time{})
	set(t, first, noon, one)
	jobs, _ := play(first, noon, noon.Add(10*time.Minute))
	start := noon.Add(5 * time.Minute)
	second := scheduler.NewPlan(zones, start, noon.Add(10*time.Minute))
	set(t, second, start, one, target("new", start, every(10*time.Second)))
	more, _ := play(second, start, start.Add(time.Minute))
	perTarget := map[string]int{}
	for _, j := range more {
		perTarget[j.Target]++
	}
	if perTarget["a"] < 5 || perTarget["new"] < 5 {
		t.Errorf("%v jobs in a minute, want about 6 of each", perTarget)
	}
	for id, n := range identities(append(jobs, more...)) {
		if n > 1 {
			t.Fatalf("job %s was made %d times", id, n)
		}
	}
}

func TestAChangeAndAClockThatIsPutBack(t *testing.T) {
	p := scheduler.NewPlan(zones, noon, time.Time{})
	one := target("a", noon.Add(-time.Hour), every(10*time.Second))
	set(t, p, noon, one)
	jobs, _ := play(p, noon, noon.Add(10*time.Minute))
	// The change comes in the time that is there a second time; what was handed out before it stays handed out.
	back := noon.Add(10*time.Minute - 9*time.Second)
	p.Due(back)
	next := *one
	next.Address, next.Updated = "127.1.0.9", back
	next.Version = next.ComputeVersion()
	set(t, p, back, &next)
	// Before its first slot came the clock is put back again.
	again := back.Add(-5 * time.Second)
	more, _ := play(p, again, again.Add(9*time.Second))
	if len(more) == 0 || more[0].Address != "127.1.0.9" {
		t.Errorf("%d jobs of the changed target", len(more))
	}
	later, _ := play(p, again.Add(9*time.Second), again.Add(time.Minute))
	for id, n := range identities(append(append(jobs, more...), later...)) {
		if n > 1 {
			t.Fatalf("job %s was made %d times", id, n)
		}
	}
}

func TestAFirstSlotIsNotLostWhenTheClockIsPutBack(t *testing.T) {
	p := scheduler.NewPlan(zones, noon.Add(-time.Hour), time.Time{})
	p.Due(noon)
	set(t, p, noon, target("a", noon, every(10*time.Minute)))
	from := noon.Add(-4 * time.Second)
	if jobs, _ := play(p, from, from.Add(7100*time.Millisecond)); len(jobs) != 1 {
		t.Errorf("%d jobs, want that of the first slot", len(jobs))
	}
}

func TestAChangeThatIsHeardOfTooLateIsCounted(t *testing.T) {
	p := scheduler.NewPlan(zones, noon, time.Time{})
	p.Due(noon.Add(time.Second))
	set(t, p, noon.Add(30*time.Second), target("a", noon.Add(time.Second), every(time.Minute)))
	if jobs, skipped := p.Due(noon.Add(30 * time.Second)); len(jobs) != 0 || skipped != 1 {
		t.Errorf("%d jobs and %d skipped, want the first slot skipped", len(jobs), skipped)
	}
}

func TestCronKeepsItsTimesOverChangesOfTheClockOnTheWall(t *testing.T) {
	start := time.Date(2026, 3, 7, 0, 0, 0, 0, time.UTC)
	p := scheduler.NewPlan(zones, start, time.Time{})
	set(t, p, start, target("db", start, cronCheck("CRON_TZ=America/New_York 30 2 * * *")))
	var got []time.Time
	for now := start; now.Before(start.Add(72 * time.Hour)); now = now.Add(4 * time.Second) {
		jobs, skipped := p.Due(now)
		if skipped > 0 {
			t.Fatal("skipped")
		}
		got = append(got, slots(jobs)...)
		for _, j := range jobs {
			if j.Interval < 23*time.Hour || j.Interval > 25*time.Hour {
				t.Errorf("the interval of %s is %s", j.Slot, j.Interval)
			}
		}
	}
	want := []time.Time{
		time.Date(2026, 3, 7, 7, 30, 0, 0, time.UTC), time.Date(2026, 3, 8, 7, 0, 0, 0, time.UTC), time.Date(2026, 3, 9, 6, 30, 0, 0, time.UTC),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestLifecycle(t *testing.T) {
	p := scheduler.NewPlan(zones, noon, time.Time{})
	one := target("a", noon, every(time.Second))
	set(t, p, noon, one)
	for _, step := range []struct {
		lifecycle event.Lifecycle
		polled    bool
	}{{event.Maintenance, true}, {event.Retired, false}, {event.Active, true}} {
		next := *one
		next.Lifecycle, next.Updated = step.lifecycle, noon.Add(time.Minute)
		next.Version = next.ComputeVersion()
		set(t, p, noon.Add(time.Minute), &next)
		p.Due(noon.Add(time.Minute))
		if jobs, _ := play(p, noon.Add(time.Minute), noon.Add(65*time.Second)); (len(jobs) > 0) != step.polled {
			t.Errorf("%s: %d jobs", step.lifecycle, len(jobs))
		}
		p = scheduler.NewPlan(zones, noon.Add(time.Minute), time.Time{})
		set(t, p, noon, &next)
	}
	p.Remove("a")
	p.Remove("never there")
	if jobs, _ := play(p, noon.Add(time.Minute), noon.Add(70*time.Second)); len(jobs) > 0 || p.Len() != 0 {
		t.Errorf("%d jobs of a target that was removed", len(jobs))
	}
}

func TestWhatCannotBeScheduledIsSaidAndTheRestGoesOn(t *testing.T) {
	p := scheduler.NewPlan(zones, noon, time.Time{})
	bad := target("a", noon, every(time.Second), cronCheck("61 * * * *"), event.Check{Name: "none", Kind: "http"})
	if err := p.Set(bad, noon); err == nil || !strings.Contains(err.Error(), "schedule a: schedule check") {
		t.Errorf("error %v", err)
	}
	if jobs, _ := play(p, noon, noon.Add(5*time.Second)); len(jobs) == 0 {
		t.Error("the good check is not scheduled")
	}
	moved := target("a", noon.Add(time.Minute), every(time.Second))
	moved.Labels["zone"] = "moon"
	moved.Version = moved.ComputeVersion()
	if err := p.Set(moved, noon); !errors.Is(err, scheduler.ErrZone) || !strings.Contains(err.Error(), `"moon"`) {
		t.Errorf("error %v, want ErrZone", err)
	}
	if p.Len() != 0 {
		t.Error("a target in a zone that nobody serves is still scheduled")
	}
}
