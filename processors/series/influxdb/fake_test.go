package influxdb_test

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/influxdata/line-protocol/v2/lineprotocol"

	"kemi.dev/kemi/bus/event"
)

var start = time.Date(2026, 11, 1, 12, 0, 0, 123e6, time.UTC)

// reading is what a switch says: two interfaces, a text, a missing cell and a value that is no number.
func reading(i int) *event.Reading {
	return &event.Reading{
		JobID: fmt.Sprint("job-", i), Target: "tor 1", Check: "snmp", Status: event.StatusOK, Slot: start,
		Started: start.Add(time.Duration(i) * time.Second), Duration: 250 * time.Millisecond,
		Labels: event.LabelsOf(map[string]string{"target": "tor 1", "class": "switch", "site": "dc1", "check": "own"}),
		Tables: []event.Table{{
			Name: "inter,faces", Rows: 3, Index: []event.IndexColumn{
				{Name: "ifName", Values: []string{"Gi1/0=1", `back\`, "a\nb"}},
				{Name: "site", Values: []string{"x", "", "y"}},
			},
			Columns: []event.Column{
				{Name: "octets", Kind: event.Counter, Counters: []uint64{1 << 40, 7, 0}, Missing: []uint32{2}},
				{Name: "load", Kind: event.Gauge, Gauges: []float64{0.5, math.NaN(), math.Inf(1)}},
				{Name: "alias", Kind: event.Text, Texts: []string{`say "hi"`, "\xff", ""}, Missing: []uint32{2}},
			},
		}},
	}
}

// point is a line as the fake server read it.
type point struct {
	Measurement string
	Tags        map[string]string
	Fields      map[string]any
	At          time.Time
}

// server is a strict InfluxDB: it refuses whatever is not well-formed, and answers as it is told.
type server struct {
	*httptest.Server
	t      *testing.T
	answer func(n int, points []point) (status int, body string, header map[string]string)

	mu       sync.Mutex
	requests int
	stored   []point
	tokens   []string
}

func newServer(t *testing.T) *server {
	s := &server{t: t}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	s.tokens = append(s.tokens, r.Header.Get("Authorization"))
	q := r.URL.Query()
	if r.Method != http.MethodPost || r.URL.Path != "/api/v2/write" || q.Get("org") != "kemi" || q.Get("bucket") != "b" || q.Get("precision") != "ms" {
		s.t.Errorf("asked %s %s", r.Method, r.URL)
	}
	if r.Header.Get("Content-Encoding") != "gzip" {
		s.t.Errorf("content encoding %q, want gzip", r.Header.Get("Content-Encoding"))
	}
	zip, err := gzip.NewReader(r.Body)
	if err != nil {
		s.t.Error(err)
		return
	}
	points, err := parse(zip)
	if err != nil {
		s.t.Errorf("what was sent is no line protocol: %v", err)
	}
	if s.answer != nil {
		status, body, header := s.answer(s.requests, points)
		if status == 0 { // The connection breaks.
			panic(http.ErrAbortHandler)
		}
		if status != http.StatusNoContent {
			for k, v := range header {
				w.Header().Set(k, v)
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_ = json.NewEncoder(w).Encode(map[string]string{"code": "error", "message": body})
			return
		}
	}
	s.stored = append(s.stored, points...)
	w.WriteHeader(http.StatusNoContent)
}

// parse reads line protocol as a server does.
func parse(r io.Reader) ([]point, error) {
	var all []point
	d := lineprotocol.NewDecoder(r)
	for d.Next() {
		p := point{Tags: map[string]string{}, Fields: map[string]any{}}
		m, err := d.Measurement()
		if err != nil {
			return nil, err
		}
		p.Measurement = string(m)
		for {
			k, v, err := d.NextTag()
			if err != nil {
				return nil, err
			}
			if k == nil {
				break
			}
			if _, twice := p.Tags[string(k)]; twice {
				return nil, fmt.Errorf("tag %s twice", k)
			}
			p.Tags[string(k)] = string(v)
		}
		for {
			k, v, err := d.NextField()
			if err != nil {
				return nil, err
			}
			if k == nil {
				break
			}
			p.Fields[string(k)] = v.Interface()
		}
		if p.At, err = d.Time(lineprotocol.Millisecond, time.Time{}); err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, d.Err()
}
