package cmdb_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/bus/mem"
	"kemi.dev/kemi/cmdb"
	"kemi.dev/kemi/internal/obs"
)

// site is a bus, files and a cmdb that reads them.
type site struct {
	t     *testing.T
	dir   string
	bus   *bus.Bus
	reg   *prometheus.Registry
	room  *cmdb.Room
	after map[int]int64 // the position on each partition of targets.v1 up to which messages were seen
}

func newSite(t *testing.T) *site {
	s := &site{t: t, dir: t.TempDir(), after: map[int]int64{}, bus: bus.New(mem.New(), bus.Settings{}, obs.Scope{})}
	if err := s.bus.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.bus.Close() })
	return s
}

func (s *site) start() (stop func()) {
	s.t.Helper()
	s.reg = prometheus.NewRegistry()
	o := options(s.t, s.dir, "- file: {path: targets.yaml}")
	o.Bus, o.Scope = s.bus, obs.New(nil, s.reg)
	room, problems := cmdb.New(o)
	if err := problems.Err(); err != nil {
		s.t.Fatal(err)
	}
	s.room = room
	ctx, cancel := context.WithCancel(s.t.Context())
	done := make(chan error)
	go func() { done <- room.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Errorf("Run: %v", err)
		}
	}
}

func (s *site) save(ids ...string) {
	s.t.Helper()
	var b strings.Builder
	b.WriteString("classes: {web: }\ntargets:\n")
	for _, id := range ids {
		id, address, has := strings.Cut(id, "=")
		if !has {
			address = "a"
		}
		fmt.Fprintf(&b, "- {id: %s, class: web, address: %s}\n", id, address)
	}
	if len(ids) == 0 {
		b.WriteString("  []\n")
	}
	save(s.t, filepath.Join(s.dir, "targets.yaml"), b.String())
}

// saw waits until exactly these messages came, in any order: the id of a target that was published, -id of one that
// was removed.
func (s *site) saw(within time.Duration, want ...string) {
	s.t.Helper()
	missing := map[string]bool{}
	for _, one := range want {
		missing[one] = true
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), within)
	defer cancel()
	enough := errors.New("enough")
	err := bus.Follow(ctx, s.bus, bus.From{}, func(m bus.Message[event.Target]) error {
		if m.Position <= s.after[m.Partition] {
			return nil
		}
		s.after[m.Partition] = m.Position
		id := m.Key
		if m.Removed() {
			id = "-" + id
		}
		if !missing[id] {
			return fmt.Errorf("%s was not expected", id)
		}
		delete(missing, id)
		if len(missing) == 0 {
			return enough
		}
		return nil
	}, nil)
	if !errors.Is(err, enough) {
		s.t.Fatalf("within %s there was no word of %v: %v", within, missing, err)
	}
}

// state waits until the source is in a state, and its message contains the words given.
func (s *site) state(want cmdb.State, words ...string) cmdb.SourceStatus {
	s.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(5 * time.Second)
	for {
		status := s.room.Status()
		if len(status) == 1 && status[0].State == want && strings.Contains(status[0].Message, strings.Join(words, " ")) {
			return status[0]
		}
		select {
		case <-tick.C:
		case <-deadline:
			s.t.Fatalf("the status is %+v, want %s %v", status, want, words)
		}
	}
}

func (s *site) metric(name string) float64 {
	s.t.Helper()
	families, err := s.reg.Gather()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && strings.Contains(m.String(), `"file:targets.yaml"`) {
				return m.GetGauge().GetValue()
			}
		}
	}
	s.t.Fatalf("there is no metric %s of the source", name)
	return 0
}

