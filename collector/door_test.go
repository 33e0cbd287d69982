package collector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/bus/mem"
	"kemi.dev/kemi/collector/poller"
	"kemi.dev/kemi/internal/canary"
	"kemi.dev/kemi/internal/conf"
	"kemi.dev/kemi/internal/obs"
)

// scripted is a poller that takes its time and answers as the target's name begins.
type scripted struct {
	mu    sync.Mutex
	polls []*event.Job
}

func (s *scripted) Poll(ctx context.Context, j *event.Job) *event.Reading {
	s.mu.Lock()
	s.polls = append(s.polls, j)
	s.mu.Unlock()
	r := event.ReadingFor(j)
	r.Started = time.Now()
	takes, status := 5*time.Millisecond, event.StatusOK
	switch {
	case strings.HasPrefix(j.Target, "dead"):
		if takes, status = 4*time.Second, event.StatusTimeout; poller.Probing(ctx) {
			takes = 2 * time.Second
		}
	case strings.HasPrefix(j.Target, "slow"):
		takes = 3 * time.Second
	case strings.HasPrefix(j.Target, "hung"):
		takes = time.Hour
	case strings.HasPrefix(j.Target, "panics with"):
		panic("the poller broke at " + j.Target)
	case strings.HasPrefix(j.Target, "panics at"):
		var none []string
		none[len(j.Target)] = j.Target // A place in the code, not a text.
	case strings.HasPrefix(j.Target, "panic"):
		panic("the poller broke")
	case strings.HasPrefix(j.Target, "askew"):
		r.Tables = []event.Table{{Name: "askew", Rows: 2, Columns: []event.Column{{Name: "x", Kind: event.Gauge, Gauges: []float64{1}}}}}
	case strings.HasPrefix(j.Target, "even"): // It becomes small.
		r.Tables = []event.Table{{Name: "even", Rows: 1, Columns: []event.Column{{Name: "x", Kind: event.Text, Texts: []string{strings.Repeat("x", 2<<20)}}}}}
	case strings.HasPrefix(j.Target, "huge"):
		r.Tables = []event.Table{{Name: "huge", Rows: 1, Columns: []event.Column{{Name: "x", Kind: event.Text, Texts: []string{noise(2 << 20)}}}}}
	}
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		status = event.StatusTimeout
	}
	r.Status, r.Duration = status, time.Since(r.Started)
	return r
}

// noise is text that does not compress.
func noise(n int) string {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range b {
		b[i] = byte(' ' + r.IntN(90))
	}
	return string(b)
}

func (s *scripted) Spec(conf.Node) (json.RawMessage, conf.Problems) { return nil, nil }

func (s *scripted) count(target string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, j := range s.polls {
		if j.Target == target {
			n++
		}
	}
	return n
}

// house is a room with a scripted poller on a bus in memory.
type house struct {
	room     *Room
	bus      *bus.Bus
	driver   *flaky
	poller   *scripted
	stop     func()
	mu       sync.Mutex
	readings []*event.Reading
}

// flaky is a broker that refuses readings while it is told to.
type flaky struct {
	driver.Driver
	mu   sync.Mutex
	fail bool
	said map[string][]event.Status // by target, also what the broker folds
}

func (f *flaky) Publish(ctx context.Context, records []driver.Record, fence *driver.Fence) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail && records[0].Topic == "readings.v1" {
		return errors.New("the broker is away")
	}
	for _, r := range records {
		var reading event.Reading
		if r.Topic == "readings.v1" && reading.Decode(r.Value) == nil {
			if f.said == nil {
				f.said = map[string][]event.Status{}
			}
			f.said[reading.Target] = append(f.said[reading.Target], reading.Status)
		}
	}
	return f.Driver.Publish(ctx, records, fence)
}

func (f *flaky) set(fail bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = fail
}

// open builds the house; it must be closed by stop, within the bubble.
func open(t *testing.T, o Options) *house {
	t.Helper()
	h := &house{poller: &scripted{}, driver: &flaky{Driver: mem.New()}}
	zones := o.Zones
	h.bus = bus.New(h.driver, bus.Settings{Zones: zones}, obs.Scope{})
	o.Bus = h.bus
	var problems conf.Problems
	h.room, problems = New(o)
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	h.room.pollers["scripted"] = h.poller
	if err := h.bus.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() {
		if err := h.room.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	group.Go(func() {
		err := bus.Follow(ctx, h.bus, bus.From{}, func(m bus.Message[event.Reading]) error {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.readings = append(h.readings, m.Event)
			return nil
		}, nil)
		if err != nil {
			t.Error(err)
		}
	})
	h.stop = func() {
		cancel()
		group.Wait()
		h.bus.Close()
	}
	return h
}

// of gives the readings of a target so far.
func (h *house) of(target string) (all []*event.Reading) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range h.readings {
		if r.Target == target {
			all = append(all, r)
		}
	}
	return all
}

