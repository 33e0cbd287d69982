package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/bus/mem"
	"kemi.dev/kemi/internal/canary"
	"kemi.dev/kemi/internal/journal"
	"kemi.dev/kemi/internal/obs"
	"kemi.dev/kemi/scheduler"
)

// broken is a driver that does not take jobs while it is broken.
type broken struct {
	driver.Driver
	jobs   atomic.Bool
	dead   atomic.Bool // nothing is taken, as from a process that is no more
	poison string      // the target whose jobs are never taken
	large  string      // the beginning of the targets whose jobs are too large
	// fate, if given, says of what is published whether it is stored, and whether the caller hears that it is.
	fate func(ctx context.Context, topic string) (stored, heard bool)
}

func (b *broken) Publish(ctx context.Context, records []driver.Record, fence *driver.Fence) error {
	if b.dead.Load() {
		return errors.New("the process is dead")
	}
	for i := range records {
		if strings.HasPrefix(records[i].Topic, "jobs.") && (b.jobs.Load() || b.poison != "" && records[i].Key == b.poison) {
			return errors.New("the broker is away")
		}
		if strings.HasPrefix(records[i].Topic, "jobs.") && b.large != "" && strings.HasPrefix(records[i].Key, b.large) {
			return fmt.Errorf("the topic takes 200 bytes: %w", driver.ErrTooLarge)
		}
	}
	if b.fate != nil && len(records) > 0 {
		stored, heard := b.fate(ctx, records[0].Topic)
		var err error
		if stored {
			err = b.Driver.Publish(context.WithoutCancel(ctx), records, fence)
		}
		if err == nil && !heard {
			err = errors.New("nobody answers")
		}
		return err
	}
	return b.Driver.Publish(ctx, records, fence)
}

// house is a bus with a scheduler on it.
type house struct {
	t      *testing.T
	driver *broken
	bus    *bus.Bus
	reg    *prometheus.Registry
	log    *slog.Logger // May be nil.
	canary *canary.Tracker
}

func newHouse(t *testing.T) *house {
	h := &house{t: t, driver: &broken{Driver: mem.New()}, canary: canary.New(canary.StageSchedule)}
	t.Cleanup(func() { h.driver.Close() })
	h.bus = bus.New(h.driver, bus.Settings{}, obs.Scope{})
	if err := h.bus.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	return h
}

// start runs a scheduler until stop is called.
func (h *house) start() (stop func()) {
	h.reg = prometheus.NewRegistry()
	r, err := scheduler.New(scheduler.Options{Bus: h.bus, Scope: obs.New(h.log, h.reg), Canary: h.canary})
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(h.t.Context())
	done := make(chan error)
	go func() { done <- r.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			h.t.Errorf("Run: %v", err)
		}
	}
}

func (h *house) publish(targets ...*event.Target) {
	h.t.Helper()
	for _, one := range targets {
		if err := h.bus.Publish(h.t.Context(), one); err != nil {
			h.t.Fatal(err)
		}
	}
}

// jobs are those on the bus, oldest first, by everything that was ever stored.
func (h *house) jobs() (jobs []*event.Job) {
	h.t.Helper()
	ctx, cancel := context.WithCancel(h.t.Context())
	defer cancel()
	topic := event.JobsTopic("")
	feed, err := h.driver.Subscribe(ctx, driver.Subscription{Topic: topic.Name, Group: fmt.Sprintf("look-%d", time.Now().UnixNano())})
	if err != nil {
		h.t.Fatal(err)
	}
	defer feed.Close()
	for {
		short, stop := context.WithTimeout(ctx, time.Millisecond)
		batch, err := feed.Next(short)
		stop()
		if err != nil {
			return jobs
		}
		for _, d := range batch {
			if d.Event != driver.Data {
				continue
			}
			j := new(event.Job)
			if err := j.Decode(d.Record.Value); err != nil {
				h.t.Fatal(err)
			}
			jobs = append(jobs, j)
			if err := feed.Ack(ctx, d); err != nil {
				h.t.Fatal(err)
			}
		}
	}
}

