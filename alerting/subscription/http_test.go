package subscription

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/bus/mem"
	"kemi.dev/kemi/internal/await"
	"kemi.dev/kemi/internal/conf"
	"kemi.dev/kemi/internal/journal"
	"kemi.dev/kemi/internal/obs"
)

// strict is an endpoint on the network that takes nothing that is not signed, new and a CloudEvent.
func strict(t *testing.T, secret string, got chan<- parcel) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = verify(secret, r.Header.Get, body, time.Now())
		}
		if err != nil || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/cloudevents+json" {
			t.Errorf("%s of %s: %v", r.Method, r.Header.Get("Content-Type"), err)
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		got <- parcel{r.Header.Get("webhook-id"), string(body), r.Header.Get("kemi-again")}
	}
}

func TestEveryTopicIsDeliveredByteForByteAndSigned(t *testing.T) {
	got := make(chan parcel, 100)
	srv := httptest.NewServer(strict(t, secretTwo, got))
	defer srv.Close()
	key := filepath.Join(t.TempDir(), "audit.key")
	write := func(text string) {
		if err := os.WriteFile(key, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(secretOne + "\n" + secretTwo + "\n")
	file, err := conf.SecretFile(key)
	if err != nil {
		t.Fatal(err)
	}
	c := subscribing(t, strings.Join(Names(), " "), func(c *Config) { c.URL, c.Secret = conf.NewSecret(srv.URL+"/hidden-path"), file })
	var log journal.Journal
	d := mem.New()
	scope := obs.New(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})), prometheus.NewRegistry())
	b := bus.New(d, bus.Settings{}, scope)
	if err := b.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	room, problems := New(Options{Bus: b, Subscriptions: map[string]Config{"audit": c}, Scope: scope})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() { over <- room.Run(ctx) }()
	await.Within(t, 20*time.Second, "all partitions have an owner", func(context.Context) error {
		if n := owned(t, b); n != 5*4+4 {
			return fmt.Errorf("%d have", n)
		}
		return nil
	})

	now := time.Now()
	events := []event.Event{
		incident("i", 1, "network"),
		&event.Alert{ID: "a", Name: "Down", Domain: "default", State: event.AlertFiring, Updated: now, Annotations: map[string]string{"summary": "a < b & c > d\u2028"}},
		&event.Page{ID: "p", Domain: "default", Kind: event.PageFiring, Stage: event.PageSent, Created: now, Updated: now},
		&event.Finding{Rule: "r", Domain: "default", Verdict: event.VerdictFiring, At: now},
		&event.Target{ID: "t", Class: "switch", Lifecycle: event.Active, Updated: now},
	}
	if err := b.Publish(t.Context(), events...); err != nil {
		t.Fatal(err)
	}
	bodies := map[string]string{}
	for range events {
		p := <-got
		bodies[p.id] = p.body
	}
	for _, e := range events {
		stored := ""
		if err := b.Read(t.Context(), bus.Span{Topic: e.Topic().Name, To: time.Now().Add(time.Minute)}, func(all []bus.Raw) error {
			stored = string(all[0].Value)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if stored == "" || bodies[e.Identity()] != stored {
			t.Errorf("%s: delivered %q, on the bus is %q", e.Topic().Name, bodies[e.Identity()], stored)
		}
	}

	// The secret is changed without a gap and without a restart; what is none changes nothing.
	write("oops")
	if err := room.Reload(); err == nil || !strings.Contains(err.Error(), "audit: secret 1 does not begin with whsec_") {
		t.Errorf("reloaded what is none: %v", err)
	}
	write(secretTwo)
	if err := room.Reload(); err != nil {
		t.Error(err)
	}
	if answer, err := room.Test(t.Context(), "audit", "only a test", now); err != nil || !strings.HasPrefix(answer, "200") {
		t.Errorf("%q %v", answer, err)
	}
	if p := <-got; !strings.Contains(p.body, `"type":"dev.kemi.test.v1"`) || !strings.Contains(p.body, "only a test") {
		t.Errorf("tried with %s", p.body)
	}
	if _, err := room.Test(t.Context(), "adit", "", now); err == nil || !strings.Contains(err.Error(), `did you mean "audit"?`) {
		t.Error(err)
	}
	srv.CloseClientConnections()
	srv.Close()
	if _, err := room.Test(t.Context(), "audit", "", now); err == nil || strings.Contains(err.Error(), "hidden") {
		t.Errorf("nobody there: %v", err)
	}
	cancel()
	if err := <-over; err != nil {
		t.Error(err)
	}
	if said := log.String(); strings.Contains(said, "hidden") || strings.Contains(said, secretTwo[6:]) {
		t.Errorf("logged %s", said)
	}
}

// owned is how many partitions are.
func owned(t *testing.T, b *bus.Bus) (n int) {
	t.Helper()
	for _, topic := range b.Topics() {
		info, err := b.Inspect(t.Context(), topic.Name)
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range info.Groups {
			for _, p := range g.Partitions {
				if p.Owner != "" {
					n++
				}
			}
		}
	}
	return n
}

func TestARedirectIsNotFollowedAndItsPlaceNotShown(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/first" {
			t.Errorf("followed to %s", r.URL.Path)
		}
		http.Redirect(w, r, "/second", http.StatusTemporaryRedirect)
	}))
	defer srv.Close()
	room, problems := New(Options{Subscriptions: map[string]Config{"audit": subscribing(t, "pages", func(c *Config) { c.URL = conf.NewSecret(srv.URL + "/first") })}})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if _, err := room.Test(t.Context(), "audit", "", time.Now()); err == nil || !strings.Contains(err.Error(), "redirects are not followed") || strings.Contains(err.Error(), srv.URL) {
		t.Error(err)
	}
}