// due makes a job that is due now and for ten seconds.
func due(target string) *event.Job {
	now := time.Now()
	return &event.Job{
		Target: target, Check: "check", Kind: "scripted", Slot: now, Deadline: now.Add(10 * time.Second),
		Interval: 10 * time.Second, Cause: event.CauseSchedule,
	}
}

func (h *house) say(t *testing.T, jobs ...*event.Job) {
	t.Helper()
	for _, j := range jobs {
		if err := h.bus.Publish(t.Context(), j); err != nil {
			t.Fatal(err)
		}
	}
}

func TestEveryJobBecomesOneReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracker := canary.New(canary.StageCollect)
		h := open(t, Options{Zones: []string{"default", "dmz"}, Canary: tracker})
		defer h.stop()
		abroad, lateJob, unknown, bird := due("abroad"), due("late"), due("unknown"), due(event.CanaryTarget)
		abroad.Zone, unknown.Kind, bird.Kind = "dmz", "scriptd", event.CanaryClass
		lateJob.Deadline = time.Now()
		h.say(t, due("live"), abroad, lateJob, unknown, bird, due("dead"), due("panic"), due("panic2"), due("huge"), due("even"), due("askew"))
		time.Sleep(9 * time.Second)
		synctest.Wait()
		for target, want := range map[string]struct {
			status  event.Status
			message string
		}{
			"live": {event.StatusOK, ""}, "abroad": {event.StatusOK, ""}, "late": {event.StatusLate, "past its deadline"},
			"unknown": {event.StatusError, `no poller of kind "scriptd"`}, event.CanaryTarget: {event.StatusOK, ""},
			"dead": {event.StatusTimeout, ""}, "panic": {event.StatusError, "the poller panicked: the poller broke"},
			"panic2": {event.StatusError, "panicked"}, "huge": {event.StatusError, "too large for the bus"}, "even": {event.StatusOK, ""},
			"askew": {event.StatusError, "encode reading of askew"},
		} {
			got := h.of(target)
			if len(got) != 1 || got[0].Status != want.status || !strings.Contains(got[0].Message, want.message) {
				t.Errorf("%s: got %d readings, %+v; want one with %s, %s", target, len(got), got, want.status, want.message)
			}
		}
		if h.poller.count("late") != 0 {
			t.Error("a late job was polled")
		}
		if slot, _ := tracker.Newest(); !slot.Equal(bird.Slot.UTC().Truncate(time.Millisecond)) {
			t.Errorf("the canary passed at %s, want %s", slot, bird.Slot)
		}
		if n := testutil.ToFloat64(h.room.metrics.panics.WithLabelValues("scripted")); n != 2 {
			t.Errorf("%v panics were counted", n)
		}
	})
}

func TestAJobThatComesTwiceIsPolledOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, Options{})
		defer h.stop()
		j := due("a")
		for range 3 { // Under different identities on the bus: as two schedulers that do not know of each other.
			if err := h.driver.Driver.Publish(t.Context(), []driver.Record{{Topic: "jobs.v1.default", Key: "a", Value: encoded(t, j)}}, nil); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n := h.poller.count("a"); n != 1 || len(h.of("a")) != 1 {
			t.Errorf("%d polls, %d readings", n, len(h.of("a")))
		}
		if n := testutil.ToFloat64(h.room.metrics.repeated.WithLabelValues()); n != 2 {
			t.Errorf("%v repetitions were counted", n)
		}
	})
}

// A poll may take for long: its job stays in hand, and has its one outcome also when the bus is away at its end.
func TestAJobThatTakesLongStaysInHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, Options{})
		defer h.stop()
		j := due("hung")
		const long = 90 * time.Second
		j.Deadline = j.Slot.Add(long)
		h.say(t, j)
		time.Sleep(long - time.Second)
		h.driver.set(true) // What is tried again may be overtaken.
		time.Sleep(2 * time.Second)
		h.driver.set(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := h.of("hung"); len(got) != 1 || got[0].Status != event.StatusTimeout || h.poller.count("hung") != 1 {
			t.Errorf("%d polls, readings %+v; want one that was not answered", h.poller.count("hung"), got)
		}
		if said := h.driver.said["hung"]; len(said) != 1 || said[0] != event.StatusTimeout {
			t.Errorf("said to the bus: %v; want the one outcome", said)
		}
		if n := testutil.ToFloat64(h.room.metrics.repeated.WithLabelValues()); n != 0 {
			t.Errorf("the job was handed over %v times more", n)
		}
	})
}

// A panic is said with its stack once for each place in the code, whatever it says of itself.
func TestAPanicIsSaidOnceForEachPlace(t *testing.T) {
	var said strings.Builder
	r, problems := New(Options{Scope: obs.New(slog.New(slog.NewTextHandler(&said, nil)), prometheus.NewRegistry())})
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	r.pollers["scripted"] = &scripted{}
	for i := range 10 {
		for _, name := range []string{"panics with", "panics at"} {
			j := due(fmt.Sprint(name, " ", i))
			if got := r.Poll(t.Context(), j); got.Status != event.StatusError || !strings.Contains(got.Message, "panicked") {
				t.Fatalf("%s, %s", got.Status, got.Message)
			}
		}
	}
	if n := strings.Count(said.String(), "poller panicked"); n != 2 || !strings.Contains(said.String(), "door_test.go") {
		t.Errorf("%d panics were said: %s", n, said.String())
	}
}

