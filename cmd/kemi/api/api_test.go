package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/bus/mem"
	"kemi.dev/kemi/cmd/kemi/api"
	"kemi.dev/kemi/cmd/kemi/view"
	"kemi.dev/kemi/internal/obs"
)

// served is an API over a bus in memory on which some things have happened.
func served(t *testing.T) (*httptest.Server, *bus.Bus, *mem.Driver) {
	t.Helper()
	d := mem.New()
	b := bus.New(d, bus.Settings{}, obs.Scope{})
	if err := b.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC()
	target := &event.Target{ID: "core-1", Class: "switch", Team: "network", Updated: now}
	target.Version = target.ComputeVersion()
	if err := b.Publish(t.Context(), target,
		&event.Finding{Rule: event.RuleReachable, Target: "core-1", Domain: "default", Verdict: event.VerdictFiring, At: now, Since: now},
		&event.Alert{ID: "a1", Name: "TargetDown", Target: "core-1", Domain: "default", State: event.AlertFiring, Updated: now},
		&event.Alert{ID: "c1", Rule: event.RuleCanary, Target: event.CanaryTarget, Domain: "default", State: event.AlertResolved, Updated: now},
		&event.Incident{ID: "i1", Cause: "core-1", Domain: "default", State: event.IncidentOpen, OpenedAt: now},
		&event.Page{ID: "p1", Incident: "i1", Domain: "default", Stage: event.PageSent, Created: now, Updated: now},
	); err != nil {
		t.Fatal(err)
	}
	m := view.New(b)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	<-m.Ready()
	srv := httptest.NewServer(api.New(b, m, func() any { return map[string]bool{"ready": true} }))
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		b.Close()
	})
	return srv, b, d
}

func get(t *testing.T, srv *httptest.Server, path string) (int, string) {
	t.Helper()
	resp, err := http.Get(srv.URL + api.Prefix + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var b strings.Builder
	if _, err := bufio.NewReader(resp.Body).WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, b.String()
}

func TestWhatIsKnownIsListedAndShown(t *testing.T) {
	srv, _, _ := served(t)
	for path, want := range map[string]string{
		"/targets": `"id": "core-1"`, "/targets?state=down": `"health": "down"`, "/targets/core-1": `"class": "switch"`,
		"/alerts?state=firing": `"id": "a1"`, "/alerts/a1": "TargetDown", "/incidents": `"cause": "core-1"`, "/incidents/i1": `"state": "open"`,
		"/pages": `"stage": "sent"`, "/pages/p1": `"incident": "i1"`, "/status": `"ready": true`,
	} {
		if code, body := get(t, srv, path); code != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %d, lacks %s:\n%s", path, code, want, body)
		}
	}
	if _, body := get(t, srv, "/alerts"); strings.Contains(body, "c1") {
		t.Error("the canary is listed")
	}
	if _, body := get(t, srv, "/targets?class=vm"); strings.TrimSpace(body) != "[]" {
		t.Errorf("nothing is %q, want []", body)
	}
}

func TestMistakesAreAnsweredInWords(t *testing.T) {
	srv, _, _ := served(t)
	for path, want := range map[string]struct {
		code int
		text string
	}{
		"/targets/core-9":               {404, "no target"},
		"/targets?colour=red":           {400, "unknown parameter"},
		"/nothing":                      {404, "see docs/api.md"},
		"/topics/reading.v1/tail":       {404, "did you mean readings.v1"},
		"/topics/weather/tail":          {404, "there are again.v1, alerts.v1, commands.v1"},
		"/topics/alerts.v1/tail?from=x": {400, "write beginning"},
	} {
		code, body := get(t, srv, path)
		var said struct{ Error string }
		if err := json.Unmarshal([]byte(body), &said); err != nil || code != want.code || !strings.Contains(said.Error, want.text) {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	for body, want := range map[string]string{
		`{"kind":"dance","subject":"x"}`: "unknown command", `{"kind":"accept-shrink"}`: "no subject", `{"who":1}`: "unknown field", `hello`: "read command",
	} {
		resp, err := http.Post(srv.URL+api.Prefix+"/commands", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		var said struct{ Error string }
		if err := json.NewDecoder(resp.Body).Decode(&said); err != nil || resp.StatusCode != 400 || !strings.Contains(said.Error, want) {
			t.Errorf("%s: %d %q", body, resp.StatusCode, said.Error)
		}
		resp.Body.Close()
	}
}

func TestCommandsGoOnTheBusStampedHere(t *testing.T) {
	srv, b, _ := served(t)
	resp, err := http.Post(srv.URL+api.Prefix+"/commands", "application/json", strings.NewReader(`{"kind":"accept-shrink","subject":"file:x","by":"jo","at":"1999-01-01T00:00:00Z"}`))
	if err != nil || resp.StatusCode != http.StatusAccepted {
		t.Fatal(resp, err)
	}
	resp.Body.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err = bus.Follow(ctx, b, bus.From{}, func(m bus.Message[event.Command]) error {
		if m.Event.Subject != "file:x" || m.Event.By != "jo" || time.Since(m.Event.At) > time.Minute {
			t.Errorf("got %+v", m.Event)
		}
		cancel()
		return nil
	}, nil)
	if err != nil {
		t.Error(err)
	}
}

func TestTailStreamsWordsAndSaysWhatItCannotRead(t *testing.T) {
	srv, b, d := served(t)
	job := event.JobFor(&event.Target{ID: "core-1"}, event.Check{Name: "snmp", Kind: "snmp"}, time.Now(), time.Now(), 0, event.CauseSchedule, "")
	reading := event.ReadingFor(job)
	reading.Status = event.StatusTimeout
	if err := b.Publish(t.Context(), reading); err != nil {
		t.Fatal(err)
	}
	if err := d.Publish(t.Context(), []driver.Record{{Topic: "readings.v1", Key: "x", Value: []byte("noise")}}, nil); err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get(srv.URL + api.Prefix + "/topics/readings.v1/tail?from=5m")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	dec := json.NewDecoder(resp.Body)
	var readable, unreadable int
	for range 2 {
		var l api.Line
		if err := dec.Decode(&l); err != nil {
			t.Fatal(err)
		}
		switch {
		case l.Unreadable != "" && string(l.Bytes) == "noise":
			unreadable++
		case strings.Contains(string(l.Event), `"status":"timeout"`):
			readable++
		}
	}
	if readable != 1 || unreadable != 1 {
		t.Errorf("%d readable, %d unreadable", readable, unreadable)
	}
}
