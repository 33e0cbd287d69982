// Package api serves Kemi's own HTTP API under /api/kemi/v1.
//
// In: requests of the command line, of scripts and of people. Out: JSON of what the read model knows, any topic as it
// flows, who is on call; commands, silences and overrides put on the bus.
// It promises the words of bus/event, unchanged, and errors as {"error": "…"} that say what to do.
// It never keeps state and never decides: it publishes what people say, if that can be meant, and the rooms act, or has
// the bus put back what a person names.
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
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/cmd/kemi/view"
)

// Prefix is where the API lives.
const Prefix = "/api/kemi/v1"

// New makes the handler; status gives what GET /status answers.
func New(b *bus.Bus, m *view.Model, status func() any) http.Handler {
	a := &api{bus: b, model: m}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+Prefix+"/status", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, status()) })
	resource(mux, a, "targets", "state class team target", []string{string(view.Up), string(view.Down), string(view.Unknown), string(view.Waiting)}, func(s *view.State, f view.Filter) any { return s.Targets(f) },
		func(s *view.State, id string) (any, bool) { return orNothing(s.Target(id)) })
	resource(mux, a, "alerts", "state class team target", []string{string(event.AlertFiring), string(event.AlertResolved)}, func(s *view.State, f view.Filter) any { return s.Alerts(f) },
		func(s *view.State, id string) (any, bool) { return orNothing(s.Alert(id)) })
	resource(mux, a, "incidents", "state team target", []string{string(event.IncidentVerifying), string(event.IncidentOpen), string(event.IncidentResolved)}, func(s *view.State, f view.Filter) any { return s.Incidents(f) },
		func(s *view.State, id string) (any, bool) { return orNothing(s.Incident(id)) })
	single(mux, a, "pages", func(s *view.State, id string) (any, bool) { return orNothing(s.Page(id)) })
	mux.HandleFunc("GET "+Prefix+"/pages", a.pages)
	mux.HandleFunc("GET "+Prefix+"/ledger", a.ledger)
	mux.HandleFunc("POST "+Prefix+"/commands", a.command)
	mux.HandleFunc("GET "+Prefix+"/events.asyncapi.yaml", document)
	mux.HandleFunc("GET "+Prefix+"/topics", a.topics)
	mux.HandleFunc("GET "+Prefix+"/topics/{topic}", a.topic)
	mux.HandleFunc("GET "+Prefix+"/topics/{topic}/tail", a.tail)
	mux.HandleFunc("GET "+Prefix+"/topics/{topic}/events", a.events)
	mux.HandleFunc("POST "+Prefix+"/topics/{topic}/replay", a.replay)
	mux.HandleFunc("GET "+Prefix+"/dead", a.letters)
	mux.HandleFunc("GET "+Prefix+"/dead/{id}", a.letter)
	mux.HandleFunc("POST "+Prefix+"/dead/retry", a.settle(b.Retry))
	mux.HandleFunc("POST "+Prefix+"/dead/drop", a.settle(b.Drop))
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

func pageStages() []string {
	return []string{string(event.PageIntent), string(event.PageRetrying), string(event.PageSent), string(event.PageFailed), string(event.PageHeld)}
}

// resource adds a list, with the filters and the states it knows, and a single thing.
func resource(mux *http.ServeMux, a *api, name, filters string, states []string, list func(*view.State, view.Filter) any, one func(*view.State, string) (any, bool)) {
	mux.HandleFunc("GET "+Prefix+"/"+name, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if !knows(w, r, name, filters) {
			return
		}
		if state := q.Get("state"); state != "" && !slices.Contains(states, strings.ToLower(state)) {
			refuse(w, http.StatusBadRequest, fmt.Errorf("state=%q is none of %s: use %s", state, name, strings.Join(states, ", ")))
			return
		}
		f := view.Filter{State: q.Get("state"), Class: q.Get("class"), Team: q.Get("team"), Target: q.Get("target"), Incident: q.Get("incident")}
		var body any
		a.model.Read(func(s *view.State) { body = list(s, f) })
		answer(w, http.StatusOK, body)
	})
	single(mux, a, name, one)
}

// single adds a single thing by its id.
func single(mux *http.ServeMux, a *api, name string, one func(*view.State, string) (any, bool)) {
	mux.HandleFunc("GET "+Prefix+"/"+name+"/{id}", func(w http.ResponseWriter, r *http.Request) {
		var body any
		var found bool
		a.model.Read(func(s *view.State) { body, found = one(s, r.PathValue("id")) })
		if !found {
			refuse(w, http.StatusNotFound, fmt.Errorf("no %s %q: kemi %s list and GET %s/%s say which there are", strings.TrimSuffix(name, "s"), r.PathValue("id"), name, Prefix, name))
			return
		}
		answer(w, http.StatusOK, body)
	})
}

// knows refuses a query with parameters that the named resource has not.
func knows(w http.ResponseWriter, r *http.Request, name, params string) bool {
	for key := range r.URL.Query() {
		if !slices.Contains(strings.Fields(params), key) {
			refuse(w, http.StatusBadRequest, fmt.Errorf("unknown parameter %q of %s: use %s", key, name, strings.Join(strings.Fields(params), ", ")))
			return false
		}
	}
	return true
}

// The most bytes of a command's body, and of a list of letters.
const (
	maxCommand = 64 << 10
	maxLetters = 4 << 20
)

// body reads what was posted into v, or refuses it.
func body(w http.ResponseWriter, r *http.Request, most int64, what string, v any) bool {
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, most))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		refuse(w, http.StatusBadRequest, fmt.Errorf("read %s: %w", what, err))
		return false
	}
	return true
}

func (a *api) command(w http.ResponseWriter, r *http.Request) {
	var c event.Command
	if !body(w, r, maxCommand, "command", &c) {
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
	if err := a.bus.PublishPromptly(r.Context(), &c); err != nil {
		refuse(w, http.StatusServiceUnavailable, err)
		return
	}
	answer(w, http.StatusAccepted, &c)
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
