package app

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/cmd/kemi/view"
	"kemi.dev/kemi/cmdb"
	"kemi.dev/kemi/dashboards/console"
	"kemi.dev/kemi/processors/series/embedded"
)

// pages answers what the console asks, from the read model and the embedded store.
type pages struct{ app *App }

// How much the first page shows.
const (
	shownDown     = 60
	shownPages    = 10
	shownResolved = 5
	graphSpan     = time.Hour
	graphLeast    = 5 * time.Minute // Of a target that is new.
	graphPoints   = 120
)

func shown(t view.Target) console.Target {
	return console.Target{Target: t.Target, Health: string(t.Health), Since: t.Since}
}

// Overview implements console.Knowledge.
func (p *pages) Overview(context.Context) console.Overview {
	o := console.Overview{Now: time.Now()}
	o.Ready, o.Why = p.app.Ready()
	for _, src := range p.app.cmdb.Shown() {
		if src.State == cmdb.StateInvalid || src.State == cmdb.StateHeld {
			o.Sources = append(o.Sources, console.Source{Name: src.Name, State: string(src.State), Message: src.Message})
		}
	}
	p.app.model.Read(func(s *view.State) {
		for class, n := range s.Health() {
			o.Counts = append(o.Counts, console.Count{Class: class, Up: n[view.Up], Down: n[view.Down], Unknown: n[view.Unknown], Waiting: n[view.Waiting]})
		}
		down := s.Targets(view.Filter{State: string(view.Down)})
		for _, t := range down[:min(len(down), shownDown)] {
			o.Down = append(o.Down, shown(t))
		}
		o.DownMore = len(down) - len(o.Down)
		for _, i := range s.Incidents(view.Filter{}) {
			switch {
			case i.State != event.IncidentResolved:
				o.Incidents = append(o.Incidents, i)
			case len(o.Resolved) < shownResolved:
				o.Resolved = append(o.Resolved, i)
			}
		}
		all := s.Pages(view.Filter{})
		o.Pages = all[:min(len(all), shownPages)]
	})
	slices.SortFunc(o.Counts, func(a, b console.Count) int { return strings.Compare(a.Class, b.Class) })
	return o
}

// Targets implements console.Knowledge.
func (p *pages) Targets(_ context.Context, class string) console.TargetsPage {
	page := console.TargetsPage{Now: time.Now(), Class: class}
	p.app.model.Read(func(s *view.State) {
		for _, t := range s.Targets(view.Filter{Class: class}) {
			page.Targets = append(page.Targets, shown(t))
		}
	})
	return page
}

// Target implements console.Knowledge.
func (p *pages) Target(ctx context.Context, id string) (console.TargetPage, bool) {
	page := console.TargetPage{Now: time.Now()}
	var found bool
	p.app.model.Read(func(s *view.State) {
		var t view.Target
		if t, found = s.Target(id); found {
			page.Target = shown(t)
			page.Alerts = s.Alerts(view.Filter{Target: id})
		}
	})
	if found {
		page.Graphs = p.graphs(ctx, id, page.Now)
	}
	return page, found
}

// Incident implements console.Knowledge.
func (p *pages) Incident(_ context.Context, id string) (console.IncidentPage, bool) {
	page := console.IncidentPage{Now: time.Now()}
	var found bool
	p.app.model.Read(func(s *view.State) {
		if page.Incident, found = s.Incident(id); found {
			page.Pages = s.Pages(view.Filter{Incident: page.Incident.ID})
		}
	})
	return page, found
}

// mainSeries are the graphs of a target's page: those that have data are shown.
var mainSeries = []struct {
	title, unit string
	lines       [][2]string // name and expression, %s is the target
}{
	{"Traffic, all interfaces", "bit/s", [][2]string{
		{"in", `sum(rate(ifHCInOctets{target=%[1]s}[2m])) * 8`}, {"out", `sum(rate(ifHCOutOctets{target=%[1]s}[2m])) * 8`},
	}},
	{"Processor load", "%", [][2]string{{"mean", `avg(hrProcessorLoad{target=%[1]s})`}, {"highest", `max(hrProcessorLoad{target=%[1]s})`}}},
	{"Answer time", "s", [][2]string{{"HTTP", `max(http_duration_seconds{target=%[1]s})`}}},
	{"Poll duration", "s", [][2]string{{"poll", `max(kemi_poll_duration_seconds{target=%[1]s})`}}},
	{"Up", "", [][2]string{{"up", `min(up{target=%[1]s})`}}},
}

func (p *pages) graphs(ctx context.Context, id string, now time.Time) []console.Graph {
	store := p.app.processors.Store()
	if store == nil {
		return nil
	}
	var all []console.Graph
	from := p.since(ctx, store, id, now)
	step := max(now.Sub(from)/graphPoints, 5*time.Second)
	for _, m := range mainSeries {
		g := console.Graph{Title: m.title, Unit: m.unit, From: from, To: now}
		for _, l := range m.lines {
			lines, err := store.QueryRange(ctx, fmt.Sprintf(l[1], quoted(id)), from, now, step)
			if err != nil {
				p.app.scope.Log().Warn("query for a page", "err", err)
				continue
			}
			for _, found := range lines {
				line := console.Line{Name: l[0]}
				for _, point := range found.Points {
					line.Points = append(line.Points, console.Point{T: point.T, V: point.V})
				}
				g.Lines = append(g.Lines, line)
			}
		}
		if slices.ContainsFunc(g.Lines, func(l console.Line) bool { return len(l.Points) > 0 }) {
			all = append(all, g)
		}
	}
	return all
}

// since is where a target's graphs begin: an hour ago, or when it was first seen.
func (p *pages) since(ctx context.Context, store *embedded.Sink, id string, now time.Time) time.Time {
	from := now.Add(-graphSpan)
	seen, err := store.QueryRange(ctx, fmt.Sprintf(`min(up{target=%s})`, quoted(id)), from, now, graphSpan/graphPoints)
	if err != nil || len(seen) == 0 || len(seen[0].Points) == 0 {
		return from // The queries that follow say what is wrong.
	}
	if first := seen[0].Points[0].T.Add(-graphSpan / graphPoints); first.After(from) {
		from = first
	}
	if latest := now.Add(-graphLeast); from.After(latest) {
		from = latest
	}
	return from
}

// quoted writes a label value as PromQL wants it.
func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}
