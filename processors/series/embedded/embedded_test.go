package embedded_test

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/canary"
	"kemi.dev/kemi/internal/obs"
	"kemi.dev/kemi/processors/series/embedded"
	"kemi.dev/kemi/processors/series/sink"
)

var start = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// store is a store under test, with a clock of its own.
type store struct {
	*embedded.Sink
	t   *testing.T
	w   sink.Writer
	reg *prometheus.Registry
	log *strings.Builder
}

func open(t *testing.T, dir string, change ...func(*embedded.Options)) *store {
	t.Helper()
	s := &store{t: t, reg: prometheus.NewRegistry(), log: &strings.Builder{}}
	log := slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelWarn}))
	opts := embedded.Options{
		Config: embedded.Default(), Dir: dir, Scope: obs.New(log, s.reg),
		Now: func() time.Time { return start.Add(time.Hour) },
	}
	for _, c := range change {
		c(&opts)
	}
	s.Sink = embedded.New(opts)
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	s.w = s.Writer(0)
	return s
}

func (s *store) write(readings ...*event.Reading) int {
	s.t.Helper()
	n, err := s.w.Write(s.t.Context(), readings)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// value is the value of an expression that has one, NaN when it has none.
func (s *store) value(expr string, at time.Duration) float64 {
	s.t.Helper()
	got, err := s.Query(s.t.Context(), expr, start.Add(at))
	if err != nil {
		s.t.Fatal(err)
	}
	switch len(got) {
	case 0:
		return math.NaN()
	case 1:
		return got[0].Points[0].V
	default:
		s.t.Fatalf("%s has %d series, want one: %v", expr, len(got), got)
		return 0
	}
}

func (s *store) expect(expr string, at time.Duration, want float64) {
	s.t.Helper()
	if got := s.value(expr, at); math.Abs(got-want) > 1e-6 || math.IsNaN(got) != math.IsNaN(want) {
		s.t.Errorf("%s at %s is %v, want %v", expr, at, got, want)
	}
}

// refused is how many samples were refused for a reason.
func (s *store) refused(reason string) float64 {
	families, err := s.reg.Gather()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "kemi_series_samples_refused_total" {
			for _, m := range f.Metric {
				for _, l := range m.Label {
					if l.GetName() == "reason" && l.GetValue() == reason {
						return m.Counter.GetValue()
					}
				}
			}
		}
	}
	return 0
}

// reading is what a switch says at a time: a counter for each value.
func reading(at time.Duration, counters ...uint64) *event.Reading {
	t := event.Table{Name: "interfaces", Rows: len(counters), Index: []event.IndexColumn{{Name: "ifIndex"}}}
	for i := range counters {
		t.Index[0].Values = append(t.Index[0].Values, fmt.Sprint(i+1))
	}
	t.Columns = []event.Column{{Name: "octets", Kind: event.Counter, Counters: counters}}
	return &event.Reading{
		JobID: fmt.Sprint(at), Target: "tor-1", Check: "snmp", Status: event.StatusOK, Slot: start.Add(at),
		Started: start.Add(at), Duration: 100 * time.Millisecond, Interval: 10 * time.Second, Tables: []event.Table{t},
		Labels: event.LabelsOf(map[string]string{"target": "tor-1", "class": "switch"}), Booted: start.Add(-1000 * time.Hour),
	}
}

func booted(r *event.Reading, at time.Duration) *event.Reading {
	r.Booted = start.Add(at)
	return r
}

func down(at time.Duration) *event.Reading {
	r := reading(at)
	r.Status, r.Tables, r.Booted = event.StatusTimeout, nil, time.Time{}
	return r
}

const sec = time.Second

