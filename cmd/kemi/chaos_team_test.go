package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"kemi.dev/kemi/internal/brokers"
	"kemi.dev/kemi/internal/simulate"
)

// takeOver is how long after a kill a slot may go without a job, or with a second outcome: a silent owner keeps its
// partitions, and a collector what it had in hand, for 6 s; brokers that were killed take some seconds themselves, and
// kills follow each other.
const takeOver = 20 * time.Second

// teamEvery is how often each device is polled: 60 polls a second leave two cores room for ten processes and the brokers.
const teamEvery = 5 * time.Second

// TestChaosKillsInATeam runs two processes of every role over 300 devices on a cluster of three brokers. During each
// outage of the core switch processes and brokers are killed with SIGKILL at random and started again. It judges by what
// the receiver got, and by the topics.
func TestChaosKillsInATeam(t *testing.T) {
	rounds, _ := strconv.Atoi(os.Getenv("KEMI_CHAOS_ROUNDS"))
	if rounds == 0 {
		t.Skip("skipped: KEMI_CHAOS_ROUNDS is not set; make chaos sets it")
	}
	rounds = max(1, rounds/10) // A round here has some thirty processes to start, stop and wait for.
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("KEMI_CHAOS_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	t.Logf("KEMI_CHAOS_SEED=%d", seed)
	eachBroker(t, func(t *testing.T, bus string, nodes []*brokers.Node) {
		random := rand.New(rand.NewPCG(seed, 2))
		m := newTeam(t, bus, 300, teamEvery)
		for range 2 {
			for _, role := range []string{"scheduler", "collector", "processors", "alerting", "api"} {
				m.join(role)
			}
		}
		began := time.Now()
		judge := m.members[4] // An API: killed like the others, asked when it is back.
		within(t, 120*time.Second, "everything is up", func() error { return allUp(judge, m.devices) })

		var dead [][2]time.Time
		killed, counted := map[string]int{}, 0
		kill := func() {
			at := time.Now()
			if random.IntN(3) == 0 {
				n := nodes[random.IntN(len(nodes))]
				n.Kill()
				n.Restart()
				killed["brokers"]++
			} else {
				p := m.members[random.IntN(len(m.members))]
				counted += p.counted()
				p.kill()
				p.start()
				killed["processes"]++
			}
			dead = append(dead, [2]time.Time{at, time.Now().Add(takeOver)})
		}
		for round := 1; round <= rounds; round++ {
			must(t, m.fleet.Fault("core-1", simulate.Fault{Kind: simulate.Down}))
			for range 1 + random.IntN(3) {
				kill()
			}
			within(t, 90*time.Second, fmt.Sprintf("round %d: one page that it fires", round), func() error {
				if n := paged(m.hook.list()); n != round {
					return fmt.Errorf("%d pages that it fires: %+v", n, m.hook.list())
				}
				return nil
			})
			must(t, m.fleet.Fault("core-1", simulate.Fault{Kind: simulate.Clear}))
			for range 1 + random.IntN(3) {
				kill()
			}
			within(t, 120*time.Second, fmt.Sprintf("round %d: one page that it fires, one that it is over", round), func() error {
				return toldOnce(m.hook.list(), round)
			})
			within(t, 120*time.Second, "everything is up again", func() error { return allUp(judge, m.devices) })
		}
		must(t, toldOnce(m.hook.list(), rounds))
		t.Logf("%d rounds, killed %v: %d deliveries", rounds, killed, len(m.hook.list()))
		account(t, judge, began, dead, teamEvery, func(s accounts) int { return s.lost }, func() int { return counted + m.counted() })
	})
}

// paged counts the different pages that something fires.
func paged(all []delivery) int {
	pages := map[string]bool{}
	for _, d := range all {
		if d.Status != "resolved" {
			pages[d.Key] = true
		}
	}
	return len(pages)
}
