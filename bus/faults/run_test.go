// Package faults_test breaks real clusters under the drivers, with the load and before the judge of bus/history.
//
// In: a seed and how long. Out: what was published, delivered and lost, and a failure where that breaks the contract.
// It never judges by time: a cluster that takes long to come back is slow, not wrong.
package faults_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"kemi.dev/kemi/bus/history"
	"kemi.dev/kemi/internal/await"
)

// patience is how long a run may take to handle what is left when everything is whole again.
const patience = 5 * time.Minute

// run is one load on a cluster while that is broken.
type run struct {
	*testing.T
	s      *site
	random *rand.Rand
	load   history.Workload
	log    *history.Recorder
	prefix string

	mu   sync.Mutex
	cast []*member
	free []int // Paths nobody is on.
}

// member is one of every group, over a connection of its own.
type member struct {
	path  int
	leave func() // Closes its feeds and its driver, and returns when that is done.
}

// seed is KEMI_CHAOS_SEED, or chosen and printed.
func seed(t *testing.T) uint64 {
	t.Helper()
	n := rand.Uint64()
	if s := os.Getenv("KEMI_CHAOS_SEED"); s != "" {
		var err error
		if n, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("KEMI_CHAOS_SEED: %v", err)
		}
	}
	t.Logf("KEMI_CHAOS_SEED=%d", n)
	return n
}

// play runs the load on a cluster, breaks it as told, and has the whole history judged.
func play(t *testing.T, s *site, seed uint64, breaks func(r *run)) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "history.log")
	log, err := history.Create(path, "all")
	if err != nil {
		t.Fatal(err)
	}
	name := strings.NewReplacer("/", "-", "_", "-").Replace(t.Name())
	r := &run{
		T: t, s: s, random: rand.New(rand.NewPCG(seed, 1)), log: log, prefix: fmt.Sprintf("c%x", rand.Uint32()),
		load: history.Workload{Name: "run", Seed: seed, Partitions: 6, Pace: 10 * time.Millisecond, Settle: s.settle},
	}
	for i := range s.paths {
		r.free = append(r.free, i)
	}
	began := time.Now()
	r.perform(breaks)
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	v, err := history.CheckFiles(s.rules, path)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %s", time.Since(began).Round(time.Second), v)
	if c := v.Counts; c.Acknowledged == 0 || c.Faults == 0 || c.Epochs == 0 || c.Accepted == 0 {
		t.Errorf("nothing was proved: %+v", c)
	}
	if !v.OK() {
		t.Errorf("the contract was broken: %v", v.Broken)
	}
	if dir := os.Getenv("KEMI_CHAOS_KEEP"); dir != "" {
		keep(t, path, filepath.Join(dir, name+".log"))
	}
}

// perform is the run itself; everything is closed after it.
func (r *run) perform(breaks func(r *run)) {
	ctx := r.Context()
	main := r.s.open(r, r.prefix, direct)
	defer main.Close()
	d := r.log.Wrap(main)
	await.Within(r, time.Minute, "make the topics", func(ctx context.Context) error { return d.Ensure(ctx, r.load.Topics()) })
	r.join(0)
	r.join(direct)
	r.join(direct)

	publishing, stop := context.WithCancel(ctx)
	defer stop()
	var publishers sync.WaitGroup
	for i := range 3 {
		publishers.Go(func() {
			own := r.s.open(r, r.prefix, direct)
			defer own.Close()
			r.load.Publish(publishing, r.log.Wrap(own), fmt.Sprintf("p%d", i), 0)
		})
	}
	breaks(r)
	stop()
	publishers.Wait()
	r.mu.Lock()
	cast := r.cast
	r.cast = nil
	r.mu.Unlock()
	for _, m := range cast {
		m.leave()
	}
	ending, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	began := time.Now()
	if err := r.load.Drain(ending, d); err != nil {
		r.Errorf("handle what is left: %v", err)
	}
	drained := time.Now()
	if err := r.load.Look(ending, d); err != nil {
		r.Errorf("read everything: %v", err)
	}
	r.Logf("what was left took %s, reading everything %s", drained.Sub(began).Round(time.Second), time.Since(drained).Round(time.Second))
}

// fault notes what is done, in the history and for people; over is called when the run is whole again.
func (r *run) fault(what string) (over func()) {
	began := time.Now()
	end := r.log.Fault(what)
	return func() {
		end()
		r.Logf("%s: over after %s", what, time.Since(began).Round(100*time.Millisecond))
	}
}

// join adds a member.
func (r *run) join(path int) {
	bare := r.s.open(r, r.prefix, path)
	wrapped := r.log.Wrap(bare)
	ctx, cancel := context.WithCancel(r.Context())
	var parts sync.WaitGroup
	parts.Go(func() { r.load.Own(ctx, wrapped) })
	parts.Go(func() { r.load.Mirror(ctx, wrapped) })
	parts.Go(func() { r.load.Work(ctx, wrapped) })
	m := &member{path: path, leave: sync.OnceFunc(func() {
		cancel()
		parts.Wait()
		_ = wrapped.Close() // One that is cut off cannot say good-bye.
	})}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cast = append(r.cast, m)
	r.free = slices.DeleteFunc(r.free, func(p int) bool { return p == path })
}

// wait lets time go by: it is part of what is done, nothing is expected to have happened by then.
func (r *run) wait(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-r.Context().Done():
	}
}

func keep(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if _, err := io.Copy(out, in); err != nil {
		t.Error(err)
	}
}
