package faults_test

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"kemi.dev/kemi/internal/brokers"
	"kemi.dev/kemi/internal/cutter"
)

// length is KEMI_CHAOS_SECONDS: for how long brokers are killed in the long form; the other faults follow it. Zero, when it
// is not set, is the short form: some of everything in one run.
func length(t *testing.T) time.Duration {
	t.Helper()
	s := os.Getenv("KEMI_CHAOS_SECONDS")
	if s == "" {
		return 0
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		t.Fatalf("KEMI_CHAOS_SECONDS=%q: want seconds", s)
	}
	return time.Duration(n) * time.Second
}

// TestChaosBrokersAndMembers breaks a NATS cluster and a Kafka cluster of three while publishers publish and members of
// all kinds of group read, write under fences and commit: brokers are killed, paused and started cold, members cut off,
// and come and go. Nothing that was acknowledged is lost and no order, ownership or commit broken, whatever happened.
func TestChaosBrokersAndMembers(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: it runs real clusters for minutes")
	}
	seed, long := seed(t), length(t)
	sites(t, func(t *testing.T, s *site) {
		if long == 0 {
			play(t, s, seed, func(r *run) {
				r.cuts(1, 9*time.Second)
				r.kills(20*time.Second, 10*time.Second)
				r.churn(8 * time.Second)
				r.pauses(1, 6*time.Second)
				r.cold()
			})
			return
		}
		for _, f := range []struct {
			name   string
			breaks func(r *run)
		}{
			{"kill", func(r *run) { r.kills(long, 10*time.Second) }},
			{"pause", func(r *run) { r.pauses(max(1, int(long/(30*time.Second))), 20*time.Second) }},
			{"cut", func(r *run) { r.cuts(int(cuts), long/6) }},
			{"churn", func(r *run) { r.churn(long * 2 / 3) }},
			{"cold", func(r *run) {
				for range 3 {
					r.cold()
					r.wait(5 * time.Second)
				}
			}},
		} {
			t.Run(f.name, func(t *testing.T) { play(t, s, seed, f.breaks) })
		}
	})
}

// victim chooses the node of a blow.
func (r *run) victim(b blow) (n *brokers.Node, what string) {
	if b.leader {
		if n := r.s.leader(r.prefix, r.load.Topics(), b.node); n != nil {
			return n, n.Name + ", a leader"
		}
	}
	n = r.s.nodes[b.node%len(r.s.nodes)]
	return n, n.Name
}

// kills kills a broker with SIGKILL each period for that long, and starts it again; where brokers take longer than the
// period to come back, as soon as the one before serves again.
func (r *run) kills(length, period time.Duration) {
	end := time.Now().Add(length)
	for _, b := range blows(r.random, int(length/period), period/2) {
		next := time.Now().Add(period)
		if next.After(end.Add(period / 2)) {
			return
		}
		r.wait(period / 4)
		n, what := r.victim(b)
		over := r.fault("kill -9 of " + what)
		n.Kill()
		r.wait(b.down)
		n.Start()
		n.Ready()
		over()
		r.wait(time.Until(next))
	}
}

// pauses stops brokers for a while, as a machine that hangs.
func (r *run) pauses(n int, longest time.Duration) {
	for _, b := range blows(r.random, n, longest) {
		n, what := r.victim(b)
		over := r.fault(fmt.Sprintf("SIGSTOP of %s for %s", what, b.down))
		n.Pause()
		r.wait(b.down)
		n.Resume()
		n.Ready()
		over()
		r.wait(longest / 2)
	}
}

// cuts cuts the first member off, n times for so long, each time in another way, and lets it come back.
func (r *run) cuts(n int, down time.Duration) {
	path := r.s.paths[0]
	first := r.random.IntN(int(cuts))
	for i := range n {
		how := cut((first + i) % int(cuts))
		over := r.fault(fmt.Sprintf("a member is cut off for %s: %s", down, how))
		switch how {
		case refuse:
			path.Drop()
		case silence:
			path.Hold(cutter.Both)
		case deaf:
			path.Hold(cutter.Down)
		case mute:
			path.Swallow(cutter.Up)
		}
		r.wait(down)
		path.Heal()
		over()
		r.wait(min(down, 10*time.Second))
	}
}

// churn lets members come and go; some go without a word.
func (r *run) churn(length time.Duration) {
	over := r.fault("members come and go")
	defer over()
	var leaving sync.WaitGroup
	for _, c := range changes(r.random, length, 3, 2, 6) {
		r.wait(c.after)
		r.mu.Lock()
		path, who := direct, c.who%max(1, len(r.cast))
		if len(r.free) > 0 && c.abrupt {
			path = r.free[0]
		}
		r.mu.Unlock()
		if c.join {
			r.join(path)
			continue
		}
		r.mu.Lock()
		if len(r.cast) == 0 {
			r.mu.Unlock()
			continue
		}
		m := r.cast[who]
		r.cast = append(r.cast[:who:who], r.cast[who+1:]...)
		r.mu.Unlock()
		leaving.Go(func() { r.part(m) })
	}
	leaving.Wait()
}

// part ends a member: one on a path of its own without a word.
func (r *run) part(m *member) {
	if m.path == direct {
		m.leave()
		return
	}
	r.s.paths[m.path].Drop()
	m.leave()
	r.s.paths[m.path].Heal()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.free = append(r.free, m.path)
}

// cold kills all brokers at once and starts them with nothing of their files in memory.
func (r *run) cold() {
	over := r.fault("kill -9 of all brokers, started cold")
	defer over()
	all := func(do func(*brokers.Node)) {
		var each sync.WaitGroup
		for _, n := range r.s.nodes {
			each.Go(func() { do(n) })
		}
		each.Wait()
	}
	all((*brokers.Node).Kill)
	all(func(n *brokers.Node) { n.Chill() })
	all((*brokers.Node).Start)
	all((*brokers.Node).Ready)
}
