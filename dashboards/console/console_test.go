package console_test

import (
	"context"
	"math"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/dashboards/console"
	"kemi.dev/kemi/internal/line"
)

var now = time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)

type world struct{}

func incident() *event.Incident {
	return &event.Incident{
		ID: "inc1", State: event.IncidentOpen, Team: "network", Cause: "core-1", Title: "core-1 (switch) is down", Severity: "critical",
		Suppressed: map[string]int{"vm": 250, "server": 50}, SuppressedTotal: 300, OpenedAt: now.Add(-90 * time.Second), Reason: event.Reason{Code: "opened"},
		Alerts:   []event.IncidentAlert{{Name: "TargetDown", Target: "core-1", State: event.AlertFiring, Summary: "<script>alert(1)</script>\u202egnp.exe"}},
		Examples: []event.SuppressedAlert{{Target: "vm-7", Name: "TargetDown", Reason: event.Reason{Code: "parent-down"}}},
	}
}

func target() console.Target {
	return console.Target{Target: &event.Target{
		ID: "tor-1", Class: "switch", Address: "127.1.0.2:1161", Team: "network", Lifecycle: event.Active,
		Labels:    map[string]string{"site": `<img src=x onerror=alert(1)>`},
		Relations: map[string][]event.Need{event.ConnectedTo: {{"core-1", "core-2"}}},
		Checks:    []event.Check{{Name: "snmp", Profile: "interfaces", Every: 10 * time.Second}},
	}, Health: "down", Since: now.Add(-time.Minute)}
}

func (world) Overview(context.Context) console.Overview {
	return console.Overview{
		Now: now, Why: "the canary is 40 s old", Sources: []console.Source{{Name: "file:a.yaml", State: "held", Message: "it lost 7 of its 10 targets at once"}}, Counts: []console.Count{{Class: "switch", Up: 11, Down: 1}}, Down: []console.Target{target()}, DownMore: 7,
		Incidents: []*event.Incident{incident()},
		Pages:     []*event.Page{{Incident: "inc1", Title: "core-1 (switch) is down", Kind: event.PageFiring, Stage: event.PageSent, Team: "network", Receiver: "hook", Attempts: 3, Created: now}},
	}
}

func (world) Targets(_ context.Context, class string) console.TargetsPage {
	return console.TargetsPage{Now: now, Class: class, Targets: []console.Target{target()}}
}

func (world) Target(_ context.Context, id string) (console.TargetPage, bool) {
	g := console.Graph{Title: "Traffic", Unit: "bit/s", From: now.Add(-time.Hour), To: now, Lines: []console.Line{
		{Name: `in <b>`, Points: []console.Point{{now.Add(-time.Hour), 1e9}, {now.Add(-50 * time.Minute), math.NaN()}, {now.Add(-40 * time.Minute), 2e9}, {now, 3e9}}},
		{Name: "empty"},
	}}
	return console.TargetPage{Now: now, Target: target(), Graphs: []console.Graph{g}}, id == "tor-1"
}

func (world) Incident(_ context.Context, id string) (console.IncidentPage, bool) {
	return console.IncidentPage{Now: now, Incident: incident()}, id == "inc1"
}

func get(t *testing.T, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	console.New(world{}).ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	return w.Code, w.Body.String()
}

func TestPagesShowWhatIsKnown(t *testing.T) {
	for path, wants := range map[string][]string{
		"/": {
			"Not ready: the canary is 40 s old", "Source file:a.yaml is held: it lost 7 of its 10 targets", "core-1 (switch) is down", "250 vm", "Took along 300", "for 1 m 30 s", `href="/targets/tor-1"`,
			"and 7 more", "sent after 3 attempts", `<meta name="viewport"`,
		},
		"/targets/tor-1":        {"tor-1", "down for 1 m 0 s", `href="/targets/core-2"`, "<svg", "3 Gbit/s", "every 10s"},
		"/targets?class=switch": {"Targets of class switch (1)", `href="/targets/tor-1"`, "1 m 0 s"},
		"/incidents/inc1":       {"Took along 300", "vm-7", "parent-down", "TargetDown"},
		"/style.css":            {"prefers-color-scheme"},
	} {
		code, body := get(t, path)
		if code != 200 {
			t.Errorf("%s: %d", path, code)
		}
		for _, want := range wants {
			if !strings.Contains(body, want) {
				t.Errorf("%s lacks %q:\n%s", path, want, body)
			}
		}
	}
}

func TestWhatOthersWroteIsNeverRun(t *testing.T) {
	for _, path := range []string{"/", "/targets/tor-1", "/incidents/inc1", "/targets/%3Cscript%3E"} {
		_, body := get(t, path)
		if strings.ContainsFunc(body, func(r rune) bool { return line.Hidden(r) && r != '\n' && r != '\t' }) {
			t.Errorf("%s turns around what is written:\n%q", path, body)
		}
		if strings.Contains(body, "<script") || strings.Contains(body, "<img") || strings.Contains(body, "<b>") {
			t.Errorf("%s passes markup on:\n%s", path, body)
		}
	}
}

func TestWhatIsNotThereSaysSo(t *testing.T) {
	for _, path := range []string{"/targets/none", "/incidents/none", "/nowhere"} {
		if code, body := get(t, path); code != 404 || !strings.Contains(body, "There is no") {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
}

func TestGraphsBreakAtGaps(t *testing.T) {
	p, _ := world{}.Target(context.Background(), "tor-1")
	svg := string(p.Graphs[0].SVG())
	if n := strings.Count(svg, "M"); n < 2 {
		t.Errorf("the line has %d pieces:\n%s", n, svg)
	}
	if strings.Contains(svg, "NaN") {
		t.Error("a gap was drawn")
	}
}

func TestValuesAreWrittenForPeople(t *testing.T) {
	for want, got := range map[string]string{
		"1.25 Gbit/s": console.SI(1.25e9, "bit/s"), "12.5 ms": console.SI(0.0125, "s"), "0 s": console.SI(0, "s"),
		"99.5 %": console.SI(99.5, "%"), "2 d 3 h": console.Ago(51*time.Hour + 10*time.Minute),
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
