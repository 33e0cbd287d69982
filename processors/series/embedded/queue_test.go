package embedded

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"kemi.dev/kemi/bus/event"
)

// listings are the calls that walk the index and run no query.
var listings = []string{"series?match[]=up", "labels?", "label/target/values?"}

// many is a store with n targets.
func many(t *testing.T, n int, change func(*Config)) *Sink {
	t.Helper()
	c := Default()
	if change != nil {
		change(&c)
	}
	s := New(Options{Config: c, Dir: t.TempDir()})
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	var batch []*event.Reading
	for i := range n {
		id := fmt.Sprint("t", i)
		batch = append(batch, &event.Reading{
			JobID: id, Target: id, Check: "snmp", Status: event.StatusTimeout, Started: time.Now(), Labels: event.LabelsOf(map[string]string{"target": id}),
		})
	}
	if _, err := s.Writer(0).Write(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	return s
}

func get(t *testing.T, s *Sink, path string) (status int, data []any, warnings []string) {
	t.Helper()
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/v1/"+path, nil))
	var answer struct {
		Data     []any
		Warnings []string
	}
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatalf("%s: %v in %s", path, err, w.Body)
	}
	return w.Code, answer.Data, answer.Warnings
}

func TestListingsWaitForTheirTurnAsQueriesDo(t *testing.T) {
	s := many(t, 1, func(c *Config) { c.QueryTimeout = 50 * time.Millisecond })
	for range maxQueries {
		if _, err := s.queue.Insert(t.Context(), "taken"); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range listings {
		if status, _, _ := get(t, s, path); status != http.StatusServiceUnavailable {
			t.Errorf("%s: status %d while all turns are taken, want 503", path, status)
		}
		if status, _, _ := get(t, s, path+"&timeout=1h"); status != http.StatusServiceUnavailable {
			t.Errorf("%s: status %d with a timeout beyond the store's, want 503", path, status)
		}
	}
	s.queue.Delete(0)
	for range 3 { // Each gives its turn back.
		for _, path := range listings {
			if status, data, _ := get(t, s, path); status != http.StatusOK || len(data) == 0 {
				t.Errorf("%s: status %d, %v with a turn free", path, status, data)
			}
		}
	}
	if status, _, _ := get(t, s, listings[0]+"&timeout=0"); status != http.StatusServiceUnavailable {
		t.Errorf("status %d with no time at all, want 503", status)
	}
}

func TestListingsAreBoundedAlsoWhenNobodyAsks(t *testing.T) {
	s := many(t, 5, nil)
	s.listed = 3
	for _, path := range []string{listings[0], "labels?", listings[2]} {
		status, data, warnings := get(t, s, path)
		want := 3
		if status != http.StatusOK || len(data) != want || (path != "labels?") != slices.Contains(warnings, "results truncated due to limit") {
			t.Errorf("%s: status %d, %v, warnings %v; want %d", path, status, data, warnings, want)
		}
		if _, data, warnings = get(t, s, path+"&limit=4"); path != "labels?" && (len(data) != 4 || len(warnings) != 1) {
			t.Errorf("%s with a limit of its own: %v, warnings %v; want 4", path, data, warnings)
		}
	}
}
