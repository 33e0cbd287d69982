package series_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/bus/mem"
	"kemi.dev/kemi/internal/obs"
	"kemi.dev/kemi/processors/series"
	"kemi.dev/kemi/processors/series/embedded"
	"kemi.dev/kemi/processors/series/sink"
)

// shelf is a sink that keeps what it is given, unless refuse says otherwise.
type shelf struct {
	mu     sync.Mutex
	got    []string
	writes int
	refuse func(batch []*event.Reading) error
}

func (s *shelf) Start(context.Context) error       { return nil }
func (s *shelf) Writer(int) sink.Writer            { return s }
func (s *shelf) Rewind() (since time.Time, b bool) { return }
func (s *shelf) Close() error                      { return nil }
func (s *shelf) Tick(time.Time)                    {}

func (s *shelf) Write(_ context.Context, batch []*event.Reading) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	if s.refuse != nil {
		if err := s.refuse(batch); err != nil {
			return 0, err
		}
	}
	for _, r := range batch {
		s.got = append(s.got, r.JobID)
	}
	return len(batch), nil
}

func (s *shelf) has() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{}, s.got...)
}

func newBus(t *testing.T, scope obs.Scope) *bus.Bus {
	t.Helper()
	b := bus.New(mem.New(), bus.Settings{}, scope)
	if err := b.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// publish puts n readings of one target on the bus and returns their identities.
func publish(t *testing.T, b *bus.Bus, from, n int) []string {
	t.Helper()
	var ids []string
	for i := from; i < from+n; i++ {
		at := time.Now().Add(time.Duration(i) * time.Millisecond)
		r := &event.Reading{
			JobID: fmt.Sprintf("job-%03d", i), Target: "tor-1", Check: "snmp", Status: event.StatusOK, Slot: at, Started: at,
			Labels: event.LabelsOf(map[string]string{"target": "tor-1"}),
		}
		ids = append(ids, r.JobID)
		if err := b.Publish(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	return ids
}

// run runs the door of a sink until stop is called.
func run(t *testing.T, b *bus.Bus, name string, s sink.Sink, scope obs.Scope) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() {
		gone <- series.New(series.Options{Bus: b, Name: name, Sink: s, Scope: scope}).Run(ctx)
	}()
	return func() {
		cancel()
		if err := <-gone; err != nil {
			t.Errorf("the door of %s: %v", name, err)
		}
	}
}

func TestASinkThatIsDownCostsTheOthersNothingAndCatchesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		scope := obs.New(nil, reg)
		b := newBus(t, scope)
		down := true
		good, bad := &shelf{}, &shelf{}
		bad.refuse = func([]*event.Reading) error {
			if down {
				return errors.New("connection refused")
			}
			return nil
		}
		defer run(t, b, "good", good, scope)()
		defer run(t, b, "bad", bad, scope)()
		want := publish(t, b, 0, 300)
		time.Sleep(10 * time.Minute) // In the bubble's time.
		if diff := cmp.Diff(want, good.has()); diff != "" {
			t.Errorf("the good sink: %s", diff)
		}
		if got := bad.has(); len(got) != 0 {
			t.Errorf("the sink that is down has %d", len(got))
		}
		lag := testutil.ToFloat64(scope.Gauge("kemi_series_lag_seconds", "Age of the oldest reading that a sink was given and has not stored yet; of the newest stored when there is none.", "sink", "partition").WithLabelValues("bad", fmt.Sprint(bus.Partition("tor-1", 8))))
		if lag < 500 {
			t.Errorf("the lag of the sink that is down is %v s after ten minutes", lag)
		}
		bad.mu.Lock()
		down = false
		bad.mu.Unlock()
		time.Sleep(time.Minute)
		if diff := cmp.Diff(want, bad.has()); diff != "" {
			t.Errorf("the sink that was down: %s", diff)
		}
	})
}

func TestASinkGoesOnWhereItStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, obs.Scope{})
		s := &shelf{}
		stop := run(t, b, "s", s, obs.Scope{})
		want := publish(t, b, 0, 5)
		synctest.Wait()
		stop()
		want = append(want, publish(t, b, 5, 5)...)
		stop = run(t, b, "s", s, obs.Scope{})
		synctest.Wait()
		stop()
		if diff := cmp.Diff(want, s.has()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestPoisonIsFoundAmongItsNeighboursAndBuriedAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, obs.Scope{})
		failures := 3 // Between the poison, the server has its bad moments too.
		s := &shelf{}
		s.refuse = func(batch []*event.Reading) error {
			for _, r := range batch {
				if r.JobID == "job-037" || r.JobID == "job-038" || r.JobID == "job-099" {
					return sink.Poison(errors.New("field type conflict"))
				}
			}
			if failures--; failures >= 0 {
				return errors.New("connection reset")
			}
			return nil
		}
		want := publish(t, b, 0, 128)
		defer run(t, b, "s", s, obs.Scope{})()
		time.Sleep(time.Minute)
		got := map[string]int{}
		for _, id := range s.has() {
			got[id]++
		}
		for _, id := range want {
			n := 1
			if id == "job-037" || id == "job-038" || id == "job-099" {
				n = 0
			}
			if got[id] != n {
				t.Errorf("%s was written %d times, want %d", id, got[id], n)
			}
		}
		if s.writes > 80 {
			t.Errorf("%d writes to find three among 128", s.writes)
		}
		var dead []string
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			_ = b.Tail(ctx, bus.TopicDead, bus.From{}, func(batch []bus.Raw) error {
				for _, r := range batch {
					if !strings.Contains(r.Headers["kemi-dead-reason"], "field type conflict") || r.Headers["kemi-dead-group"] != "series-s" {
						t.Errorf("headers %v", r.Headers)
					}
					e, err := event.Parse("readings.v1", r.Value)
					if err != nil {
						t.Error(err)
						continue
					}
					dead = append(dead, e.Identity())
				}
				return nil
			})
		}()
		synctest.Wait()
		cancel()
		if diff := cmp.Diff([]string{"job-037", "job-038", "job-099"}, dead); diff != "" {
			t.Errorf("on dead.v1: %s", diff)
		}
	})
}

func TestASinkThatCannotStartEndsTheDoor(t *testing.T) {
	b := newBus(t, obs.Scope{})
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := embedded.New(embedded.Options{Config: embedded.Default(), Dir: filepath.Join(file, "series")})
	err := series.New(series.Options{Bus: b, Name: "embedded", Sink: s}).Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "embedded") || !strings.Contains(err.Error(), file) {
		t.Fatalf("got %v, want an error that names the sink and the directory", err)
	}
}

// The disk lost the tail of the store, the bus had it acknowledged: after the unclean stop it is read again.
func TestWhatALossOfPowerTookFromTheStoreComesBackFromTheBus(t *testing.T) {
	b := newBus(t, obs.Scope{})
	dir := t.TempDir()
	begin := time.Now()
	whole := &shelf{}
	stop := run(t, b, "embedded", whole, obs.Scope{}) // It acknowledges everything in the store's name.
	publish(t, b, 0, 20)
	eventually(t, func() bool { return len(whole.has()) == 20 })
	stop()

	s := embedded.New(embedded.Options{Config: embedded.Default(), Dir: dir})
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	tail := &event.Reading{JobID: "job-000", Target: "tor-1", Check: "snmp", Status: event.StatusOK, Slot: begin, Started: begin, Labels: event.LabelsOf(map[string]string{"target": "tor-1"})}
	if _, err := s.Writer(0).Write(t.Context(), []*event.Reading{tail}); err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(t.TempDir(), "left")
	if err := os.CopyFS(left, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s = embedded.New(embedded.Options{Config: embedded.Default(), Dir: left})
	stop = run(t, b, "embedded", s, obs.Scope{})
	defer stop()
	eventually(t, func() bool {
		got, err := s.Query(t.Context(), `count_over_time(up[1h])`, time.Now().Add(time.Minute))
		return err == nil && len(got) == 1 && got[0].Points[0].V >= 20
	})
}

// eventually polls until ok, for ten seconds.
func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for !ok() {
		select {
		case <-again.C:
		case <-deadline.C:
			t.Fatal("did not come true within 10 s")
		}
	}
}
