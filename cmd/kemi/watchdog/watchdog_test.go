package watchdog

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"kemi.dev/kemi/internal/conf"
	"kemi.dev/kemi/internal/obs"
)

// far is a watchdog elsewhere that answers with a code, and counts.
type far struct {
	code  atomic.Int32
	asked atomic.Int32
}

func (f *far) RoundTrip(r *http.Request) (*http.Response, error) {
	f.asked.Add(1)
	w := httptest.NewRecorder()
	w.WriteHeader(int(f.code.Load()))
	return w.Result(), r.Context().Err()
}

func TestItFallsSilentWhenAStageStopsAndSpeaksWhenItGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		var why atomic.Pointer[string]
		f := &far{}
		f.code.Store(200)
		c := Default()
		c.URL = conf.NewSecret("https://hc.example/secret-uuid")
		reg := prometheus.NewRegistry()
		d := New(c, func() (bool, string) { s := why.Load(); return s == nil, deref(s) }, obs.New(slog.New(slog.NewTextHandler(&log, nil)), reg))
		d.client.Transport = f
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- d.Run(ctx) }()
		pings := func(during time.Duration) int32 {
			before := f.asked.Load()
			pauseFor(during)
			return f.asked.Load() - before
		}
		pauseFor(time.Second)
		if n := pings(10 * time.Minute); n != 10 {
			t.Errorf("%d pings in ten minutes", n)
		}
		stopped := "the newest trip of the canary did not get past rule"
		why.Store(&stopped)
		if n := pings(time.Hour); n != 0 {
			t.Errorf("%d pings while a stage stands still", n)
		}
		why.Store(nil)
		if n := pings(15 * time.Second); n != 1 {
			t.Errorf("%d pings soon after it goes on", n)
		}
		f.code.Store(500)
		if n := pings(5 * time.Minute); n < 20 {
			t.Errorf("%d attempts while the watchdog is ill: more often is meant", n)
		}
		other := ""
		why.Store(&other)
		before := testutil.ToFloat64(d.pings.WithLabelValues("held"))
		if n := pings(time.Hour); n != 0 || testutil.ToFloat64(d.pings.WithLabelValues("held")) != before {
			t.Errorf("%d pings for another process", n)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if text := log.String(); strings.Contains(text, "secret-uuid") || !strings.Contains(text, stopped) || !strings.Contains(text, "500") {
			t.Errorf("logged:\n%s", text)
		}
		if n := testutil.ToFloat64(d.pings.WithLabelValues("ok")); n != 12 { // At once, in ten minutes, and once it went on.
			t.Errorf("%v pings were taken", n)
		}
	})
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// pauseFor lets virtual time pass.
func pauseFor(d time.Duration) { <-time.After(d) }

func TestErrorsDoNotNameTheAddress(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	address := srv.URL + "/secret-uuid"
	for _, closed := range []bool{false, true} {
		if closed {
			srv.Close()
		}
		c := Default()
		c.URL = conf.NewSecret(address)
		d := New(c, func() (bool, string) { return true, "" }, obs.Scope{})
		if err := d.ping(t.Context()); err == nil || strings.Contains(err.Error(), "secret-uuid") {
			t.Errorf("closed %v: %v", closed, err)
		}
	}
}

func TestMistakesInItsConfigurationAreSaid(t *testing.T) {
	for text, want := range map[string]string{
		"{every: 1m}": "no address", "{url: nonsense}": "no address", "{url: \"https://hc.example/x\", every: 1ms}": "below a second",
		"{url: \"https://hc.example/x\", evry: 1m}": "unknown key", "{url: \"https://hc.example/x\"}": "",
	} {
		nodes, problems := conf.Parse("kemi.yaml", []byte(text))
		c := Default()
		if len(problems) == 0 {
			problems = nodes[0].Into(&c)
		}
		if got := conf.Problems(problems).Error(); (want == "") != (len(problems) == 0) || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
		if want == "" && c.Every != time.Minute {
			t.Errorf("every %s", c.Every)
		}
	}
}
