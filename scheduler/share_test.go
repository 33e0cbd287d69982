package scheduler_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/mem"
	"kemi.dev/kemi/internal/obs"
	"kemi.dev/kemi/scheduler"
)

// peer is one of several processes on one broker.
type peer struct {
	*house
	mem *mem.Driver
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
	r, err := scheduler.New(scheduler.Options{Bus: p.bus, Scope: obs.New(nil, p.reg)})
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
