package app

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/driver"
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
		{false, false, "the disk is short", http.StatusServiceUnavailable, "Kemi is not ready: the bus was not reached yet; the disk is short\n"},
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
