package dashboards_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/promql/parser"
	"pgregory.net/rapid"

	"kemi.dev/kemi/collector/profile"
	"kemi.dev/kemi/collector/snmp"
	"kemi.dev/kemi/dashboards"
	"kemi.dev/kemi/processors/sample"
)

func generate(t *testing.T) []dashboards.Dashboard {
	t.Helper()
	ds, err := dashboards.Generate(snmp.Profiles())
	if err != nil {
		t.Fatal(err)
	}
	return ds
}

// shown is what the tests look at of a dashboard.
type shown struct {
	UID, Title    string
	SchemaVersion int
	Templating    struct {
		List []struct{ Name, Type, Definition string }
	}
	Panels []shownPanel
}

type shownPanel struct {
	ID          int
	Type, Title string
	GridPos     struct{ X, Y, W, H int }
	Datasource  *struct{ Type, UID string }
	Targets     []struct {
		RefID, Expr string
		Datasource  struct{ Type, UID string }
	}
	FieldConfig struct {
		Defaults struct {
			Unit     string
			Mappings []struct {
				Options map[string]struct{ Text, Color string }
			}
		}
	}
}

func parse(t interface {
	Helper()
	Fatalf(string, ...any)
}, d dashboards.Dashboard,
) shown {
	t.Helper()
	var s shown
	if err := json.Unmarshal(d.JSON(), &s); err != nil {
		t.Fatalf("%s: %v", d.UID, err)
	}
	return s
}

