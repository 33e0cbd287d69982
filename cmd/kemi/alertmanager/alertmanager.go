// Package alertmanager serves Alertmanager's API, version 2, under /api/v2.
//
// In: requests of Prometheus, amtool, Grafana and of whatever else knows Alertmanager. Out: what its openapi.yaml says:
// the alerts that fire, whoever judged them, with what holds their pages back; silences; alerts from elsewhere as
// findings on the bus.
// It promises that what it answered with success is on the bus, that an alert about a target of ours belongs to it
// like those of our own rules, and that what it refuses is named one by one while the rest is taken.
// It never decides who is told, and keeps nothing but what it can read again.
package alertmanager

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kemi.dev/kemi/alerting/hush"
	"kemi.dev/kemi/alerting/route"
	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/cmd/kemi/view"
	"kemi.dev/kemi/internal/conf"
	"kemi.dev/kemi/internal/obs"
)

// Prefix is where the API lives.
const Prefix = "/api/v2"

// Told is what alerting knows by its configuration.
type Told interface {
	// Holds is what holds pages back by configuration: a new set.
	Holds() *hush.Set
	// Receivers lists the receivers by name, sorted.
	Receivers() []string
	// Teams lists the teams by name, sorted.
	Teams() []string
}

// Options of New. All but Route, Scope and Version are required.
type Options struct {
	Bus   *bus.Bus
	Model *view.Model
	Told  Told
	// Route is what stands under `route:`; it may be absent.
	Route conf.Node
	// Limits are Default unless something else is said.
	Limits  Config
	Scope   obs.Scope
	Version string
	// Started is since when Kemi runs.
	Started time.Time
}

type api struct {
	Options
	tree   *route.Tree
	mux    http.ServeMux
	alerts *prometheus.CounterVec
	held   held
	memory memory

	saidMu       sync.Mutex
	said         map[string]time.Time // When a text was last warned of.
	varied       string
	variedUntil  time.Time
	letters      int // On dead.v1 since then:
	lettersSince time.Time
}

// New makes the handler.
func New(o Options) http.Handler {
	a := &api{Options: o, said: map[string]time.Time{}}
	a.Limits = cmp.Or(o.Limits, Default())
	a.Scope = o.Scope.For("alertmanager")
	a.alerts = a.Scope.Counter("kemi_alertmanager_alerts_received_total", "Alerts that came through Alertmanager's API, by what became of them: firing, resolved, known (it changed nothing), refused, limit (there was no room for it).", "status")
	set := o.Told.Holds()
	a.held = held{set: set, inhibitor: set.Inhibitor(), silences: map[string]*event.Silence{}, sources: map[string]*event.Alert{}}
	// Its mistakes were said by alerting, which reads it as well.
	a.tree, _ = route.New(o.Route, route.Known{Receivers: o.Told.Receivers(), Teams: o.Told.Teams(), Intervals: set.Intervals()}, route.AlertmanagerWaits())
	allowed := map[string][]string{} // The methods by path.
	for pattern, handle := range map[string]func(http.ResponseWriter, *http.Request) error{
		"GET /status": a.status, "GET /receivers": a.receivers,
		"GET /alerts": a.list, "POST /alerts": a.post, "GET /alerts/groups": a.groups,
		"GET /silences": a.silences, "POST /silences": a.silence,
		"GET /silence/{id}": a.oneSilence, "DELETE /silence/{id}": a.expire,
	} {
		method, path, _ := strings.Cut(pattern, " ")
		allowed[path] = append(allowed[path], method)
		a.mux.HandleFunc(method+" "+Prefix+path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "no-store")
			if err := handle(w, r); err != nil {
				refuse(w, err)
			}
		})
	}
	for path, methods := range allowed {
		slices.Sort(methods)
		a.mux.HandleFunc(Prefix+path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Allow", strings.Join(methods, ", "))
			refuse(w, wrong(http.StatusMethodNotAllowed, "%s %s is not there: use %s", r.Method, r.URL.Path, strings.Join(methods, " or ")))
		})
	}
	a.mux.HandleFunc(Prefix+"/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, wrong(http.StatusNotFound, "nothing at %s %s: see Alertmanager's api/v2/openapi.yaml", r.Method, r.URL.Path))
	})
	return &a.mux
}

// refusal is an error with its code of HTTP.
type refusal struct {
	code int
	what string
}

func (e *refusal) Error() string { return e.what }

func wrong(code int, format string, args ...any) error {
	return &refusal{code, fmt.Sprintf(format, args...)}
}

// bad is a request that cannot be done as it is.
func bad(format string, args ...any) error { return wrong(http.StatusBadRequest, format, args...) }

// refuse answers with what is wrong, as a string in JSON: that is what openapi.yaml says of errors.
func refuse(w http.ResponseWriter, err error) {
	var e *refusal
	if !errors.As(err, &e) {
		e = &refusal{http.StatusInternalServerError, err.Error()}
		if errors.Is(err, bus.ErrAway) {
			e.code = http.StatusServiceUnavailable
		}
	}
	if e.code == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "2") // Seconds.
	}
	answerWith(w, e.code, e.what)
}

func answer(w http.ResponseWriter, body any) error {
	answerWith(w, http.StatusOK, body)
	return nil
}

func answerWith(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // The caller has left; there is nobody to tell.
}

// read reads what was posted, all of it: what is too long is not worth parsing.
func read(w http.ResponseWriter, r *http.Request, most int64) ([]byte, error) {
	if coding := r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return nil, wrong(http.StatusUnsupportedMediaType, "the request is written in %.40s (Content-Encoding), which is not read here: send it as it is", coding)
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, bad("the request has more than %d bytes: send it in parts", most)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, wrong(http.StatusRequestTimeout, "the request came too slowly: send it again, in parts")
	case err != nil:
		return nil, bad("read the request: %v", err)
	}
	return data, nil
}