func TestAFileBecomesTargetsOnTheBus(t *testing.T) {
	s := newSite(t)
	s.save("a", "b")
	stop := s.start()
	s.saw(2*time.Second, event.CanaryTarget, "a", "b")
	s.save("a=elsewhere", "c")
	s.saw(2*time.Second, "a", "c", "-b")
	status := s.state(cmdb.StateOK)
	if status.Targets != 2 || status.Name != "file:targets.yaml" || s.metric("kemi_cmdb_targets") != 2 {
		t.Errorf("status %+v", status)
	}

	// Content with a mistake, and its end.
	save(t, filepath.Join(s.dir, "targets.yaml"), "classes: {web: }\ntargets: [{id: a, class: wob, address: a}]")
	status = s.state(cmdb.StateInvalid)
	if !strings.Contains(status.Message, `there is no class "wob"`) || len(status.Problems) != 1 || status.Targets != 2 {
		t.Errorf("status %+v", status)
	}
	if s.metric("kemi_cmdb_source_valid") != 0 {
		t.Error("kemi_cmdb_source_valid is not 0")
	}
	save(t, filepath.Join(s.dir, "targets.yaml"), "") // as by a full disk
	s.state(cmdb.StateInvalid, "the file has no targets")
	s.save("a=elsewhere", "c", "d")
	s.saw(2*time.Second, "d")
	s.state(cmdb.StateOK)
	if s.metric("kemi_cmdb_source_valid") != 1 {
		t.Error("kemi_cmdb_source_valid is not 1")
	}

	// While nobody looks one target goes, one comes, one changes.
	stop()
	s.save("a", "d", "e")
	stop = s.start()
	s.saw(2*time.Second, "a", "e", "-c")
	s.state(cmdb.StateOK)
	stop()
}

func TestAShrinkingFileIsHeldUntilACommand(t *testing.T) {
	s := newSite(t)
	s.save("a", "b", "c", "d", "e")
	stop := s.start()
	defer func() { stop() }()
	s.saw(2*time.Second, event.CanaryTarget, "a", "b", "c", "d", "e")
	agree := func(shrink string, at time.Time) {
		t.Helper()
		c := &event.Command{Kind: event.AcceptShrink, Subject: "file:targets.yaml", By: "jo", At: at, Args: map[string]string{cmdb.ArgShrink: shrink}}
		if err := s.bus.Publish(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	agree("", time.Now()) // To nothing: it must not count later.
	s.save("a")
	held := s.state(cmdb.StateHeld)
	if s.metric("kemi_cmdb_source_held") != 1 || s.metric("kemi_cmdb_source_valid") != 1 || len(held.Lost) != 4 || held.Targets != 5 {
		t.Errorf("status %+v", held)
	}
	agree("another", time.Now())
	agree("", held.Since.Add(-time.Second))
	// The next word comes after the two on the same topic, so these were ignored when it is carried out as the only one.
	s.save("a", "b", "c", "d")
	s.saw(2*time.Second, "-e")
	s.save()
	all := s.state(cmdb.StateHeld)
	if len(all.Lost) != 4 {
		t.Errorf("lost %v", all.Lost)
	}
	// A restart holds it too.
	stop()
	stop = s.start()
	again := s.state(cmdb.StateHeld)
	if again.Shrink != all.Shrink {
		t.Errorf("the same loss is %s, and %s after a restart", all.Shrink, again.Shrink)
	}
	agree(all.Shrink, time.Now())
	s.saw(2*time.Second, "-a", "-b", "-c", "-d")
	if status := s.state(cmdb.StateOK); status.Targets != 0 || s.metric("kemi_cmdb_source_held") != 0 {
		t.Errorf("status %+v", status)
	}
}

// A process that does not read the sources hears how they are from the one that does.
func TestOthersHearHowTheSourcesAre(t *testing.T) {
	s := newSite(t)
	s.save("a", "b")
	stop := s.start()
	defer stop()
	o := options(t, s.dir, "- file: {path: targets.yaml}")
	o.Bus = s.bus
	other, problems := cmdb.New(o)
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- other.Follow(ctx) }()
	hears := func(want cmdb.State) {
		t.Helper()
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		deadline := time.After(5 * time.Second)
		for {
			if heard := other.Shown(); len(heard) == 1 && heard[0].State == want && heard[0].Targets == 2 {
				return
			}
			select {
			case <-tick.C:
			case <-deadline:
				t.Fatalf("heard %+v, want %s", other.Shown(), want)
			}
		}
	}
	hears(cmdb.StateOK)
	save(t, filepath.Join(s.dir, "targets.yaml"), "targets: [")
	hears(cmdb.StateInvalid)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if len(s.room.Shown()) != 1 {
		t.Errorf("the one that reads them shows %+v", s.room.Shown())
	}
}

func TestRunSaysWhenTheBusIsGone(t *testing.T) {
	s := newSite(t)
	s.save("a")
	o := options(t, s.dir, "- file: {path: targets.yaml}")
	r, _ := cmdb.New(o)
	if err := r.Run(t.Context()); err == nil {
		t.Error("Run without a bus returned nil")
	}
	s.bus.Close()
	o.Bus = s.bus
	r, _ = cmdb.New(o)
	if err := r.Run(t.Context()); err == nil {
		t.Error("Run on a closed bus returned nil")
	}
}
