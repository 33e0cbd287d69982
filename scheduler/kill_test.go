package scheduler_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"kemi.dev/kemi/bus/mem"
)

// chain has one scheduler after the other on one broker, and accounts for the slots of its 40 targets.
type chain struct {
	*testing.T
	broker *mem.Driver
	begin  time.Time
	peers  []*peer
}

const chained = 40

func newChain(t *testing.T) *chain {
	c := &chain{T: t, broker: mem.New(), begin: time.Now()}
	t.Cleanup(func() { c.broker.Close() })
	first := newPeer(t, c.broker.Open())
	for i := range chained {
		first.publish(target(fmt.Sprint("vm-", i), c.begin.Add(-time.Hour), every(10*time.Second)))
	}
	return c
}

func (c *chain) next() *peer {
	p := newPeer(c.T, c.broker.Open())
	c.peers = append(c.peers, p)
	return p
}

// settle runs one more scheduler and says how many slots there were, how many of them have a job, and how many were counted.
func (c *chain) settle() (all, jobs, missed int) {
	last := c.next()
	stop := last.run()
	defer stop()
	time.Sleep(20 * time.Second)
	for _, p := range c.peers {
		missed += int(p.metric("kemi_scheduler_slots_missed_total", ""))
	}
	return slotsOf(c.T, chained, c.begin, time.Now().Add(-200*time.Millisecond)), len(identities(last.jobs())), missed
}

// A scheduler is killed while it publishes or saves, before or after that is stored, over and over; the broker takes no jobs
// for a while, or does not answer. Whatever comes: a slot has a job or was counted as missed.
func TestKilledAtAnyStepEverySlotHasAJobOrIsCounted(t *testing.T) {
	for seed := range uint64(40) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 7))
			c := newChain(t)
			stop := c.next().run() // Before the first progress is saved nobody knows since when there is a scheduler.
			time.Sleep(5 * time.Second)
			stop()
			const owners = 6
			for range owners {
				p, dies, kill := c.next(), new(atomic.Bool), 3+random.IntN(120)
				jam := time.Now().Add(time.Duration(random.IntN(20_000)) * time.Millisecond)
				jammed := jam.Add(time.Duration(random.IntN(8_000)) * time.Millisecond)
				saves := seed%2 == 1
				if saves { // It dies of a save, and no job is taken: what is both published and counted would hide what is neither.
					jam, jammed, kill = time.Time{}, time.Now().Add(time.Hour), 3+random.IntN(30)
				}
				calls, fates := 0, rand.New(rand.NewPCG(seed, random.Uint64()))
				mu := make(chan struct{}, 1)
				p.driver.fate = func(_ context.Context, topic string) (stored, heard bool) {
					mu <- struct{}{}
					defer func() { <-mu }()
					if topic == "state.v1" || !saves {
						calls++
					}
					if calls >= kill {
						dies.Store(true)
						p.driver.dead.Store(true)
						return calls == kill && fates.IntN(2) == 0, false
					}
					switch now := time.Now(); {
					case topic != "state.v1" && now.After(jam) && now.Before(jammed):
						return false, false
					case fates.IntN(20) == 0:
						return fates.IntN(2) == 0, false
					}
					return true, true
				}
				stop := p.run()
				for end := time.Now().Add(time.Duration(random.IntN(40_000)) * time.Millisecond); time.Now().Before(end) && !dies.Load(); {
					time.Sleep(10 * time.Millisecond)
				}
				if dies.Load() {
					p.mem.Lose()
				}
				stop()
				time.Sleep(time.Duration(random.IntN(6_000)) * time.Millisecond)
			}
			all, jobs, missed := c.settle()
			// What was published in the second before a kill, and what nobody answered for, may be counted too.
			if got := jobs + missed; got < all || got > all+owners*12 {
				t.Errorf("seed %d: %d jobs and %d missed of %d slots", seed, jobs, missed, all)
			}
		})
	}
}

// At an ordinary hand-over each slot has a job or is counted, and not both: what is being published is waited for.
func TestAtAHandOverEverySlotIsCountedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(1, 8))
		c := newChain(t)
		for range 30 {
			p := c.next()
			p.driver.fate = func(ctx context.Context, topic string) (stored, heard bool) {
				if topic == "state.v1" {
					return true, true
				}
				select { // It takes its time, and is stored also when nobody waits for it any more.
				case <-ctx.Done():
					return true, false
				case <-time.After(400 * time.Millisecond):
					return true, true
				}
			}
			stop := p.run()
			time.Sleep(time.Duration(3_000+random.IntN(4_000)) * time.Millisecond)
			stop()
		}
		all, jobs, missed := c.settle()
		if got := jobs + missed; got < all || got > all+2 {
			t.Errorf("%d jobs and %d missed of %d slots", jobs, missed, all)
		}
	})
}
