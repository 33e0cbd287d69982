package app

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

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
