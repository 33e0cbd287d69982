package influxdb_test

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/conf"
	"kemi.dev/kemi/internal/obs"
	"kemi.dev/kemi/processors/series/influxdb"
	"kemi.dev/kemi/processors/series/sink"
)

func newSink(t *testing.T, url string, change ...func(*influxdb.Options)) *influxdb.Sink {
	t.Helper()
	opts := influxdb.Options{Config: influxdb.Default()}
	opts.Config.URL, opts.Config.Org, opts.Config.Bucket = url, "kemi", "b"
	opts.Config.Token = conf.NewSecret("s3cret")
	for _, c := range change {
		c(&opts)
	}
	s := influxdb.New(opts)
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestAReadingBecomesLines(t *testing.T) {
	srv := newServer(t)
	n, err := newSink(t, srv.URL).Writer(0).Write(t.Context(), []*event.Reading{reading(0)})
	if err != nil {
		t.Fatal(err)
	}
	if n != 5 {
		t.Errorf("wrote %d samples, want 5: up, duration, two octets, one load", n)
	}
	own := func(more ...string) map[string]string {
		m := map[string]string{"target": "tor 1", "class": "switch", "site": "dc1", "check": "own"}
		for i := 0; i < len(more); i += 2 {
			m[more[i]] = more[i+1]
		}
		return m
	}
	want := []point{
		{"kemi_poll", own("exported_check", "snmp"), map[string]any{"up": 1.0, "duration_seconds": 0.25, "status": "ok"}, start},
		{"inter,faces", own("ifName", "Gi1/0=1", "exported_site", "x"), map[string]any{"octets": float64(1 << 40), "load": 0.5, "alias": `say "hi"`}, start},
		{"inter,faces", own("ifName", `back\ `), map[string]any{"octets": 7.0, "alias": "\uFFFD"}, start},
	}
	if diff := cmp.Diff(want, srv.stored); diff != "" {
		t.Error(diff)
	}
	if srv.tokens[0] != "Token s3cret" {
		t.Errorf("authorization %q", srv.tokens[0])
	}
}

func TestAFailedPollIsToldAndALateOneIsNot(t *testing.T) {
	srv := newServer(t)
	down, late := reading(0), reading(1)
	down.Status, down.Tables, late.Status = event.StatusTimeout, nil, event.StatusLate
	if _, err := newSink(t, srv.URL).Writer(0).Write(t.Context(), []*event.Reading{down, late}); err != nil {
		t.Fatal(err)
	}
	if len(srv.stored) != 1 || srv.stored[0].Fields["up"] != 0.0 || srv.stored[0].Fields["status"] != "timeout" {
		t.Errorf("stored %v", srv.stored)
	}
}

func TestAPollThatFailedKeepsWhatItFound(t *testing.T) {
	srv := newServer(t)
	r := reading(0)
	r.Status = event.StatusError
	n, err := newSink(t, srv.URL).Writer(0).Write(t.Context(), []*event.Reading{r})
	if err != nil || n != 5 {
		t.Fatalf("wrote %d samples, %v; want 5", n, err)
	}
	if len(srv.stored) != 3 || srv.stored[0].Fields["up"] != 0.0 || srv.stored[0].Fields["status"] != "error" || srv.stored[1].Fields["load"] != 0.5 {
		t.Errorf("stored %v", srv.stored)
	}
}

func TestRequestsAreOfBoundedSize(t *testing.T) {
	srv := newServer(t)
	s := newSink(t, srv.URL, func(o *influxdb.Options) { o.Config.Lines = 10 })
	var batch []*event.Reading
	for i := range 20 {
		batch = append(batch, reading(i))
	}
	n, err := s.Writer(0).Write(t.Context(), batch)
	if err != nil || n != 100 {
		t.Fatalf("wrote %d, %v; want 100", n, err)
	}
	if srv.requests != 5 || len(srv.stored) != 60 {
		t.Errorf("%d requests with %d lines, want 5 with 60", srv.requests, len(srv.stored))
	}
}

func TestWhatTheServersAnswersMean(t *testing.T) {
	for _, c := range []struct {
		status int
		poison bool
	}{
		{http.StatusBadRequest, true},
		{http.StatusUnprocessableEntity, true},
		{http.StatusRequestEntityTooLarge, true},
		{http.StatusInternalServerError, false},
		{http.StatusBadGateway, false},
		{http.StatusTooManyRequests, false},
		{http.StatusServiceUnavailable, false},
		{http.StatusUnauthorized, false},
		{0, false},
	} {
		srv := newServer(t)
		srv.answer = func(n int, _ []point) (int, string, map[string]string) {
			if n == 1 {
				return c.status, "no, because", nil
			}
			return http.StatusNoContent, "", nil
		}
		s := newSink(t, srv.URL)
		_, err := s.Writer(0).Write(t.Context(), []*event.Reading{reading(0)})
		if err == nil || sink.IsPoison(err) != c.poison {
			t.Errorf("status %d: %v, poison %t; want an error, poison %t", c.status, err, sink.IsPoison(err), c.poison)
			continue
		}
		if c.status != 0 && !strings.Contains(err.Error(), "no, because") {
			t.Errorf("status %d: %v does not say what the server said", c.status, err)
		}
		if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("status %d: the error shows the token: %v", c.status, err)
		}
		if c.status == http.StatusUnauthorized {
			continue // The next Write waits half a minute.
		}
		if n, err := s.Writer(0).Write(t.Context(), []*event.Reading{reading(0)}); err != nil || n != 5 {
			t.Errorf("status %d: the next write: %d, %v", c.status, n, err)
		}
	}
}

