package processors_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/bus/mem"
	"kemi.dev/kemi/internal/obs"
	"kemi.dev/kemi/processors"
)

func TestEveryMistakeInSeriesIsSaidAtOnceAndWithItsPlace(t *testing.T) {
	b := bus.New(mem.New(), bus.Settings{}, obs.Scope{})
	defer b.Close()
	text := `- embedded: {retention: 1h}
- influx: {}
- influxdb: {url: "http://x", bucket: b}
- influxdb: {url: "http://y", bucket: b}
- embedded: {retentoin: 15d}
- influxdb:
- just text
- {embedded: {}, influxdb: {}}
`
	_, problems := processors.New(processors.Options{Bus: b, DataDir: t.TempDir(), Series: nodes(t, "kemi.yaml", text)})
	said := problems.Error()
	for _, want := range []string{
		"kemi.yaml:1:25: retention is too small: give at least 2h",
		`kemi.yaml:2:3: there is no store of the kind "influx": did you mean "influxdb"?`,
		`kemi.yaml:4:3: a second store has the name "influxdb" (the first is in line 3): give it a name of its own`,
		`kemi.yaml:5:14: unknown key "retentoin"`,
		"kemi.yaml:6:", "url is not the address of a server",
		"kemi.yaml:7:3: expected the kind of a store",
		"kemi.yaml:8:3: expected the kind of a store",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("not said: %s", want)
		}
	}
	if t.Failed() {
		t.Log(said)
	}
}

func TestWithoutConfigurationSeriesAreStoredAndServed(t *testing.T) {
	b := bus.New(mem.New(), bus.Settings{}, obs.Scope{})
	if err := b.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	dir := t.TempDir()
	room, problems := processors.New(processors.Options{Bus: b, DataDir: dir})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if _, err := os.Stat(filepath.Join(dir, "series")); err == nil {
		t.Error("New made a directory: it must be inert")
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- room.RunStore(ctx) }()
	now := time.Now()
	if err := b.Publish(t.Context(), &event.Reading{
		JobID: "job", Target: "core-1", Check: "snmp", Status: event.StatusTimeout, Slot: now, Started: now,
		Labels: event.LabelsOf(map[string]string{"target": "core-1"}),
	}); err != nil {
		t.Fatal(err)
	}
	h := room.QueryHandler()
	eventually(t, "the reading can be asked for", func() bool {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/v1/query?query="+url.QueryEscape(`up{target="core-1",check="snmp"} == 0`), nil))
		return w.Code == http.StatusOK && strings.Contains(w.Body.String(), `"core-1"`)
	})
	cancel()
	if err := <-ran; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestWithoutAnEmbeddedStoreQueriesAreAnsweredWithWhatToDo(t *testing.T) {
	b := bus.New(mem.New(), bus.Settings{}, obs.Scope{})
	defer b.Close()
	room, problems := processors.New(processors.Options{Bus: b, DataDir: t.TempDir(), Series: nodes(t, "kemi.yaml", `- influxdb: {url: "http://x", bucket: b}`)})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	w := httptest.NewRecorder()
	room.QueryHandler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/v1/query", nil))
	if w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "embedded") || room.Store() != nil {
		t.Errorf("%d %s, store %v", w.Code, w.Body, room.Store())
	}
}
