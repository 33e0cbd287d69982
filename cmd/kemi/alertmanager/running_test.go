package alertmanager_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"kemi.dev/kemi/alerting/notify/inbox"
	"kemi.dev/kemi/cmd/kemi/app"
	"kemi.dev/kemi/cmd/kemi/config"
	"kemi.dev/kemi/internal/await"
)

// running is a whole Kemi with the embedded bus.
type running struct {
	t   testing.TB
	app *app.App
	url string
}

// run starts Kemi with a configuration that needs no address and no data directory, and files beside it.
func run(t testing.TB, yaml string, files map[string]string) *running {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range files {
		write(name, text)
	}
	write("kemi.yaml", yaml)
	cfg, problems := config.Load(filepath.Join(dir, "kemi.yaml"), false)
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a, err := app.New(cfg, app.Options{Version: "test", Listener: ln, Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-a.Model().Ready():
	case <-time.After(time.Minute):
		t.Fatal("the read model is not ready after a minute")
	case err := <-done:
		done <- nil
		t.Fatal(err)
	}
	return &running{t: t, app: a, url: "http://" + ln.Addr().String()}
}

// post sends alerts.
func (r *running) post(body string) {
	r.t.Helper()
	resp, err := http.Post(r.url+"/api/v2/alerts", "application/json", bytes.NewReader([]byte(body)))
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
		r.t.Fatalf("POST /alerts: %s: %s", resp.Status, text)
	}
}

// pages lists the pages that the named inboxes got.
func (r *running) pages(names ...string) (all []inbox.Entry) {
	for _, name := range names {
		all = append(all, r.app.Inbox(name).List()...)
	}
	return all
}

// within tries until it works or the time is over.
func within(t testing.TB, d time.Duration, what string, try func() error) {
	t.Helper()
	await.Within(t, d, what, func(context.Context) error { return try() })
}

// told writes pages as lines.
func told(all []inbox.Entry) string {
	s := ""
	for _, e := range all {
		s += fmt.Sprintf("%s %s: %s\n", e.Page.Kind, e.Page.Receiver, e.Page.Title)
	}
	return s
}
