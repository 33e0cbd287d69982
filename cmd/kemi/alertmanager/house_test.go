package alertmanager_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"kemi.dev/kemi/alerting"
	"kemi.dev/kemi/alerting/hush"
	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/bus/mem"
	"kemi.dev/kemi/cmd/kemi/alertmanager"
	"kemi.dev/kemi/cmd/kemi/view"
	"kemi.dev/kemi/internal/conf"
	"kemi.dev/kemi/internal/obs"
	"kemi.dev/kemi/processors/alert"
)

// house is the API over a bus in memory, with the processors that make alerts of findings.
type house struct {
	t     testing.TB
	b     *bus.Bus
	model *view.Model
	srv   *httptest.Server
}

const quiet = `
receivers: {box: {inbox: {}}, chat: {inbox: {}}}
teams: {network: {receiver: chat}, default: {receiver: box}}
`

// serve makes a house of a configuration and targets.
func serve(t testing.TB, yaml string, targets ...*event.Target) *house {
	t.Helper()
	h := build(t, plan{yaml: yaml}, targets...)
	<-h.model.Ready()
	return h
}

// plan is what a house is like.
type plan struct {
	yaml   string
	limits alertmanager.Config
	// deaf: nobody makes alerts of findings.
	deaf bool
	// broker, if given, is what the bus is over.
	broker driver.Driver
	// begin, if given, is what the read model waits for before it reads.
	begin <-chan struct{}
}

// build makes a house.
func build(t testing.TB, pl plan, targets ...*event.Target) *house {
	t.Helper()
	var c struct {
		Receivers, Teams   map[string]conf.Node
		Route, Maintenance conf.Node
		InhibitRules       conf.Node `yaml:"inhibit_rules"`
		TimeIntervals      conf.Node `yaml:"time_intervals"`
	}
	nodes, problems := conf.Parse("kemi.yaml", []byte(pl.yaml))
	if err := append(problems, nodes[0].Into(&c)...).Err(); err != nil {
		t.Fatal(err)
	}
	if pl.broker == nil {
		pl.broker = mem.New()
	}
	h := &house{t: t, b: bus.New(pl.broker, bus.Settings{}, obs.Scope{})}
	if err := h.b.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	told, problems := alerting.New(alerting.Options{
		Bus: h.b, Receivers: c.Receivers, Teams: c.Teams, Route: c.Route,
		Holds: hush.Config{Maintenance: c.Maintenance, InhibitRules: c.InhibitRules, TimeIntervals: c.TimeIntervals},
	})
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	room, err := alert.New(alert.Options{Bus: h.b})
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range targets {
		target.Version = target.ComputeVersion()
		if err := h.b.Publish(t.Context(), target); err != nil {
			t.Fatal(err)
		}
	}
	h.model = view.New(h.b)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	rooms := []func(context.Context) error{func(ctx context.Context) error {
		if pl.begin != nil {
			<-pl.begin
		}
		return h.model.Run(ctx)
	}}
	if !pl.deaf {
		rooms = append(rooms, room.Run)
	}
	for _, run := range rooms {
		running.Go(func() {
			if err := run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	h.srv = httptest.NewServer(alertmanager.New(alertmanager.Options{Bus: h.b, Model: h.model, Told: told, Route: c.Route, Limits: pl.limits, Version: "0.4 (test)", Started: time.Now()}))
	t.Cleanup(func() {
		h.srv.Close()
		cancel()
		running.Wait()
		h.b.Close()
	})
	return h
}

// do sends a request and returns the answer's code and body.
func (h *house) do(method, path, body string) (int, string) {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), method, h.srv.URL+alertmanager.Prefix+path, bytes.NewReader([]byte(body)))
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "tester/1 (of tests)")
	resp, err := h.srv.Client().Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

// want sends a request that has to succeed, and reads the answer into v unless that is nil.
func (h *house) want(method, path, body string, v any) {
	h.t.Helper()
	code, text := h.do(method, path, body)
	if code != http.StatusOK {
		h.t.Fatalf("%s %s: %d %s", method, path, code, text)
	}
	if v != nil {
		if err := json.Unmarshal([]byte(text), v); err != nil {
			h.t.Fatalf("%s %s: %v in %s", method, path, err, text)
		}
	}
}

// alertWord is an alert as a client of Alertmanager reads it.
type alertWord struct {
	Labels, Annotations         map[string]string
	StartsAt, EndsAt, UpdatedAt time.Time
	Fingerprint, GeneratorURL   string
	Receivers                   []struct{ Name string }
	Status                      struct {
		State                            string
		SilencedBy, InhibitedBy, MutedBy []string
	}
}

// alerts lists the alerts that a query selects.
func (h *house) alerts(query ...string) (all []alertWord) {
	h.t.Helper()
	h.want("GET", "/alerts?"+params(query...), "", &all)
	return all
}

// params makes a query of names and values.
func params(pairs ...string) string {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		q.Add(pairs[i], pairs[i+1])
	}
	return q.Encode()
}

// names lists the alertnames of alerts.
func names(all []alertWord) (out []string) {
	for _, a := range all {
		out = append(out, a.Labels["alertname"])
	}
	return out
}

// post sends alerts and waits until the model has n that fire.
func (h *house) post(n int, body string) {
	h.t.Helper()
	h.want("POST", "/alerts", body, nil)
	h.await(n)
}

// await waits until n alerts fire.
func (h *house) await(n int) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), 10*time.Second)
	defer cancel()
	got := 0
	if !h.model.Await(ctx, func(s *view.State) bool {
		got = len(s.Alerts(view.Filter{State: "firing"}))
		return got == n
	}) {
		h.t.Fatalf("%d alerts fire, not %d", got, n)
	}
}

// stored lists the findings on the bus.
func (h *house) stored() (all []*event.Finding) {
	h.t.Helper()
	ctx, cancel := context.WithCancel(h.t.Context())
	defer cancel()
	var once sync.Once
	err := bus.Follow(ctx, h.b, bus.From{Time: time.Unix(1, 0)}, func(m bus.Message[event.Finding]) error {
		all = append(all, m.Event)
		return nil
	}, func() { once.Do(cancel) })
	if err != nil && ctx.Err() == nil {
		h.t.Fatal(err)
	}
	return all
}