func TestWhatIsWrittenCanBeAsked(t *testing.T) {
	s := open(t, t.TempDir())
	if n := s.write(reading(0, 10, 20), reading(10*sec, 30, 40)); n != 8 {
		t.Errorf("wrote %d samples, want 8", n)
	}
	s.expect(`octets{ifIndex="2", target="tor-1", class="switch"}`, 10*sec, 40)
	s.expect(`up{check="snmp"}`, 0, 1)
	s.expect(`kemi_poll_duration_seconds`, 10*sec, 0.1)
	s.expect(`sum(octets)`, 5*sec, 30)
	got, err := s.QueryRange(t.Context(), `octets{ifIndex="1"}`, start, start.Add(10*sec), 10*sec)
	if err != nil {
		t.Fatal(err)
	}
	want := []embedded.Series{{
		Labels: map[string]string{"__name__": "octets", "class": "switch", "ifIndex": "1", "target": "tor-1"},
		Points: []embedded.Point{{start.Local(), 10}, {start.Add(10 * sec).Local(), 30}},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestATargetThatIsDownHasNoOldValues(t *testing.T) {
	s := open(t, t.TempDir())
	s.write(reading(0, 10), down(10*sec))
	s.expect(`octets`, 9*sec, 10)
	s.expect(`octets`, 10*sec, math.NaN())
	s.expect(`up`, 10*sec, 0)
	s.write(reading(20*sec, 30))
	s.expect(`octets`, 20*sec, 30)
	s.expect(`increase(octets[21s]) * 20 / 21`, 20*sec, 20) // The gap takes nothing away.
}

func TestAPollThatFailedKeepsWhatItFound(t *testing.T) {
	s := open(t, t.TempDir())
	failed := reading(10*sec, 11)
	failed.Status = event.StatusError
	s.write(reading(0, 10, 20), failed)
	s.expect(`up{check="snmp"}`, 10*sec, 0)
	s.expect(`octets{ifIndex="1"}`, 10*sec, 11)
	s.expect(`octets{ifIndex="2"}`, 10*sec, math.NaN())
}

func TestWritingTwiceDoesNoHarm(t *testing.T) {
	s := open(t, t.TempDir())
	all := []*event.Reading{reading(0, 10), reading(10*sec, 20), down(20 * sec), reading(30*sec, 40)}
	s.write(all...)
	s.write(all...)
	s.w = s.Writer(0) // As after a restart.
	s.write(all...)
	s.expect(`count_over_time(octets[5m])`, 30*sec, 3)
	s.expect(`count_over_time(up[5m])`, 30*sec, 4)
	s.expect(`octets`, 25*sec, math.NaN())
	s.expect(`octets`, 30*sec, 40)
	if n := s.refused("too_old") + s.refused("duplicate"); n != 0 {
		t.Errorf("%v samples were refused, want none", n)
	}
}

func TestOldAndContradictingSamplesAreCountedAndNoError(t *testing.T) {
	s := open(t, t.TempDir())
	s.write(reading(50*time.Minute, 10))
	s.write(reading(49*time.Minute, 5)) // Within the window.
	s.expect(`octets`, 49*time.Minute, 5)
	s.write(reading(-7*time.Hour, 1))
	if n := s.refused("too_old"); n != 3 {
		t.Errorf("%v samples were too old, want 3", n)
	}
	s.write(reading(50*time.Minute, 11))
	s.expect(`octets`, 50*time.Minute, 10)
	if n := s.refused("duplicate"); n != 1 {
		t.Errorf("%v samples contradicted another, want 1", n)
	}
}

// While a backlog is caught up with, the partitions are hours apart.
func TestAPartitionThatIsHoursBehindLosesNothing(t *testing.T) {
	s := open(t, t.TempDir())
	other := reading(0, 10)
	other.Target, other.Labels = "tor-2", event.LabelsOf(map[string]string{"target": "tor-2"})
	s.write(other)
	behind := s.Writer(1)
	for at := -5 * time.Hour; at <= 0; at += 5 * time.Minute {
		if _, err := behind.Write(t.Context(), []*event.Reading{reading(at, uint64(at/sec+18000))}); err != nil {
			t.Fatal(err)
		}
	}
	s.expect(`count_over_time(octets{target="tor-1"}[6h])`, 0, 61)
	s.expect(`octets{target="tor-1"}`, -3*time.Hour, 7200)
}

func TestADevicesNaNIsNoStaleMarker(t *testing.T) {
	s := open(t, t.TempDir())
	r := reading(0)
	r.Tables[0] = event.Table{Name: "t", Rows: 1, Columns: []event.Column{{Name: "odd", Kind: event.Gauge, Gauges: []float64{math.Float64frombits(0x7ff0000000000002)}}}}
	s.write(r)
	s.expect(`count(odd)`, 0, 1)
}

func TestAReadingFromTheFutureDoesNotSpoilTheRest(t *testing.T) {
	s := open(t, t.TempDir())
	s.write(reading(48*time.Hour, 10))
	if n := s.refused("future"); n != 3 {
		t.Errorf("%v samples were refused, want 3", n)
	}
	s.write(reading(0, 10))
	s.expect(`octets`, 0, 10)
	if !strings.Contains(s.log.String(), "future") {
		t.Errorf("the log says nothing of it: %s", s.log)
	}
}

// The counters of a device that restarts begin at zero. Whether the next value is below or above the last one, rates
// count what came since, and never the whole counter.
func TestARebootIsNeverASpikeAndNothingIsLost(t *testing.T) {
	s := open(t, t.TempDir())
	s.write(reading(0, 1000, 100), reading(10*sec, 1010, 110))
	s.write(booted(reading(20*sec, 50, 190), 12*sec)) // The first fell, the second has overtaken itself.
	s.write(booted(reading(30*sec, 60, 200), 12*sec))
	for _, c := range []struct {
		index string
		want  float64
	}{{"1", 10 + 50 + 10}, {"2", 10 + 190 + 10}} {
		// A window begins behind its first second, and what lies before its first sample is extrapolated: taken back here.
		s.expect(`increase(octets{ifIndex="`+c.index+`"}[31s]) * 30 / 31`, 30*sec, c.want)
	}
	if v := s.value(`max_over_time(max(rate(octets[11s]))[30s:1s])`, 30*sec); v > 190/8.0+1 {
		t.Errorf("the highest rate is %v, want at most what the device counted since its boot", v)
	}
}

func TestAnAgentThatRestartsIsNoReboot(t *testing.T) {
	s := open(t, t.TempDir())
	s.write(reading(0, 1_000_000_000, 7), booted(reading(10*sec, 1_000_000_010, 8), 5*sec))
	s.expect(`increase(octets{ifIndex="1"}[11s]) * 10 / 11`, 10*sec, 10)
	s.expect(`count_over_time(octets{ifIndex="1"}[1m])`, 10*sec, 2)
}

func TestARebootWhileKemiWasAwayIsSeen(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	s.write(reading(0, 1000, 100), reading(10*sec, 1010, 110))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	s.write(booted(reading(60*sec, 50, 190), 40*sec), booted(reading(70*sec, 60, 200), 40*sec))
	s.expect(`count_over_time(octets{ifIndex="2"}[2m])`, 70*sec, 5)
	s.expect(`octets{ifIndex="2"}`, 41*sec, 0)
	s.expect(`resets(octets{ifIndex="2"}[2m])`, 70*sec, 1)

	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	s.write(booted(reading(80*sec, 70, 210), 40*sec)) // It booted before the last reading that is stored.
	s.expect(`count_over_time(octets{ifIndex="2"}[2m])`, 80*sec, 6)
}

// The store could not be asked, or the device did not answer yet: the question stays open until it has an answer.
func TestARebootWhileKemiWasAwayIsSeenByTheFirstReadingThatCanTell(t *testing.T) {
	for name, before := range map[string]func(*store, *event.Reading){
		"the first write failed": func(s *store, first *event.Reading) {
			ended, end := context.WithCancel(s.t.Context())
			end()
			if _, err := s.w.Write(ended, []*event.Reading{first}); err == nil {
				s.t.Fatal("written though its context had ended")
			}
		},
		"the first poll had no answer": func(s *store, _ *event.Reading) { s.write(down(50 * sec)) },
		"the first poll had no answer, and then it failed": func(s *store, first *event.Reading) {
			s.write(down(50 * sec))
			ended, end := context.WithCancel(s.t.Context())
			end()
			if _, err := s.w.Write(ended, []*event.Reading{first}); err == nil {
				s.t.Fatal("written though its context had ended")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir)
			s.write(reading(0, 1000, 100), reading(10*sec, 1010, 110))
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open(t, dir)
			first := booted(reading(60*sec, 50, 190), 40*sec)
			before(s, first)
			s.write(first, booted(reading(70*sec, 60, 200), 40*sec))
			s.expect(`octets{ifIndex="2"}`, 41*sec, 0)
			s.expect(`resets(octets{ifIndex="2"}[2m])`, 70*sec, 1)
			s.expect(`count_over_time(octets{ifIndex="2"}[2m])`, 70*sec, 5)
		})
	}
}

// The values of a poll that failed show as well that the device was seen since it booted.
func TestARebootIsSeenOnceAlsoWhenThePollsFailed(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	failed := booted(reading(20*sec, 900, 900), 15*sec)
	failed.Status = event.StatusError
	s.write(reading(0, 1000, 100), reading(10*sec, 1010, 110), failed)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	before := s.value(`count_over_time(octets{ifIndex="1"}[2m])`, 20*sec)
	s.write(booted(reading(60*sec, 50, 950), 14*sec)) // The boot is told a second off, and a counter has wrapped.
	s.expect(`count_over_time(octets{ifIndex="1"}[2m])`, 60*sec, before+1)
}

func TestNewSeriesBeyondTheLimitAreRefusedAndOldOnesStay(t *testing.T) {
	s := open(t, t.TempDir(), func(o *embedded.Options) { o.Config.MaxSeries = 4 })
	s.write(reading(0, 1, 2))
	s.write(reading(10*sec, 3, 4, 5, 6))
	s.expect(`count(octets)`, 10*sec, 2)
	s.expect(`sum(octets)`, 10*sec, 7)
	if n := s.refused("max_series"); n != 2 {
		t.Errorf("%v samples were refused, want 2", n)
	}
	if !strings.Contains(s.log.String(), "max_series") {
		t.Errorf("the log says nothing of it: %s", s.log)
	}
	other := s.Writer(1) // Another writer finds the series that are there.
	if _, err := other.Write(t.Context(), []*event.Reading{reading(20*sec, 7, 8, 9)}); err != nil {
		t.Fatal(err)
	}
	s.expect(`sum(octets{ifIndex=~"1|2"})`, 20*sec, 15)
}

func TestADirectoryBelongsToOneProcess(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	second := embedded.New(embedded.Options{Config: embedded.Default(), Dir: dir})
	err := second.Start(t.Context())
	if err == nil || !strings.Contains(err.Error(), "in use by another process") || !strings.Contains(err.Error(), dir) {
		t.Fatalf("got %v, want an error that names the directory and says that it is in use", err)
	}
}

func TestAfterAnUncleanStopTheLastMinutesAreReadAgain(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if _, ok := s.Rewind(); ok {
		t.Error("a new store wants to read again")
	}
	s.write(reading(0, 10))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	if _, ok := s.Rewind(); ok {
		t.Error("a store that was closed wants to read again")
	}
	s.write(reading(10*sec, 20))
	s = open(t, copyOf(t, dir)) // What a kill -9 leaves behind.
	since, ok := s.Rewind()
	if want := start.Add(10*sec - 5*time.Minute); !ok || !since.Equal(want) {
		t.Errorf("reads again since %v (%t), want %v", since, ok, want)
	}
	s.expect(`octets`, 10*sec, 20)
}

func TestTheCanaryIsMarkedWhenItsReadingIsStored(t *testing.T) {
	tracker := canary.New(canary.StageSeries)
	s := open(t, t.TempDir(), func(o *embedded.Options) { o.Canary = tracker })
	s.write(reading(0, 1))
	if at, _ := tracker.Newest(); !at.IsZero() {
		t.Errorf("marked at %v by another target", at)
	}
	r := reading(10 * sec)
	r.Target = event.CanaryTarget
	s.write(r)
	if at, _ := tracker.Newest(); !at.Equal(r.Slot) {
		t.Errorf("marked at %v, want the slot %v", at, r.Slot)
	}
}

func TestQueriesWaitForTheirTurn(t *testing.T) {
	s := open(t, t.TempDir())
	for i := range 30 {
		s.write(reading(time.Duration(i)*sec, make([]uint64, 20)...))
	}
	done := make(chan error, 60)
	for range cap(done) {
		go func() {
			_, err := s.QueryRange(t.Context(), `sum(rate(octets[20s]))`, start, start.Add(30*sec), sec)
			done <- err
		}()
	}
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestAClosedStoreSaysSo(t *testing.T) {
	s := embedded.New(embedded.Options{Config: embedded.Default(), Dir: t.TempDir()})
	if _, err := s.Query(t.Context(), "up", start); err == nil {
		t.Error("a store that was never opened answered")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestClosingEndsTheQueriesThatRun(t *testing.T) {
	s := open(t, t.TempDir())
	for i := range 60 {
		s.write(reading(time.Duration(i)*sec, make([]uint64, 100)...))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*sec)
	defer cancel()
	running := make(chan error, 1)
	go func() {
		_, err := s.QueryRange(ctx, `count_over_time(sum by (ifIndex) (rate(octets[1h]))[1h:1s])`, start, start.Add(time.Hour), sec)
		running <- err
	}()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-running; err == nil {
		t.Error("the query was answered, want it ended")
	}
}