func TestRetryAfterHoldsAllWritersBack(t *testing.T) {
	srv := newServer(t)
	srv.answer = func(n int, _ []point) (int, string, map[string]string) {
		if n == 1 {
			return http.StatusServiceUnavailable, "busy", map[string]string{"Retry-After": "1"}
		}
		return http.StatusNoContent, "", nil
	}
	s := newSink(t, srv.URL)
	if _, err := s.Writer(0).Write(t.Context(), []*event.Reading{reading(0)}); err == nil {
		t.Fatal("want an error")
	}
	begin := time.Now()
	if _, err := s.Writer(1).Write(t.Context(), []*event.Reading{reading(0)}); err != nil {
		t.Fatal(err)
	}
	if waited := time.Since(begin); waited < 900*time.Millisecond {
		t.Errorf("waited %s, want about a second", waited)
	}
}

func TestARefusedTokenIsSaidLoudlyAndReadAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("old\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	token, err := conf.SecretFile(file)
	if err != nil {
		t.Fatal(err)
	}
	srv := newServer(t)
	srv.answer = func(int, []point) (int, string, map[string]string) {
		return http.StatusUnauthorized, "unauthorized access", nil
	}
	var log strings.Builder
	s := newSink(t, srv.URL, func(o *influxdb.Options) {
		o.Config.Token = token
		o.Scope = obs.New(slog.New(slog.NewTextHandler(&log, nil)), nil)
	})
	if err := os.WriteFile(file, []byte("new\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := s.Writer(0)
	if _, err := w.Write(t.Context(), []*event.Reading{reading(0)}); err == nil || sink.IsPoison(err) {
		t.Fatalf("got %v, want an error that is no poison", err)
	}
	if !strings.Contains(log.String(), "level=ERROR") || strings.Contains(log.String(), "old") || !strings.Contains(log.String(), "status=401") {
		t.Errorf("the log says %s", log.String())
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := w.Write(ctx, []*event.Reading{reading(0)}); err == nil {
		t.Error("the next write does not wait")
	}
	if srv.requests != 1 {
		t.Errorf("%d requests, want one and then a pause", srv.requests)
	}
	if token.Reveal() != "new" {
		t.Error("the token's file was not read again")
	}
}

func TestWhatIsWrongWithTheConfigurationIsSaid(t *testing.T) {
	for text, want := range map[string]string{
		"bucket: b":                                 "kemi.yaml:1:1: url is not the address of a server",
		"{url: 'ftp://x', bucket: b}":               "kemi.yaml:1:7: url is not the address",
		"{url: 'http://me:pw@x', bucket: b}":        "url holds a password",
		"url: http://127.0.0.1:8086":                "bucket is missing",
		"{url: 'http://x', bucket: b, name: A}":     "name is not made of",
		"{url: 'http://x', bucket: b, tokn: x}":     `"token"`,
		"{url: 'http://x', bucket: b, lines: 0}":    "lines is too small",
		"{url: 'http://x', bucket: b, timeout: 0s}": "timeout is too small",
	} {
		nodes, problems := conf.Parse("kemi.yaml", []byte(text))
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		c := influxdb.Default()
		if got := nodes[0].Into(&c).Error(); !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
