package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/bus/mem"
	"kemi.dev/kemi/cmd/kemi/config"
	"kemi.dev/kemi/internal/canary"
	"kemi.dev/kemi/internal/obs"
)

// tight is a broker whose disk gets short.
type tight struct {
	driver.Driver
	all bool
	why string
}

func (d *tight) Held() (bool, string) { return d.all, d.why }

func TestReadyNamesTheDiskAtOnce(t *testing.T) {
	d := &tight{Driver: mem.New()}
	a := &App{
		Config: &config.Config{}, registry: prometheus.NewRegistry(), data: filepath.Join(t.TempDir(), "data"),
		bus: bus.New(d, bus.Settings{}, obs.Scope{}), canary: canary.New(),
	}
	h := a.routes()
	for _, c := range []struct {
		open, all bool
		why       string
		code      int
		want      string
	}{
		{true, false, "", http.StatusOK, "Kemi is ready.\n"},
		{true, false, "the disk is short", http.StatusOK, "Kemi is ready, but the disk is short\n"},
		{true, true, "the disk is full", http.StatusServiceUnavailable, "Kemi is not ready: the disk is full\n"},
		{false, true, "the disk is full", http.StatusServiceUnavailable, "Kemi is not ready: the disk is full\n"},
		{false, false, "the disk is short", http.StatusServiceUnavailable, "Kemi is not ready: the disk is short; the bus was not reached yet\n"},
		{false, false, "", http.StatusServiceUnavailable, "Kemi is not ready: the bus was not reached yet\n"},
	} {
		d.all, d.why = c.all, c.why
		a.open.Store(c.open)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/-/ready", strings.NewReader("")))
		if w.Code != c.code || w.Body.String() != c.want {
			t.Errorf("open %v, all %v, %q: %d %q, want %d %q", c.open, c.all, c.why, w.Code, w.Body.String(), c.code, c.want)
		}
	}
}

// ill is a broker that knows why it is not reached.
type ill struct {
	driver.Driver
	why error
}

func (d *ill) Health() error                                        { return d.why }
func (d *ill) Inspect(context.Context, string) (driver.Info, error) { return driver.Info{}, d.why }

// The first attempt to open the bus may take 30 s: what is known before that is said, too.
func TestReadyKnowsWhyWhileTheFirstAttemptIsUnderWay(t *testing.T) {
	d := &ill{mem.New(), errors.New("no broker answers: connection refused")}
	a := &App{bus: bus.New(d, bus.Settings{}, obs.Scope{})}
	if ok, why := a.Ready(); ok || why != "the bus was not reached yet: no broker answers: connection refused" {
		t.Errorf("got %v, %q", ok, why)
	}
	tried := errors.New("open the bus: refused")
	a.waits.Store(&tried)
	if ok, why := a.Ready(); ok || why != "the bus was not reached yet: open the bus: refused" {
		t.Errorf("got %v, %q", ok, why)
	}
}

// While the disk is short nothing is polled, so the canary is late for it: the disk is what there is to do something about.
func TestReadyNamesTheDiskBeforeTheCanaryThatIsLateForIt(t *testing.T) {
	d := &tight{Driver: mem.New(), why: "the disk is short"}
	a := &App{
		Config: &config.Config{CanaryEvery: 10 * time.Second}, roles: []Role{RoleScheduler}, alone: true, bus: bus.New(d, bus.Settings{}, obs.Scope{}),
		canary: canary.New(canary.StageSchedule),
	}
	a.open.Store(true)
	a.canary.Mark(canary.StageSchedule, time.Now().Add(-15*time.Minute))
	if ok, why := a.Ready(); ok || !strings.HasPrefix(why, "the disk is short; the newest trip of the canary is 15m") {
		t.Errorf("got %v, %q", ok, why)
	}
}

// full is a broker whose dead.v1 takes nothing while it is full.
type full struct {
	driver.Driver
	is atomic.Bool
}

func (d *full) Publish(ctx context.Context, records []driver.Record, fence *driver.Fence) error {
	if d.is.Load() && len(records) > 0 && records[0].Topic == bus.TopicDead {
		return fmt.Errorf("%w: it takes 300 bytes", driver.ErrTooLarge)
	}
	return d.Driver.Publish(ctx, records, fence)
}

// idle takes everything.
type idle struct{}

