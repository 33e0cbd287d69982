package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kemi.dev/kemi/alerting/notify"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/conf"
)

var update = flag.Bool("update", false, "write the golden payloads")

func page(kind event.PageKind) *event.Page {
	began := time.Date(2026, 11, 21, 22, 0, 0, 0, time.UTC)
	i := &event.Incident{
		ID: "incident-1", Domain: "default", State: event.IncidentOpen, Kind: event.IncidentDown, Team: "net", Cause: "core-1", Severity: "critical",
		Title: "core-1 (switch) is down: 2 targets behind it are unreachable (2 servers)",
		Alerts: []event.IncidentAlert{
			{
				ID: "a2", Name: "LinkDown", Target: "core-1", State: event.AlertFiring, Severity: "critical", Summary: "uplink is down", Value: 97.5, Threshold: "> 90", StartsAt: began.Add(time.Second),
				Description: "Look at its console.", Runbook: "https://wiki.example/core", Labels: event.LabelsOf(map[string]string{"site": "dc1", "alertname": "LinkDown"}),
			},
		},
		Changes: []event.Change{{At: began.Add(-time.Hour), Text: "label rack r1 became r2"}},
		Firing:  3, Suppressed: map[string]int{"server": 2}, SuppressedTotal: 2, OpenedAt: began, Updated: began.Add(5 * time.Second),
		Reason: event.Reason{Code: "cause-down", Causes: []string{"finding-1"}},
	}
	p := &event.Page{
		ID: "page-1", Incident: i.ID, Domain: "default", Team: "net", Receiver: "hook", Kind: kind, DedupKey: "dedup-1", Title: i.Title,
		Text: "two lines\nof text", Snapshot: i, Created: began.Add(5 * time.Second), Updated: began.Add(5 * time.Second), Reason: i.Reason,
	}
	if kind == event.PageResolved {
		i.State, i.ResolvedAt = event.IncidentResolved, began.Add(time.Minute)
		i.Alerts[0].State = event.AlertResolved
	}
	return p
}

// The payload is Alertmanager's version 4, to the letter, with our own object beside it.
func TestPayloadIsAlertmanagersVersion4(t *testing.T) {
	unwatched := page(event.PageFiring)
	unwatched.Snapshot.Alerts = []event.IncidentAlert{{ID: "a9", Name: "TargetDown", Target: "srv-1", State: event.AlertFiring, StartsAt: unwatched.Snapshot.OpenedAt}}
	many := page(event.PageFiring)
	many.Snapshot.Kind, many.Snapshot.Firing = event.IncidentOwn, 31
	gathered := func(cause string) *event.Page {
		p := page(event.PageFiring)
		p.Snapshot.Kind, p.Snapshot.Cause, p.Snapshot.Alerts[0].Target = event.IncidentSimilar, cause, "vm-1"
		return p
	}
	nameless := gathered(event.CauseNoTarget + "net/Watchdog")
	nameless.Snapshot.Kind, nameless.Snapshot.Alerts[0].Name, nameless.Snapshot.Alerts[0].Target = event.IncidentOwn, "Watchdog", ""
	for name, p := range map[string]*event.Page{
		"similar": gathered(event.CauseSimilar("net", "vm")), "behind": gathered(event.CauseBehind("net", "core-1")), "no-target": nameless,
		"firing": page(event.PageFiring), "resolved": page(event.PageResolved), "update": page(event.PageUpdate), "cause-without-alert": unwatched, "truncated": many,
	} {
		t.Run(name, func(t *testing.T) {
			body, err := json.MarshalIndent(payloadOf(p, "hook", notify.Env{
				ExternalURL: "https://kemi.example", AckURL: func(p *event.Page) string { return "https://kemi.example/ack/" + p.ID },
			}), "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			body = append(body, '\n')
			file := "testdata/" + name + ".json"
			if *update {
				if err := os.MkdirAll("testdata", 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, body, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), string(body)); d != "" {
				t.Error(d)
			}
		})
	}
}

func hook(t *testing.T, url string, change ...func(*Config)) notify.Notifier {
	t.Helper()
	c := Default()
	c.URL = conf.NewSecret(url)
	for _, f := range change {
		f(&c)
	}
	n, err := New("hook", c, notify.Env{})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestRequestCarriesKeysAndCredentials(t *testing.T) {
	var got *http.Request
	var body []byte
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		_, _ = io.WriteString(w, "thank\n  you")
	}))
	defer srv.Close()
	n := hook(t, srv.URL+"/in?team=net", func(c *Config) {
		c.BearerToken = conf.NewSecret("s3cret")
		c.Headers = map[string]conf.Secret{"X-Room": conf.NewSecret("7")}
	})
	response, err := n.Notify(t.Context(), page(event.PageFiring))
	if err != nil || response != "200 OK thank you" {
		t.Fatalf("got %q, %v", response, err)
	}
	want := map[string]string{
		"Content-Type": "application/json", "Idempotency-Key": "page-1", "X-Kemi-Dedup-Key": "dedup-1", "Authorization": "Bearer s3cret",
		"X-Room": "7", "User-Agent": "Kemi",
	}
	for name, value := range want {
		if got.Header.Get(name) != value {
			t.Errorf("%s is %q; want %q", name, got.Header.Get(name), value)
		}
	}
	var sent payload
	if err := json.Unmarshal(body, &sent); err != nil || got.Method != "POST" || got.RequestURI != "/in?team=net" || sent.Kemi.Page != "page-1" {
		t.Errorf("sent %s %s with %s, %v", got.Method, got.RequestURI, body, err)
	}
}