// metric sums a counter over the labels whose values contain what is given.
func (h *house) metric(name, label string) (sum float64) {
	families, err := h.reg.Gather()
	if err != nil {
		h.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && (label == "" || strings.Contains(m.String(), `"`+label+`"`)) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

func TestATargetOnTheBusBecomesJobsOnTheBus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		stop := h.start()
		defer stop()
		synctest.Wait()
		saved := time.Now()
		h.publish(target("tor-1", saved, every(10*time.Second)), target(event.CanaryTarget, saved, every(10*time.Second)))
		time.Sleep(5 * time.Second)
		jobs := h.jobs()
		if len(jobs) != 2 {
			t.Fatalf("%d jobs within 5 s of the change, want 2", len(jobs))
		}
		for _, j := range jobs {
			if j.Target == event.CanaryTarget {
				if at, _ := h.canary.Newest(); !at.Equal(j.Slot) {
					t.Errorf("the canary's mark is %s, want %s", at, j.Slot)
				}
			}
		}
		time.Sleep(5 * time.Minute)
		for id, n := range identities(h.jobs()) {
			if n != 1 {
				t.Errorf("job %s is there %d times", id, n)
			}
		}
		if got := len(h.jobs()); got < 2*30 || got > 2*32 {
			t.Errorf("%d jobs in five minutes, want about 31 of each target", got)
		}
		if err := h.bus.Remove(t.Context(), target("tor-1", saved)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		before := time.Now()
		time.Sleep(time.Minute)
		for _, j := range h.jobs() {
			if j.Target == "tor-1" && j.Slot.After(before) {
				t.Fatal("a removed target is still scheduled")
			}
		}
	})
}

func TestARestartRepeatsNothingAndCountsWhatWasMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		for i := range 20 {
			h.publish(target(fmt.Sprintf("vm-%d", i), time.Now().Add(-time.Hour), every(10*time.Second)))
		}
		begin := time.Now()
		missed := 0.0
		for _, down := range []time.Duration{0, 300 * time.Millisecond, 7 * time.Second, 10 * time.Minute} {
			stop := h.start()
			time.Sleep(95500 * time.Millisecond)
			missed += h.metric("kemi_scheduler_slots_missed_total", "")
			if other := missed - h.metric("kemi_scheduler_slots_missed_total", "stopped"); down == 0 && other != 0 {
				t.Errorf("%v slots missed without a reason", other)
			}
			stop()
			time.Sleep(down)
		}
		stop := h.start()
		synctest.Wait()
		time.Sleep(time.Second)
		missed += h.metric("kemi_scheduler_slots_missed_total", "stopped")
		stop()
		p := scheduler.NewPlan(zones, begin, time.Time{})
		for i := range 20 {
			set(t, p, begin, target(fmt.Sprintf("vm-%d", i), begin.Add(-time.Hour), every(10*time.Second)))
		}
		all := p.Missed(begin, time.Now())
		seen := identities(h.jobs())
		for id, n := range seen {
			if n != 1 {
				t.Errorf("job %s is there %d times", id, n)
			}
		}
		// What is due at the very end may be published with the next look at the clock only.
		if got := len(seen) + int(missed); got > all || got < all-2 {
			t.Errorf("%d jobs and %v missed of %d slots", len(seen), missed, all)
		}
		if missed < 20*60 {
			t.Errorf("%v missed in more than ten minutes without a scheduler", missed)
		}
	})
}

func TestAfterAKillNoSlotIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		updated := time.Now().Add(-time.Hour)
		for i := range 50 {
			h.publish(target(fmt.Sprintf("vm-%d", i), updated, every(10*time.Second)))
		}
		begin := time.Now()
		stop := h.start()
		time.Sleep(63700 * time.Millisecond)
		h.driver.dead.Store(true)
		time.Sleep(250 * time.Millisecond)
		stop()
		time.Sleep(20 * time.Second)
		h.driver.dead.Store(false)
		stop = h.start()
		time.Sleep(30 * time.Second)
		missed := int(h.metric("kemi_scheduler_slots_missed_total", ""))
		stop()
		p := scheduler.NewPlan(zones, begin, time.Time{})
		for i := range 50 {
			set(t, p, begin, target(fmt.Sprintf("vm-%d", i), updated, every(10*time.Second)))
		}
		all, seen := p.Missed(begin, time.Now()), identities(h.jobs())
		for id, n := range seen {
			if n != 1 {
				t.Errorf("job %s is there %d times", id, n)
			}
		}
		// What was published in the second before the end may be counted too, but nothing may be in neither.
		if got := len(seen) + missed; got < all-2 || got > all+10 {
			t.Errorf("%d jobs and %d missed of %d slots", len(seen), missed, all)
		}
	})
}

func TestTwoSchedulersSayTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		a := h.start()
		time.Sleep(1234 * time.Millisecond)
		b := h.start()
		for i := range 20 {
			h.publish(target(fmt.Sprintf("vm-%d", i), time.Now(), every(10*time.Second)))
		}
		time.Sleep(time.Minute)
		a()
		b()
		seen := identities(h.jobs())
		if len(seen) < 20*6 || len(seen) > 20*7 {
			t.Errorf("%d different jobs of 20 targets in a minute of 10 s intervals, by two schedulers", len(seen))
		}
		if n := len(h.jobs()); n != len(seen) {
			t.Errorf("%d jobs stored for %d facts", n, len(seen))
		}
	})
}

func TestWhatTheBusDoesNotTakeInTimeIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		updated := time.Now().Add(-time.Hour)
		for i := range 20 {
			h.publish(target(fmt.Sprintf("vm-%d", i), updated, every(10*time.Second)))
		}
		begin := time.Now()
		stop := h.start()
		time.Sleep(30 * time.Second)
		h.driver.jobs.Store(true)
		time.Sleep(3 * time.Second) // within what a job may be late
		h.driver.jobs.Store(false)
		time.Sleep(30 * time.Second)
		if n := h.metric("kemi_scheduler_slots_missed_total", ""); n != 0 {
			t.Errorf("%v slots missed in an outage of 3 s, want 0", n)
		}
		h.driver.jobs.Store(true)
		time.Sleep(time.Minute)
		h.driver.jobs.Store(false)
		time.Sleep(30 * time.Second)
		late := h.metric("kemi_scheduler_slots_missed_total", "late")
		if late < 20*5 || late > 20*6 {
			t.Errorf("%v slots late in an outage of a minute, want about 110", late)
		}
		stop()
		p := scheduler.NewPlan(zones, begin, time.Time{})
		for i := range 20 {
			set(t, p, begin, target(fmt.Sprintf("vm-%d", i), updated, every(10*time.Second)))
		}
		if all, got := p.Missed(begin, time.Now()), len(identities(h.jobs()))+int(late); got > all || got < all-2 {
			t.Errorf("%d jobs and late slots of %d", got, all)
		}
	})
}

func TestAJobThatTheBusNeverTakesDoesNotHoldUpTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.driver.poison = "vm-3"
		for i := range 20 {
			h.publish(target(fmt.Sprintf("vm-%d", i), time.Now().Add(-time.Hour), every(10*time.Second)))
		}
		stop := h.start()
		time.Sleep(61 * time.Second)
		stop()
		perTarget := map[string]int{}
		for _, j := range h.jobs() {
			perTarget[j.Target]++
		}
		if len(perTarget) != 19 {
			t.Errorf("jobs of %d targets, want 19", len(perTarget))
		}
		for id, n := range perTarget {
			if n < 6 {
				t.Errorf("%s has %d jobs in a minute, want 6", id, n)
			}
		}
		if late := h.metric("kemi_scheduler_slots_missed_total", "late"); late < 4 {
			t.Errorf("%v jobs late, want those of vm-3", late)
		}
	})
}