func TestTheFleetAndEveryProfileHaveADashboard(t *testing.T) {
	var got []string
	for _, d := range generate(t) {
		got = append(got, d.UID)
	}
	if diff := cmp.Diff([]string{"kemi-fleet", "kemi-host", "kemi-network-device"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestTheSameProfilesMakeTheSameBytes(t *testing.T) {
	first := generate(t)
	backwards := snmp.Profiles()
	slices.Reverse(backwards)
	again, err := dashboards.Generate(backwards)
	if err != nil {
		t.Fatal(err)
	}
	for i := range first {
		if !bytes.Equal(first[i].JSON(), again[i].JSON()) {
			t.Errorf("%s differs when it is generated again", first[i].UID)
		}
	}
}

func TestDashboardsAreWellFormed(t *testing.T) {
	for _, d := range generate(t) {
		t.Run(d.UID, func(t *testing.T) { wellFormed(t, d, snmp.Profiles()) })
	}
}

type tester interface {
	Helper()
	Errorf(string, ...any)
	Fatalf(string, ...any)
}

// wellFormed holds a dashboard to what Grafana needs and to metrics that somebody writes.
func wellFormed(t tester, d dashboards.Dashboard, profiles []profile.Profile) {
	t.Helper()
	s := parse(t, d)
	if s.UID != d.UID || s.Title != d.Title || len(d.UID) > 40 || s.SchemaVersion != 37 {
		t.Errorf("uid %q, title %q, schema %d", s.UID, s.Title, s.SchemaVersion)
	}
	known := metrics(profiles)
	ids, titles := map[int]bool{}, map[string]bool{}
	variables := map[string]bool{}
	for _, v := range s.Templating.List {
		if variables[v.Name] {
			t.Errorf("two variables are named %s", v.Name)
		}
		variables[v.Name] = true
		if query, ok := strings.CutPrefix(v.Definition, "label_values("); ok {
			expression(t, query[:strings.LastIndex(query, ",")], variables, known)
		} else if v.Type == "query" {
			t.Errorf("variable %s asks %q", v.Name, v.Definition)
		}
	}
	for i, p := range s.Panels {
		if p.ID < 1 || ids[p.ID] {
			t.Errorf("panel id %d is not unique", p.ID)
		}
		ids[p.ID] = true
		g := p.GridPos
		if g.X < 0 || g.W < 1 || g.H < 1 || g.X+g.W > 24 {
			t.Errorf("panel %q is outside of the grid: %+v", p.Title, g)
		}
		for _, o := range s.Panels[:i] {
			if q := o.GridPos; g.X < q.X+q.W && q.X < g.X+g.W && g.Y < q.Y+q.H && q.Y < g.Y+g.H {
				t.Errorf("panels %q and %q overlap", o.Title, p.Title)
			}
		}
		if p.Title == "" {
			t.Errorf("panel %d has no title", p.ID)
		}
		if p.Type == "row" {
			continue
		}
		if titles[p.Title] && len(profiles) == len(snmp.Profiles()) {
			t.Errorf("two panels are named %q", p.Title)
		}
		titles[p.Title] = true
		if p.Datasource == nil || p.Datasource.UID != "${datasource}" || len(p.Targets) == 0 {
			t.Errorf("panel %q has no data source or query", p.Title)
		}
		refs := map[string]bool{}
		for _, q := range p.Targets {
			if q.RefID == "" || refs[q.RefID] || q.Datasource.Type != "prometheus" {
				t.Errorf("panel %q: query %q", p.Title, q.RefID)
			}
			refs[q.RefID] = true
			expression(t, q.Expr, variables, known)
		}
	}
}

var variable = regexp.MustCompile(`\$\{?(\w+)\}?`)

// expression parses a query as Grafana would send it and checks that its metrics exist.
func expression(t tester, expr string, variables, known map[string]bool) {
	t.Helper()
	sent := variable.ReplaceAllStringFunc(expr, func(v string) string {
		name := strings.Trim(v, "${}")
		switch {
		case strings.HasPrefix(name, "__"):
			return "5m"
		case !variables[name]:
			t.Errorf("%s: there is no variable %s", expr, name)
		}
		return "x"
	})
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(sent)
	if err != nil {
		t.Errorf("%s: %v", sent, err)
		return
	}
	parser.Inspect(parsed, func(n parser.Node, _ []parser.Node) error {
		if v, ok := n.(*parser.VectorSelector); ok && !known[v.Name] {
			t.Errorf("%s: nobody writes %q", expr, v.Name)
		}
		return nil
	})
}

// metrics are the names of the series that a Kemi with these profiles writes.
func metrics(profiles []profile.Profile) map[string]bool {
	known := map[string]bool{sample.Up: true, sample.PollDuration: true}
	for _, p := range profiles {
		for _, t := range p.Tables {
			for _, c := range t.Columns {
				if c.Kind != "text" {
					known[c.Name] = true
				}
			}
		}
	}
	return known
}

func TestAColumnThatPromQLTakesForAWordIsRefused(t *testing.T) {
	for _, name := range []string{"On", "by", "SUM"} {
		p := profile.Profile{Name: "p", Tables: []profile.Table{{Name: "t", Labels: []string{"i"}, Columns: []profile.Column{{Name: name, Kind: "gauge"}}}}}
		if _, err := dashboards.Generate([]profile.Profile{p}); err == nil || !strings.Contains(err.Error(), "is a word of PromQL") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Whatever people put into profiles, the dashboards are well formed.
func TestDashboardsOfAnyProfileAreWellFormed(t *testing.T) {
	name := rapid.StringMatching(`(if|hr|x)?[A-Z][a-z]{1,5}(In|Out|Used|Size|AdminStatus|OperStatus|Speed|Octets|_x)?`)
	column := rapid.Custom(func(t *rapid.T) profile.Column {
		c := profile.Column{
			Name: name.Draw(t, "column"), Kind: rapid.SampledFrom([]string{"counter", "gauge", "text"}).Draw(t, "kind"),
			Unit: rapid.SampledFrom([]string{"", "bytes", "packets", "megabits_per_second", "allocation_units", "furlongs_per_fortnight"}).Draw(t, "unit"),
		}
		if c.Kind == "gauge" && rapid.Bool().Draw(t, "is enum") {
			c.Enum = map[string]string{"1": "up", "2": "strange"}
		}
		return c
	})
	table := rapid.Custom(func(t *rapid.T) profile.Table {
		x := profile.Table{
			Name:    rapid.StringMatching(`[a-z]{1,8}s?(-[a-z]{1,3})?`).Draw(t, "table"),
			Columns: rapid.SliceOfNDistinct(column, 1, 12, func(c profile.Column) string { return c.Name }).Draw(t, "columns"),
		}
		if x.Single = rapid.Bool().Draw(t, "single"); !x.Single {
			x.Labels = rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z]{1,3}(Index|Name|Descr)`), 1, 3, rapid.ID).Draw(t, "labels")
		}
		return x
	})
	rapid.Check(t, func(t *rapid.T) {
		p := profile.Profile{
			Name:   rapid.StringMatching(`[a-z]{1,5}(-[a-z]{1,5})?`).Draw(t, "profile"),
			Tables: rapid.SliceOfNDistinct(table, 0, 5, func(t profile.Table) string { return t.Name }).Draw(t, "tables"),
		}
		profiles := []profile.Profile{p}
		ds, err := dashboards.Generate(profiles)
		if err != nil && !strings.Contains(err.Error(), "is a word of PromQL") {
			t.Fatalf("%v", err)
		}
		for _, d := range ds {
			wellFormed(t, d, profiles)
		}
	})
}

func TestTheNetworkDeviceShowsEveryColumnInItsUnit(t *testing.T) {
	units, exprs := map[string]string{}, ""
	var board shown
	for _, d := range generate(t) {
		if d.UID == dashboards.NetworkDeviceUID {
			board = parse(t, d)
		}
	}
	for _, p := range board.Panels {
		units[p.Title] = p.FieldConfig.Defaults.Unit
		for _, q := range p.Targets {
			exprs += q.Expr + "\n"
		}
	}
	want := map[string]string{
		"Traffic": "bps", "Utilisation": "percentunit", "Unicast packets": "pps", "Errors": "suffix: /s", "Uptime": "dtdurations",
		"Poll duration": "s", "Oper status": "",
	}
	for title, unit := range want {
		if got, there := units[title]; !there || got != unit {
			t.Errorf("panel %q has unit %q (%v), want %q", title, got, slices.Sorted(maps.Keys(units)), unit)
		}
	}
	for _, part := range []string{
		`rate(ifHCInOctets{target="$target",ifName=~"$interface"}[$__rate_interval]) * 8`, "ifOutDiscards", "ifOperStatus", "ifAdminStatus",
		"ifHighSpeed", "sysUpTime",
	} {
		if !strings.Contains(exprs, part) {
			t.Errorf("no panel asks for %s", part)
		}
	}
	for _, p := range board.Panels {
		if p.Title == "Oper status" {
			if one := p.FieldConfig.Defaults.Mappings[0].Options["2"]; one.Text != "down" || one.Color != "red" {
				t.Errorf("state 2 is shown as %+v", one)
			}
		}
	}
}

func TestProfilesThatCannotBeDrawnAreRefused(t *testing.T) {
	of := func(c profile.Column, labels ...string) []profile.Profile {
		return []profile.Profile{{Name: "ups", Tables: []profile.Table{{Name: "outlets", Labels: labels, Columns: []profile.Column{c}}}}}
	}
	for want, in := range map[string][]profile.Profile{
		`two profiles are named "a"`:    {{Name: "a"}, {Name: "b"}, {Name: "a"}},
		`"a b" in table outlets cannot`: of(profile.Column{Name: "a b", Kind: "gauge"}, "i"),
		`"1i" in table outlets cannot`:  of(profile.Column{Name: "load", Kind: "gauge"}, "1i"),
		`unknown kind "gague"`:          of(profile.Column{Name: "load", Kind: "gague"}, "i"),
		`name "..." has no letter`:      {{Name: "..."}},
	} {
		if _, err := dashboards.Generate(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestAProfileOfOnesOwnHasADashboard(t *testing.T) {
	ds, err := dashboards.Generate([]profile.Profile{{
		Name: "UPS (Eaton)", Help: "Uninterruptible power supplies.",
		Tables: []profile.Table{
			{Name: "ups", Single: true, Columns: []profile.Column{{Name: "upsBatteryTemperature", Kind: "gauge", Unit: "celsius"}, {Name: "upsName", Kind: "text"}}},
			{Name: "outlets", Labels: []string{"outlet"}, Columns: []profile.Column{{Name: "upsOutletWatts", Kind: "gauge", Unit: "watts"}}},
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	got := parse(t, ds[1])
	var titles []string
	for _, p := range got.Panels {
		titles = append(titles, fmt.Sprintf("%s: %s %s", p.Type, p.Title, p.FieldConfig.Defaults.Unit))
	}
	want := []string{
		"stat: State ", "stat: Availability percentunit", "stat: Poll duration s", "stat: Battery temperature celsius", "row: Polling ",
		"state-timeline: Answers ", "timeseries: Poll duration over time s", "row: Outlets ", "timeseries: Outlet watts watt",
	}
	if diff := cmp.Diff(want, titles); diff != "" || got.UID != "kemi-profile-ups-eaton" {
		t.Error(got.UID, diff)
	}
}
