// Package api serves Kemi's own HTTP API under /api/kemi/v1.
//
// In: requests of the command line, of scripts and of people. Out: JSON of what the read model knows, any topic as it
// flows, commands put on the bus.
// It promises the words of bus/event, unchanged, and errors as {"error": "…"} that say what to do.
// It never keeps state and never acts itself: it publishes a Command and the rooms act.
package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/cmd/kemi/view"
	"kemi.dev/kemi/internal/conf"
)

// Prefix is where the API lives.
const Prefix = "/api/kemi/v1"

// New makes the handler; status gives what GET /status answers.
func New(b *bus.Bus, m *view.Model, status func() any) http.Handler {
	a := &api{bus: b, model: m}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+Prefix+"/status", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, status()) })
	resource(mux, a, "targets", "state class team target", func(s *view.State, f view.Filter) any { return s.Targets(f) },
		func(s *view.State, id string) (any, bool) { return orNothing(s.Target(id)) })
	resource(mux, a, "alerts", "state class team target", func(s *view.State, f view.Filter) any { return s.Alerts(f) },
		func(s *view.State, id string) (any, bool) { return orNothing(s.Alert(id)) })
	resource(mux, a, "incidents", "state team target", func(s *view.State, f view.Filter) any { return s.Incidents(f) },
		func(s *view.State, id string) (any, bool) { return orNothing(s.Incident(id)) })
	resource(mux, a, "pages", "state team target incident", func(s *view.State, f view.Filter) any { return s.Pages(f) },
		func(s *view.State, id string) (any, bool) { return orNothing(s.Page(id)) })
	mux.HandleFunc("POST "+Prefix+"/commands", a.command)
	mux.HandleFunc("GET "+Prefix+"/topics/{topic}/tail", a.tail)
	mux.HandleFunc(Prefix+"/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, http.StatusNotFound, fmt.Errorf("nothing at %s %s: see docs/api.md", r.Method, r.URL.Path))
	})
	return mux
}

type api struct {
	bus   *bus.Bus
	model *view.Model
}

func orNothing[T any](v T, ok bool) (any, bool) { return v, ok }

// resource adds a list, with the filters it knows, and a single thing.
func resource(mux *http.ServeMux, a *api, name, filters string, list func(*view.State, view.Filter) any, one func(*view.State, string) (any, bool)) {
	mux.HandleFunc("GET "+Prefix+"/"+name, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		for key := range q {
			if !slices.Contains(strings.Fields(filters), key) {
				refuse(w, http.StatusBadRequest, fmt.Errorf("unknown parameter %q of %s: use %s", key, name, strings.Join(strings.Fields(filters), ", ")))
				return
			}
		}
		f := view.Filter{State: q.Get("state"), Class: q.Get("class"), Team: q.Get("team"), Target: q.Get("target"), Incident: q.Get("incident")}
		var body any
		a.model.Read(func(s *view.State) { body = list(s, f) })
		answer(w, http.StatusOK, body)
	})
	mux.HandleFunc("GET "+Prefix+"/"+name+"/{id}", func(w http.ResponseWriter, r *http.Request) {
		var body any
		var found bool
		a.model.Read(func(s *view.State) { body, found = one(s, r.PathValue("id")) })
		if !found {
			refuse(w, http.StatusNotFound, fmt.Errorf("no %s %q: list them with GET %s/%s", strings.TrimSuffix(name, "s"), r.PathValue("id"), Prefix, name))
			return
		}
		answer(w, http.StatusOK, body)
	})
}

// maxCommand bounds a command's body in bytes.
const maxCommand = 64 << 10

func (a *api) command(w http.ResponseWriter, r *http.Request) {
	var c event.Command
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxCommand))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&c); err != nil {
		refuse(w, http.StatusBadRequest, fmt.Errorf("read command: %w", err))
		return
	}
	switch c.Kind {
	case event.AcceptShrink:
	default:
		refuse(w, http.StatusBadRequest, fmt.Errorf("unknown command %q: %s is known", c.Kind, event.AcceptShrink))
		return
	}
	if c.Subject == "" {
		refuse(w, http.StatusBadRequest, errors.New("the command has no subject"))
		return
	}
	c.At = time.Now().UTC()
	if err := a.bus.Publish(r.Context(), &c); err != nil {
		refuse(w, http.StatusServiceUnavailable, err)
		return
	}
	answer(w, http.StatusAccepted, &c)
}

// Line is one record of a tail. Event is the word as JSON: a CloudEvent, or a job or reading by its fields.
type Line struct {
	bus.Raw
	Event json.RawMessage `json:"event,omitempty"`
	// Unreadable says why the record is no event; Bytes are what it holds.
	Unreadable string `json:"unreadable,omitempty"`
	Bytes      []byte `json:"bytes,omitempty"`
}

// tail streams a topic as JSON lines: ?from=5m begins that long ago, else with what comes.
func (a *api) tail(w http.ResponseWriter, r *http.Request) {
	topic := r.PathValue("topic")
	var known []string
	for _, t := range a.bus.Topics() {
		known = append(known, t.Name)
	}
	if !slices.Contains(known, topic) {
		msg := fmt.Sprintf("no topic %q: there are %s", topic, strings.Join(slices.Sorted(slices.Values(known)), ", "))
		if near := conf.Nearest(topic, known); near != "" {
			msg = fmt.Sprintf("no topic %q: did you mean %s?", topic, near)
		}
		refuse(w, http.StatusNotFound, errors.New(msg))
		return
	}
	from := driver.Start{End: true}
	if s := r.URL.Query().Get("from"); s != "" {
		d, err := conf.ParseDuration(s)
		if err != nil || d < 0 {
			refuse(w, http.StatusBadRequest, fmt.Errorf("from=%q is no duration: write 5m, 2h or 1d", s))
			return
		}
		from = driver.Start{Time: time.Now().Add(-d)}
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	flush := http.NewResponseController(w)
	_ = flush.Flush() // The caller sees at once that it is connected; a writer that cannot flush still writes.
	enc := json.NewEncoder(w)
	_ = a.bus.Tail(r.Context(), topic, from, func(batch []bus.Raw) error { // Ends with the caller, who cannot be told more.
		for _, raw := range batch {
			if err := enc.Encode(describe(raw)); err != nil {
				return err
			}
		}
		return flush.Flush()
	})
}

func describe(raw bus.Raw) Line {
	l := Line{Raw: raw}
	switch e, err := event.Parse(raw.Topic, raw.Value); {
	case raw.Removed:
	case err != nil:
		l.Unreadable, l.Bytes = err.Error(), raw.Value
	case json.Valid(raw.Value):
		l.Event = raw.Value
	default:
		if data, err := json.Marshal(e); err != nil {
			l.Unreadable, l.Bytes = err.Error(), raw.Value
		} else {
			l.Event = data
		}
	}
	return l
}

func answer(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(body) // The caller has left; there is nobody to tell.
}

func refuse(w http.ResponseWriter, code int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": err.Error()}) // As above.
}