// A job that its topic refuses for its size is on dead.v1, and nobody polls for it: that slot is not one with a job.
func TestASlotWhoseJobIsTooLargeIsCountedAsMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		var said journal.Journal
		h.log = slog.New(slog.NewTextHandler(&said, nil))
		h.driver.large = "wide-"
		begin, updated := time.Now(), time.Now().Add(-time.Hour)
		p := scheduler.NewPlan(zones, begin, time.Time{})
		for i := range 20 {
			for _, id := range []string{fmt.Sprintf("vm-%d", i), fmt.Sprintf("wide-%d", i)} {
				h.publish(target(id, updated, every(10*time.Second)))
				set(t, p, begin, target(id, updated, every(10*time.Second)))
			}
		}
		stop := h.start()
		time.Sleep(61 * time.Second)
		refused, published := h.metric("kemi_scheduler_slots_missed_total", "refused"), h.metric("kemi_scheduler_jobs_total", "")
		stop()
		if got := len(identities(h.jobs())); int(published) > got || int(published) < got-4 {
			t.Errorf("%v jobs published, %d are there", published, got)
		}
		if refused < 20*5 || refused > 20*7 {
			t.Errorf("%v slots refused, want about 120", refused)
		}
		if late := h.metric("kemi_scheduler_slots_missed_total", "late"); late != 0 {
			t.Errorf("%v slots late", late)
		}
		refused = h.metric("kemi_scheduler_slots_missed_total", "refused")
		if all, got := p.Missed(begin, time.Now()), int(refused+published); got > all+4 || got < all-8 {
			t.Errorf("%d slots, %d published or counted", all, got)
		}
		if n := strings.Count(said.String(), "the topic does not take them"); n < 1 || n > 2 {
			t.Errorf("said %d times", n)
		}
		if slot, _ := h.canary.Newest(); !slot.IsZero() {
			t.Errorf("the canary was scheduled at %s, and there is none", slot)
		}
	})
}

// A bus that takes nothing is said when that begins, once a minute, and when it is over, however many attempts there are.
func TestABusThatTakesNothingIsSaidOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		var said journal.Journal
		h.log = slog.New(slog.NewTextHandler(&said, nil))
		for i := range 20 {
			h.publish(target(fmt.Sprintf("vm-%d", i), time.Now().Add(-time.Hour), every(time.Second)))
		}
		stop := h.start()
		defer stop()
		time.Sleep(10 * time.Second)
		for _, outage := range []*atomic.Bool{&h.driver.jobs, &h.driver.dead} {
			outage.Store(true)
			time.Sleep(150 * time.Second)
			outage.Store(false)
			time.Sleep(90 * time.Second)
		}
		for what, want := range map[string][2]int{
			"jobs cannot be published, it is tried again": {5, 6}, "jobs are published again": {2, 2},
			"the progress cannot be saved, it is tried again": {2, 3}, "the progress is saved again": {1, 2}, "drop jobs that are late": {2, 6},
		} {
			if n := said.Count(what); n < want[0] || n > want[1] {
				t.Errorf("%q is said %d times in two outages of 150 s, want %v", what, n, want)
			}
		}
	})
}

// What is wrong is said once an hour, however often it comes, and not remembered for longer.
func TestATargetThatIsRefusedIsLoggedOnceAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		var said journal.Journal
		h.log = slog.New(slog.NewTextHandler(&said, nil))
		stop := h.start()
		defer stop()
		far := target("far", time.Now(), every(time.Second))
		far.Labels["zone"] = "moon"
		bad := target("bad", time.Now(), every(-time.Second))
		for _, want := range []int{2, 2, 4} {
			h.publish(far, bad)
			time.Sleep(31 * time.Minute)
			if n := said.Count("target is not scheduled"); n != want {
				t.Fatalf("said %d times, want %d", n, want)
			}
		}
	})
}

func TestATargetInAZoneThatNobodyServesIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		stop := h.start()
		defer stop()
		far := target("far", time.Now(), every(time.Second))
		far.Labels["zone"] = "moon"
		h.publish(far)
		time.Sleep(5 * time.Second)
		if n := h.metric("kemi_scheduler_targets_refused_total", "zone"); n != 1 {
			t.Errorf("%v refused, want 1", n)
		}
		if n := h.metric("kemi_scheduler_targets", ""); n != 0 {
			t.Errorf("%v targets scheduled, want 0", n)
		}
	})
}
