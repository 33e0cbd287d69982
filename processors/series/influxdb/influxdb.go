package influxdb

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	influxdb2 "github.com/influxdata/influxdb-client-go/v2"
	"github.com/influxdata/influxdb-client-go/v2/api"
	influxhttp "github.com/influxdata/influxdb-client-go/v2/api/http"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/conf"
	"kemi.dev/kemi/internal/obs"
	"kemi.dev/kemi/internal/pause"
	"kemi.dev/kemi/processors/series/sink"
)

// Options of a Sink.
type Options struct {
	Config Config
	Scope  obs.Scope
}

// Sink writes to one bucket.
type Sink struct {
	conf   Config
	scope  obs.Scope
	client influxdb2.Client
	write  api.WriteAPIBlocking
	gate   gate
}

// The pauses that all writers of the sink make together.
const (
	refusedPause = 30 * time.Second // after 401 and 403: a person must act, and no server likes to be asked on
	longestPause = 5 * time.Minute  // whatever a Retry-After says
)

// New makes a sink; it does not speak to the server.
func New(opts Options) *Sink {
	c := opts.Config
	s := &Sink{conf: c, scope: opts.Scope.For("processors/series/" + c.Name)}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 16, // The partitions write at once.
		IdleConnTimeout: time.Minute, TLSHandshakeTimeout: 10 * time.Second,
	}
	client := &http.Client{Timeout: c.Timeout, Transport: authorized{transport, c.Token}}
	s.client = influxdb2.NewClientWithOptions(strings.TrimRight(c.URL, "/"), "", influxdb2.DefaultOptions().
		SetHTTPClient(client).SetPrecision(time.Millisecond).SetUseGZip(c.Gzip).SetApplicationName("kemi"))
	s.write = s.client.WriteAPIBlocking(c.Org, c.Bucket)
	return s
}

// authorized adds the token to every request, as it is at that moment: the token's file may have been written anew.
type authorized struct {
	next  http.RoundTripper
	token conf.Secret
}

func (a authorized) RoundTrip(r *http.Request) (*http.Response, error) {
	if a.token.IsZero() {
		return a.next.RoundTrip(r)
	}
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Token "+a.token.Reveal())
	return a.next.RoundTrip(r)
}

// Start implements sink.Sink: there is nothing to do before the first Write.
func (s *Sink) Start(context.Context) error { return nil }

// Rewind implements sink.Sink: what the server accepted is its own.
func (s *Sink) Rewind() (time.Time, bool) { return time.Time{}, false }

// Writer implements sink.Sink.
func (s *Sink) Writer(int) sink.Writer { return &writer{s: s, enc: newEncoder()} }

// Close implements sink.Sink.
func (s *Sink) Close() error {
	s.client.Close()
	return nil
}

// writer writes one partition.
type writer struct {
	s   *Sink
	enc *encoder
}

// Write implements sink.Writer.
func (w *writer) Write(ctx context.Context, batch []*event.Reading) (int, error) {
	total, lines, samples := 0, 0, 0
	w.enc.reset()
	for _, r := range batch {
		l, v, err := w.enc.add(r)
		if err != nil {
			return 0, sink.Poison(fmt.Errorf("encode the reading of %s: %w", r.Target, err))
		}
		lines, samples = lines+l, samples+v
		if lines >= w.s.conf.Lines {
			if err := w.send(ctx); err != nil {
				return 0, err
			}
			total, lines, samples = total+samples, 0, 0
			w.enc.reset()
		}
	}
	if lines == 0 {
		return total, nil
	}
	return total + samples, w.send(ctx)
}

// Tick implements sink.Writer.
func (w *writer) Tick(time.Time) {}

func (w *writer) send(ctx context.Context) error {
	if err := w.s.gate.wait(ctx); err != nil {
		return err
	}
	err := w.s.write.WriteRecord(ctx, string(w.enc.enc.Bytes()))
	if err == nil {
		w.s.gate.reset()
		return nil
	}
	return w.s.judge(err, time.Now())
}

// judge decides what an error of the server means.
func (s *Sink) judge(err error, now time.Time) error {
	err = fmt.Errorf("write to %s: %w", s.conf.URL, err)
	var answer *influxhttp.Error
	if !errors.As(err, &answer) || answer.StatusCode == 0 {
		return err // The connection: the bus tries again.
	}
	switch answer.StatusCode {
	case http.StatusBadRequest, http.StatusUnprocessableEntity, http.StatusRequestEntityTooLarge:
		return sink.Poison(err)
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		reloaded := s.conf.Token.Reload()
		if s.gate.shut(now.Add(refusedPause)) {
			s.scope.Log().Error("the server refuses us: nothing is written until token, org and bucket are right; trying again every "+refusedPause.String(),
				"url", s.conf.URL, "org", s.conf.Org, "bucket", s.conf.Bucket, "status", answer.StatusCode, "err", err, "token_file", reloaded)
		}
		return err
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		if pause := retryAfter(answer, now); pause > 0 {
			s.gate.shut(now.Add(min(pause, longestPause)))
		}
		return err
	default:
		return err
	}
}

// retryAfter is how long the server wants to be left alone, 0 when it does not say. Source: RFC 9110, 10.2.3.
func retryAfter(answer *influxhttp.Error, now time.Time) time.Duration {
	text := answer.Header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return at.Sub(now)
	}
	return 0
}

// gate holds all writers of a sink back until a time.
type gate struct {
	mu    sync.Mutex
	until time.Time
}

// shut closes the gate; it reports whether it was open.
func (g *gate) shut(until time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	was := time.Now().After(g.until)
	if until.After(g.until) {
		g.until = until
	}
	return was
}

func (g *gate) reset() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.until = time.Time{}
}

// wait blocks while the gate is shut.
func (g *gate) wait(ctx context.Context) error {
	g.mu.Lock()
	left := time.Until(g.until)
	g.mu.Unlock()
	if left <= 0 {
		return nil
	}
	if !pause.For(ctx, left) {
		return ctx.Err()
	}
	return nil
}
