// Package console renders Kemi's web pages.
//
// In: what the read model knows, and series to draw. Out: HTML and SVG, complete as served.
// It promises pages that need no script and read well on a phone, and that whatever a device or a person wrote is
// shown as text, never run.
// It never acts: there is nothing to press yet.
package console

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"time"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/line"
)

//go:embed pages
var files embed.FS

// Count is how many targets of a class are in which state.
type Count struct {
	Class                      string
	Up, Down, Unknown, Waiting int
}

// Total is how many there are.
func (c Count) Total() int { return c.Up + c.Down + c.Unknown + c.Waiting }

// Target is a target as a page shows it.
type Target struct {
	*event.Target
	Health string
	Since  time.Time
}

// Source is a source of targets with which something is wrong.
type Source struct {
	Name, State, Message string
}

// Overview is what the first page shows.
type Overview struct {
	Now       time.Time
	Sources   []Source
	Ready     bool
	Why       string
	Counts    []Count
	Down      []Target
	DownMore  int
	Incidents []*event.Incident
	Resolved  []*event.Incident
	Pages     []*event.Page
}

// TargetsPage lists every target, or those of one class.
type TargetsPage struct {
	Now     time.Time
	Class   string
	Targets []Target
}

// TargetPage is what a target's page shows.
type TargetPage struct {
	Now    time.Time
	Target Target
	Alerts []*event.Alert
	Graphs []Graph
}

// IncidentPage is what an incident's page shows.
type IncidentPage struct {
	Now      time.Time
	Incident *event.Incident
	Pages    []*event.Page
}

// Knowledge answers what the pages ask; ok is false for what does not exist.
type Knowledge interface {
	Overview(ctx context.Context) Overview
	// Targets lists those of a class; "" is all.
	Targets(ctx context.Context, class string) TargetsPage
	Target(ctx context.Context, id string) (TargetPage, bool)
	Incident(ctx context.Context, id string) (IncidentPage, bool)
}

// New makes the handler of all pages.
func New(src Knowledge) http.Handler {
	pages := map[string]*template.Template{}
	for _, name := range []string{"overview", "targets", "target", "incident", "missing"} {
		pages[name] = template.Must(template.New("frame.html").Funcs(funcs).ParseFS(files, "pages/frame.html", "pages/"+name+".html"))
	}
	show := func(w http.ResponseWriter, code int, page string, data any) {
		var b bytes.Buffer
		if err := pages[page].Execute(&b, data); err != nil {
			http.Error(w, "render "+page+": "+err.Error(), http.StatusInternalServerError)
			return
		}
		h := w.Header()
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'")
		h.Set("Cache-Control", "no-store")
		w.WriteHeader(code)
		_, _ = io.WriteString(w, line.Shown(b.String())) // The reader has left.
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		show(w, http.StatusOK, "overview", src.Overview(r.Context()))
	})
	mux.HandleFunc("GET /targets", func(w http.ResponseWriter, r *http.Request) {
		show(w, http.StatusOK, "targets", src.Targets(r.Context(), r.URL.Query().Get("class")))
	})
	mux.HandleFunc("GET /targets/{id...}", func(w http.ResponseWriter, r *http.Request) {
		if p, ok := src.Target(r.Context(), r.PathValue("id")); ok {
			show(w, http.StatusOK, "target", p)
		} else {
			show(w, http.StatusNotFound, "missing", "target "+r.PathValue("id"))
		}
	})
	mux.HandleFunc("GET /incidents/{id}", func(w http.ResponseWriter, r *http.Request) {
		if p, ok := src.Incident(r.Context(), r.PathValue("id")); ok {
			show(w, http.StatusOK, "incident", p)
		} else {
			show(w, http.StatusNotFound, "missing", "incident "+r.PathValue("id"))
		}
	})
	mux.HandleFunc("GET /style.css", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFileFS(w, r, files, "pages/style.css")
	})
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		show(w, http.StatusNotFound, "missing", r.URL.Path)
	})
	return mux
}

var funcs = template.FuncMap{
	"ago": func(now, then time.Time) string {
		if then.IsZero() {
			return "–"
		}
		return Ago(now.Sub(then))
	},
	"clock": func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") },
	"needs": func(t *event.Target) []Relation { return relations(t) },
}

// Relation is one line of what a target needs: any one of Any is enough.
type Relation struct {
	Kind string
	Any  []string
}

func relations(t *event.Target) []Relation {
	var all []Relation
	for _, kind := range event.RelationKinds() {
		for _, need := range t.Relations[kind] {
			all = append(all, Relation{kind, need})
		}
	}
	return all
}

// Ago writes a duration in its two largest units: "3 m 20 s".
func Ago(d time.Duration) string {
	s := max(int64(d/time.Second), 0)
	switch {
	case s < 60:
		return fmt.Sprintf("%d s", s)
	case s < 3600:
		return fmt.Sprintf("%d m %d s", s/60, s%60)
	case s < 86400:
		return fmt.Sprintf("%d h %d m", s/3600, s/60%60)
	default:
		return fmt.Sprintf("%d d %d h", s/86400, s/3600%24)
	}
}