// What is worth trying again is tried again; what is refused is not; nobody is led elsewhere.
func TestAnswersDecideWhetherToTryAgain(t *testing.T) {
	elsewhere := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var code int
		if _, err := fmt.Sscanf(r.URL.Path, "/%d", &code); err != nil {
			elsewhere++
			return
		}
		if code == 301 || code == 307 {
			w.Header().Set("Location", "/elsewhere")
		}
		if after := r.URL.Query().Get("after"); after != "" {
			w.Header().Set("Retry-After", after)
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, strings.Repeat("long answer ", 1000))
	}))
	defer srv.Close()
	for _, c := range []struct {
		path      string
		ok        bool
		permanent bool
		after     time.Duration
	}{
		{path: "/200", ok: true},
		{path: "/202", ok: true},
		{path: "/204", ok: true},
		{path: "/301", permanent: true},
		{path: "/307", permanent: true},
		{path: "/400", permanent: true},
		{path: "/401", permanent: true},
		{path: "/404", permanent: true},
		{path: "/422", permanent: true},
		{path: "/408"},
		{path: "/429"},
		{path: "/429?after=17", after: 17 * time.Second},
		{path: "/500"},
		{path: "/502"},
		{path: "/503?after=3600", after: time.Hour},
		{path: "/503?after=-5"},
		{path: "/503?after=soon"},
		{path: "/503?after=99999999", after: 24 * time.Hour},
	} {
		t.Run(c.path, func(t *testing.T) {
			response, err := hook(t, srv.URL+c.path).Notify(t.Context(), page(event.PageFiring))
			if (err == nil) != c.ok || notify.IsPermanent(err) != c.permanent || notify.RetryIn(err) != c.after {
				t.Errorf("got %v, permanent %v, after %s", err, notify.IsPermanent(err), notify.RetryIn(err))
			}
			if len(response) > 600 {
				t.Errorf("kept %d bytes of the answer", len(response))
			}
		})
	}
	if elsewhere > 0 {
		t.Error("a redirect was followed")
	}
}

// Resets, silence and refusal are worth another try, and the error tells no secret.
func TestTroubleOnTheWayIsTriedAgainAndTellsNoSecret(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			_ = c.(*net.TCPConn).SetLinger(0)
			_ = c.Close() // A reset.
		}
	}()
	quit := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-quit:
		case <-r.Context().Done():
		}
	}))
	defer silent.Close()
	defer close(quit)
	gone := httptest.NewServer(nil)
	gone.Close()
	for name, base := range map[string]string{"reset": "http://" + listener.Addr().String(), "silent": silent.URL, "gone": gone.URL} {
		t.Run(name, func(t *testing.T) {
			n := hook(t, base+"/T0KEN?key=T0KEN", func(c *Config) {
				c.Timeout, c.BearerToken = 100*time.Millisecond, conf.NewSecret("T0KEN")
			})
			_, err := n.Notify(t.Context(), page(event.PageFiring))
			if err == nil || notify.IsPermanent(err) {
				t.Fatalf("got %v; want an error that is worth another try", err)
			}
			if strings.Contains(err.Error(), "T0KEN") {
				t.Errorf("the error tells a secret: %v", err)
			}
			if name == "silent" && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// A configuration is not shown in what is printed of it.
func TestConfigPrintsNoSecret(t *testing.T) {
	c := Default()
	c.URL, c.BearerToken = conf.NewSecret("http://x/T0KEN"), conf.NewSecret("T0KEN")
	c.Headers = map[string]conf.Secret{"K": conf.NewSecret("T0KEN")}
	var out bytes.Buffer
	fmt.Fprintf(&out, "%v %+v %#v", c, c, c)
	if err := json.NewEncoder(&out).Encode(c); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "T0KEN") {
		t.Error(out.String())
	}
}

// The fingerprint is the one Prometheus computes.
func TestFingerprintIsPrometheuss(t *testing.T) {
	if got := fingerprint(map[string]string{}); got != "cbf29ce484222325" {
		t.Errorf("of no labels: %s", got)
	}
}

// Nobody folds unless it is said: what comes twice is marked.
func TestAWebhookFoldsWhenItIsSaid(t *testing.T) {
	for _, folds := range []bool{false, true} {
		c := Default()
		c.URL, c.Folds = conf.NewSecret("http://127.0.0.1:1/"), folds
		w, err := New("hook", c, notify.Env{})
		if err != nil || w.Dedups() != folds {
			t.Errorf("folds: %v: %v, %v", folds, w.Dedups(), err)
		}
	}
}