func encoded(t *testing.T, j *event.Job) []byte {
	t.Helper()
	data, err := j.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestAReadingIsKeptWhileTheBrokerIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, Options{})
		defer h.stop()
		h.driver.set(true)
		h.say(t, due("a"))
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if len(h.of("a")) != 0 {
			t.Fatal("the broker took a reading while it was away")
		}
		h.driver.set(false)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := h.of("a"); len(got) != 1 || got[0].Status != event.StatusOK || h.poller.count("a") != 1 {
			t.Errorf("%d polls, readings %+v", h.poller.count("a"), got)
		}
	})
}

func TestADeadTargetIsReportedEachSlotWithItsHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, Options{})
		defer h.stop()
		for range 6 {
			h.say(t, due("dead"))
			time.Sleep(10 * time.Second)
		}
		synctest.Wait()
		got := h.of("dead")
		if len(got) != 6 {
			t.Fatalf("%d readings of six slots", len(got))
		}
		for i, r := range got {
			if r.Status != event.StatusTimeout || strings.Contains(r.Message, "backing off since") != (i >= breakAfter) {
				t.Errorf("slot %d: %s, %q", i, r.Status, r.Message)
			}
		}
		if want := "6 failures"; !strings.Contains(got[5].Message, want) || got[5].Duration > got[0].Duration/2 {
			t.Errorf("the last took %s with %q", got[5].Duration, got[5].Message)
		}
		verify := due("dead")
		verify.Cause, verify.AskedBy = event.CauseVerify, "incident"
		h.say(t, verify)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if r := h.of("dead")[6]; r.Duration != 4*time.Second || r.AskedBy != "incident" {
			t.Errorf("a verification took %s: it was made cheap", r.Duration)
		}
	})
}

func TestPollWaitsForItsTurnAndIsNotPublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, Options{})
		defer h.stop()
		h.say(t, due("slow"))
		time.Sleep(time.Second)
		j := due("slow")
		j.Cause = event.CauseManual
		begun := time.Now()
		r := h.room.Poll(t.Context(), j)
		if took := time.Since(begun); r.Status != event.StatusOK || took != 5*time.Second {
			t.Errorf("%s after %s, want 2 s for its turn and 3 s for the poll", r.Status, took)
		}
		synctest.Wait()
		if n := len(h.of("slow")); n != 1 {
			t.Errorf("%d readings on the bus, want that of the schedule alone", n)
		}
	})
}

// 500 targets, of which 75 are dead and 75 answer after three seconds, with far fewer places than they would take: the
// others keep their slots.
func TestDeadAndSlowTargetsDelayNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const targets, bad, interval, slots = 500, 150, 10 * time.Second, 12
		h := open(t, Options{MaxInFlight: 60})
		defer h.stop()
		begin := time.Now()
		for slot := range slots {
			for i := range targets {
				name := fmt.Sprintf("live%d", i)
				switch {
				case i < bad/2:
					name = fmt.Sprintf("dead%d", i)
				case i < bad:
					name = fmt.Sprintf("slow%d", i)
				}
				// Spread over the interval as a scheduler does, but the bad ones first and close together.
				phase := time.Duration(i) * interval / targets / 2
				if wait := time.Until(begin.Add(time.Duration(slot)*interval + phase)); wait > 0 {
					time.Sleep(wait)
				}
				h.say(t, due(name))
			}
		}
		time.Sleep(2 * interval)
		synctest.Wait()
		var delays []time.Duration
		outcomes := 0
		h.mu.Lock()
		for _, r := range h.readings {
			outcomes++
			if strings.HasPrefix(r.Target, "live") {
				delays = append(delays, r.Started.Sub(r.Slot))
				if r.Status != event.StatusOK {
					t.Errorf("%s: %s, %s", r.Target, r.Status, r.Message)
				}
			}
		}
		h.mu.Unlock()
		if outcomes != targets*slots {
			t.Errorf("%d outcomes of %d jobs", outcomes, targets*slots)
		}
		slices.Sort(delays)
		// The first slots are worst, when nobody knows yet who is dead: they count too.
		if p99 := delays[len(delays)*99/100]; p99 > time.Second {
			t.Errorf("live targets start %s late at the 99th percentile", p99)
		}
	})
}

func TestJobsInHandAreGivenBackWhenTheRoomStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, Options{})
		h.say(t, due("slow"))
		time.Sleep(time.Second)
		before := time.Now()
		h.stop()
		if took := time.Since(before); took > time.Second {
			t.Errorf("stopping took %s", took)
		}
		if n := len(h.of("slow")); n != 0 {
			t.Errorf("%d readings of a poll that was called off", n)
		}
	})
}
