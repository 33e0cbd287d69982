package app

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"kemi.dev/kemi/cmd/kemi/ack"
	"kemi.dev/kemi/cmd/kemi/alertmanager"
	"kemi.dev/kemi/cmd/kemi/api"
	"kemi.dev/kemi/cmd/kemi/view"
	"kemi.dev/kemi/cmdb"
	"kemi.dev/kemi/dashboards/console"
	"kemi.dev/kemi/internal/web"
)

// openPaths need no token: they say nothing but whether Kemi is well, or what comes there has a token of its own.
var openPaths = []string{"/-/healthy", "/-/ready", ack.Path, pingPath}

func (a *App) routes() http.Handler {
	mux := http.NewServeMux()
	if a.has(RoleAPI) {
		mux.Handle("/", console.New(&pages{a}))
		mux.Handle(api.Prefix+"/", api.New(a.bus, a.model, func() any { return a.Status() }))
		a.duty.Register(mux)
		mux.Handle(alertmanager.Prefix+"/", alertmanager.New(alertmanager.Options{
			Bus: a.bus, Model: a.model, Told: a.alerting, Route: a.Config.Route, Limits: a.Config.Alertmanager, Scope: a.scope, Version: a.Version, Started: a.started,
		}))
		mux.Handle("/api/v1/", a.processors.QueryHandler())
		a.ack.Register(mux)
		a.bell.register(mux)
	}
	mux.HandleFunc("GET "+api.Prefix+"/inboxes/{name}", func(w http.ResponseWriter, r *http.Request) {
		box := a.Inbox(r.PathValue("name"))
		if box == nil {
			http.Error(w, `{"error":"no receiver of kind inbox has that name"}`, http.StatusNotFound)
			return
		}
		box.ServeHTTP(w, r)
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(a.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("GET /-/healthy", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "Kemi is healthy.") })
	mux.HandleFunc("GET /-/ready", func(w http.ResponseWriter, _ *http.Request) {
		switch ok, why := a.Ready(); {
		case !ok:
			http.Error(w, "Kemi is not ready: "+why, http.StatusServiceUnavailable)
		case !a.Knows():
			http.Error(w, "Kemi is not ready: console and API do not know yet what was stored before the start", http.StatusServiceUnavailable)
		case why != "":
			fmt.Fprintln(w, "Kemi is ready, but "+why)
		default:
			fmt.Fprintln(w, "Kemi is ready.")
		}
	})
	mux.HandleFunc("POST /-/reload", func(w http.ResponseWriter, _ *http.Request) {
		if err := a.Reload(); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		fmt.Fprintln(w, "Rules, tokens and certificate were read again.")
	})
	age := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "kemi_canary_age_seconds", Help: "Age of the newest trip of the canary through every stage; -1 before the first.",
	}, func() float64 {
		if slot, _ := a.canary.NewestOf(a.judged); !slot.IsZero() {
			return time.Since(slot).Seconds()
		}
		return -1
	})
	connected := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "kemi_bus_connected", Help: "1 while the broker answers, else 0.",
	}, func() float64 {
		if a.open.Load() && a.bus.Health() == nil {
			return 1
		}
		return 0
	})
	still := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "kemi_bus_standing_still", Help: "Groups, by partition, and publishers that stand still because dead.v1 does not take what they cannot handle.",
	}, func() float64 { return float64(len(a.bus.StandStill())) })
	a.registry.MustRegister(age, connected, still)
	return mux
}

// tooOld is how many intervals the newest trip of the canary may be old.
const tooOld = 4

// Ready reports whether the bus is there and takes what is said, and every stage of this process lets the canary through;
// and why not. While readings and jobs are held back and the canary is not late yet, or another process runs from another
// configuration, it is ready, and why says so.
func (a *App) Ready() (ok bool, why string) {
	all, held := a.bus.Held()
	if all {
		return false, held
	}
	ok, why = a.flows()
	said := []string{held, why, ""} // A disk that is short is mostly the cause of what comes behind it.
	if ok {
		said[2] = a.peers.note(time.Now())
	}
	return ok, strings.Join(slices.DeleteFunc(said, func(s string) bool { return s == "" }), "; ")
}

// Knows says whether console and API, where there are any, know what was stored before the start.
func (a *App) Knows() bool {
	if !a.has(RoleAPI) {
		return true
	}
	select {
	case <-a.model.Ready():
		return true
	default:
		return false
	}
}

// flows is Ready without a look at the disk.
func (a *App) flows() (ok bool, why string) {
	if !a.open.Load() {
		if err := a.waits.Load(); err != nil {
			return false, "the bus was not reached yet: " + (*err).Error()
		}
		if err := a.bus.Health(); err != nil { // The first attempt takes its time, and knows why before it is over.
			return false, "the bus was not reached yet: " + err.Error()
		}
		return false, "the bus was not reached yet"
	}
	if err := a.bus.Health(); err != nil {
		return false, "the bus: " + err.Error()
	}
	if all := a.bus.StandStill(); len(all) > 0 {
		why := all[0]
		if len(all) > 1 {
			why += fmt.Sprintf("; and %d more stand still", len(all)-1)
		}
		return false, why
	}
	slot, stage := a.canary.NewestOf(a.judged)
	limit := tooOld * a.Config.CanaryEvery
	switch age := time.Since(slot); {
	case stage == "":
		return true, ""
	case slot.IsZero():
		return false, fmt.Sprintf("the canary has not come through %s yet", stage)
	case age > limit:
		return false, fmt.Sprintf("the newest trip of the canary is %s old and did not get past %s: the process that has it, or the one before it, stands still or is not there", age.Round(time.Second), stage)
	}
	return true, ""
}

// Status is what GET /api/kemi/v1/status answers.
type Status struct {
	Version string    `json:"version"`
	Roles   []Role    `json:"roles"`
	Started time.Time `json:"started"`
	Ready   bool      `json:"ready"`
	// Why it is not ready, or what holds it up though it is.
	Why     string                         `json:"why,omitempty"`
	Canary  time.Time                      `json:"canary,omitzero"`
	Sources []cmdb.SourceStatus            `json:"sources"`
	Targets map[string]map[view.Health]int `json:"targets"`
}

// Status tells how the process is.
func (a *App) Status() Status {
	s := Status{Version: a.Version, Roles: a.roles, Started: a.started.UTC(), Sources: a.cmdb.Shown()}
	s.Ready, s.Why = a.Ready()
	s.Canary, _ = a.canary.NewestOf(a.judged)
	a.model.Read(func(m *view.State) { s.Targets = m.Health() })
	return s
}

// serve answers HTTP on ln until ctx ends.
func (a *App) serve(ctx context.Context, ln net.Listener) error {
	if err := a.loadCertificate(); err != nil {
		return err
	}
	if a.cert.Load() != nil {
		ln = tls.NewListener(ln, &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return a.cert.Load(), nil
		}})
	}
	a.address <- ln.Addr().String()
	return web.Serve(ctx, ln, a.guard)
}
