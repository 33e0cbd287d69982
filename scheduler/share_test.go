package scheduler_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/mem"
	"kemi.dev/kemi/internal/journal"
	"kemi.dev/kemi/internal/obs"
	"kemi.dev/kemi/scheduler"
)

// peer is one of several processes on one broker.
type peer struct {
	*house
	mem  *mem.Driver
	held atomic.Pointer[chan struct{}] // While there is one, whoever looks at the clock stands still until it is closed.
}

// freeze stops the peer's clock, and all who look at it, until thaw is called.
func (p *peer) freeze() (thaw func()) {
	c := make(chan struct{})
	p.held.Store(&c)
	return func() {
		p.held.Store(nil)
		close(c)
	}
}

func (p *peer) now() time.Time {
	if c := p.held.Load(); c != nil {
		<-*c
	}
	return time.Now()
}

func newPeer(t *testing.T, broker *mem.Driver) *peer {
	p := &peer{house: &house{t: t, driver: &broken{Driver: broker}}, mem: broker}
	p.bus = bus.New(p.driver, bus.Settings{}, obs.Scope{})
	if err := p.bus.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	return p
}

// run is start without the end being checked.
func (p *peer) run() (stop func()) {
	p.reg = prometheus.NewRegistry()
	r, err := scheduler.New(scheduler.Options{Bus: p.bus, Scope: obs.New(p.log, p.reg), Now: p.now})
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(p.t.Context())
	done := make(chan error)
	go func() { done <- r.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			p.t.Errorf("Run: %v", err)
		}
	}
}

// Two schedulers share the targets; every slot has one job, whoever comes, leaves or falls silent. What is missing was
// counted by whoever took over.
func TestSchedulersShareTheTargetsAndTakeOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := mem.New()
		defer broker.Close()
		one, two := newPeer(t, broker.Open()), newPeer(t, broker.Open())
		const targets, interval = 40, 10 * time.Second
		for i := range targets {
			one.publish(target(fmt.Sprint("vm-", i), time.Now().Add(-time.Hour), every(interval)))
		}
		stopOne, stopTwo := one.run(), two.run()
		time.Sleep(5*time.Minute + interval/2)
		a, b := one.metric("kemi_scheduler_targets", ""), two.metric("kemi_scheduler_targets", "")
		if a+b != targets || a == 0 || b == 0 {
			t.Errorf("%v and %v of %d targets", a, b, targets)
		}
		stopTwo()
		time.Sleep(5 * time.Minute)
		if n := one.metric("kemi_scheduler_targets", ""); n != targets {
			t.Errorf("%v targets after the other left, want %d", n, targets)
		}
		stopTwo = two.run()
		time.Sleep(5 * time.Minute)
		two.mem.Lose()
		time.Sleep(5 * time.Minute)
		jobs := one.jobs()
		missed := one.metric("kemi_scheduler_slots_missed_total", "") + two.metric("kemi_scheduler_slots_missed_total", "")
		stopOne()
		stopTwo()

		for id, n := range identities(jobs) {
			if n != 1 {
				t.Errorf("job %s is there %d times", id, n)
			}
		}
		const expected = 20 * 6 * targets
		if n := len(jobs); n+int(missed) < expected-targets || n > expected+targets || n < expected*95/100 {
			t.Errorf("%d jobs and %v missed in 20 minutes, want about %d", n, missed, expected)
		}
	})
}

// accounts is how many jobs there are, and how many slots any of the peers counted as missed.
func accounts(peers ...*peer) (jobs, missed int) {
	for _, p := range peers {
		missed += int(p.metric("kemi_scheduler_slots_missed_total", ""))
	}
	return len(identities(peers[0].jobs())), missed
}

// slotsOf is how many slots so many targets have from one time to another.
func slotsOf(t *testing.T, targets int, from, to time.Time) int {
	p := scheduler.NewPlan(zones, from, time.Time{})
	for i := range targets {
		set(t, p, from, target(fmt.Sprint("vm-", i), from.Add(-time.Hour), every(10*time.Second)))
	}
	return p.Missed(from, to)
}

// A scheduler that was stopped for longer than its lease finds its partitions with another, who says or counts what is due
// there. It counts nothing and says nothing of it.
func TestWhoWasStoppedDoesNotCountWhatItsSuccessorOwns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := mem.New()
		defer broker.Close()
		one, two := newPeer(t, broker.Open()), newPeer(t, broker.Open())
		var said journal.Journal
		two.log = slog.New(slog.NewTextHandler(&said, nil))
		const targets = 40
		begin := time.Now()
		for i := range targets {
			one.publish(target(fmt.Sprint("vm-", i), begin.Add(-time.Hour), every(10*time.Second)))
		}
		stopOne, stopTwo := one.run(), two.run()
		defer stopOne()
		defer stopTwo()
		time.Sleep(time.Minute)
		if two.metric("kemi_scheduler_targets", "") == 0 {
			t.Fatal("the second scheduler has nothing to do")
		}
		thaw := two.freeze()
		time.Sleep(6 * time.Second)
		two.mem.Lose()
		time.Sleep(39 * time.Second)
		thaw()
		time.Sleep(time.Minute)
		// It gets partitions again, and may have missed a slot at the hand-over.
		if n := two.metric("kemi_scheduler_slots_missed_total", ""); n > 4 {
			t.Errorf("who was stopped counted %v slots as missed, which another owned", n)
		}
		if n := said.Count("skip what was due"); n != 0 {
			t.Errorf("and said so %d times", n)
		}
		jobs, missed := accounts(one, two)
		all := slotsOf(t, targets, begin, time.Now())
		// What was published in the second before the stop may be counted too, and what is due right now is not there yet.
		if got := jobs + missed; got < all-4 || got > all+10 {
			t.Errorf("%d jobs and %d missed of %d slots", jobs, missed, all)
		}
	})
}

// The broker is away, and when it comes back another scheduler has the partitions: what was missed meanwhile is counted once.
func TestAnOutageThatEndsWithAnotherOwnerIsCountedOnce(t *testing.T) {
	for name, dies := range map[string]bool{"the owner lives": false, "the owner dies meanwhile": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				broker := mem.New()
				defer broker.Close()
				one, two := newPeer(t, broker.Open()), newPeer(t, broker.Open())
				const targets = 40
				begin := time.Now()
				for i := range targets {
					one.publish(target(fmt.Sprint("vm-", i), begin.Add(-time.Hour), every(10*time.Second)))
				}
				stopOne, stopTwo := one.run(), two.run()
				defer stopOne()
				time.Sleep(65300 * time.Millisecond)
				one.driver.dead.Store(true)
				two.driver.dead.Store(true)
				time.Sleep(55 * time.Second)
				two.mem.Lose()
				if dies {
					stopTwo()
				} else {
					defer stopTwo()
				}
				time.Sleep(500 * time.Millisecond)
				one.driver.dead.Store(false)
				two.driver.dead.Store(false)
				time.Sleep(time.Minute)
				jobs, missed := accounts(one, two)
				all := slotsOf(t, targets, begin, time.Now())
				if got := jobs + missed; got < all-4 || got > all+10 {
					t.Errorf("%d jobs and %d missed of %d slots", jobs, missed, all)
				}
				if missed < 4*targets {
					t.Errorf("%d slots missed in an outage of 55 s", missed)
				}
			})
		})
	}
}