func (idle) Handle(context.Context, []bus.Message[event.Command]) error { return nil }
func (idle) Tick(context.Context, time.Time) error                      { return nil }

// A group that cannot put away what it cannot handle does nothing more: people are told, as of a bus that is away.
func TestReadyNamesAGroupThatStandsStillBehindDeadLetters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &full{Driver: mem.New()}
		d.is.Store(true)
		a := &App{Config: &config.Config{}, registry: prometheus.NewRegistry(), bus: bus.New(d, bus.Settings{}, obs.Scope{}), canary: canary.New()}
		defer a.bus.Close()
		a.open.Store(true)
		h := a.routes()
		must := func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		}
		must(a.bus.Open(t.Context()))
		must(d.Publish(t.Context(), []driver.Record{{Topic: "commands.v1", Value: []byte("garbage")}}, nil))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- bus.Own(ctx, a.bus, "cmdb", bus.Options{}, func(context.Context, *bus.Ownership) (bus.Handler[event.Command], error) { return idle{}, nil })
		}()
		ask := func(path string) string {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
			return fmt.Sprint(w.Code, " ", w.Body.String())
		}
		look := func(after time.Duration, ready, metric string) {
			t.Helper()
			time.Sleep(after)
			if got := ask("/-/ready"); !strings.HasPrefix(got, ready) {
				t.Errorf("ready says %q, want %q", got, ready)
			}
			if got := ask("/metrics"); !strings.Contains(got, "\nkemi_bus_standing_still "+metric+"\n") {
				t.Errorf("want kemi_bus_standing_still %s in %s", metric, got)
			}
		}
		look(5*time.Second, "200 Kemi is ready.", "0")
		look(25*time.Second, "503 Kemi is not ready: the group cmdb stands still in partition 0 of commands.v1: dead.v1 has not taken what cannot be handled for ", "1")
		if got := ask("/-/ready"); !strings.Contains(got, "it takes 300 bytes") {
			t.Errorf("ready does not say why: %q", got)
		} else if !strings.Contains(got, "--max-msg-size") || !strings.Contains(got, "max.message.bytes") {
			t.Errorf("ready does not say what to raise: %q", got)
		}
		d.is.Store(false)
		look(15*time.Second, "200 Kemi is ready.", "0")
		// Who is stopped meanwhile is not waited for.
		d.is.Store(true)
		must(d.Publish(t.Context(), []driver.Record{{Topic: "commands.v1", Value: []byte("garbage")}}, nil))
		look(30*time.Second, "503 ", "1")
		cancel()
		must(<-ended)
		look(2*time.Minute, "200 ", "0")
		// Who publishes what cannot be stored, again and again, does not get on either.
		large := &event.Command{Kind: event.AcceptShrink, Subject: strings.Repeat("x", 2<<20), At: time.Now()}
		for range 4 {
			if err := a.bus.Publish(t.Context(), large); err == nil {
				t.Fatal("it was stored")
			}
			time.Sleep(5 * time.Second)
		}
		look(0, "503 Kemi is not ready: whoever publishes on commands.v1 stands still: dead.v1 has not taken", "1")
	})
}

// sulking is a broker that takes topics and then lets nobody read them.
type sulking struct{ driver.Driver }

var errSulking = errors.New("nobody leads the stream")

func (sulking) Subscribe(context.Context, driver.Subscription) (driver.Feed, error) {
	return nil, errSulking
}
func (sulking) Health() error { return errSulking }

func (sulking) Inspect(context.Context, string) (driver.Info, error) {
	return driver.Info{}, errSulking
}

// Why the bus is not there yet is said where people look, not in the log alone; and whoever stops Kemi need not wait.
func TestReadySaysWhyTheBusIsNotThereYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &App{
			Config: &config.Config{}, bus: bus.New(sulking{mem.New()}, bus.Settings{Installation: "here"}, obs.Scope{}), canary: canary.New(),
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- a.carry(ctx, make(chan struct{})) }()
		time.Sleep(time.Minute)
		if ok, why := a.Ready(); ok || !strings.HasPrefix(why, "the bus was not reached yet: ") || !strings.Contains(why, errSulking.Error()) {
			t.Errorf("ready says %q", why)
		}
		begun := time.Now()
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if took := time.Since(begun); took > time.Second {
			t.Errorf("it took %s to stop", took)
		}
	})
}
