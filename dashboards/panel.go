package dashboards

import (
	"slices"
	"strconv"
)

// DatasourceUID is the uid, and the name, of the data source that stands for Kemi. They are equal because variables of
// type datasource hold a name in older Grafanas and a uid in newer ones.
const DatasourceUID = "kemi"

// chosen is the data source that the viewer chose, Kemi's unless somebody changed it.
func chosen() *source { return &source{"prometheus", "${datasource}"} }

func newBoard(uid, title, description string) board {
	return board{
		UID: uid, Title: title, Description: description, Tags: []string{tagKemi, tagGenerated}, Editable: true,
		GraphTooltip: 1, SchemaVersion: schemaVersion, Refresh: "30s", Time: timeRange{"now-1h", "now"},
		Annotations: list[any]{[]any{}},
		Links: []boardLink{{
			Type: "dashboards", Title: "Kemi", Tags: []string{tagKemi}, AsDropdown: true, KeepTime: true, Icon: "external link",
		}},
		Templating: list[vari]{[]vari{{
			Name: "datasource", Label: "Data source", Type: "datasource", Query: "prometheus",
			Current: variCurrent{true, DatasourceUID, DatasourceUID}, Options: []any{}, Refresh: 1,
		}}},
	}
}

// The tags of generated dashboards; a file with both, and a uid of ours, was written here.
const (
	tagKemi      = "kemi"
	tagGenerated = "generated"
)

// choice adds a variable that offers the results of a label query, one at a time or, with all, any number.
func (b *board) choice(name, label, definition string, all bool) {
	v := vari{
		Name: name, Label: label, Type: "query", Datasource: chosen(), Definition: definition,
		Query: variQuery{definition, "StandardVariableQuery"}, Current: object{}, Options: []any{}, Refresh: 2, Sort: 1,
	}
	if all {
		v.Multi, v.IncludeAll, v.AllValue = true, true, ".*"
		v.Current = variCurrent{true, []string{"All"}, []string{"$__all"}}
	}
	b.Templating.List = append(b.Templating.List, v)
}

// free returns a name that no variable has yet.
func (b *board) free(name string) string {
	for slices.ContainsFunc(b.Templating.List, func(v vari) bool { return v.Name == name }) {
		name += "_row"
	}
	return name
}

// grid places panels from left to right and top to bottom on Grafana's 24 columns, and numbers them.
type grid struct {
	panels    []panel
	x, y, low int // the next place, and the lowest edge of the line of panels
}

const gridWidth = 24

func (g *grid) add(p panel, w, h int) {
	if g.x+w > gridWidth {
		g.x, g.y = 0, g.low
	}
	p.ID = len(g.panels) + 1
	p.GridPos = gridPos{H: h, W: w, X: g.x, Y: g.y}
	g.x += w
	g.low = max(g.low, g.y+h)
	g.panels = append(g.panels, p)
}

// row begins a new section.
func (g *grid) row(title string) {
	g.x, g.y = 0, g.low
	open := false
	g.add(panel{Type: "row", Title: title, Collapsed: &open}, gridWidth, 1)
	g.x, g.y = 0, g.low
}

// line is one query of a graph; q is numbered by its place.
type line struct{ expr, legend string }

func (l line) query(i int) query {
	return query{
		RefID: refID(i), Datasource: chosen(), Expr: l.expr, LegendFormat: l.legend, Format: "time_series",
		Range: true, EditorMode: "code",
	}
}

// now is the query of the newest value only.
func (l line) now(i int, format string) query {
	q := l.query(i)
	q.Instant, q.Range, q.Format = true, false, format
	return q
}

// refID names the queries of a panel A to Z and then A1, B1, …
func refID(i int) string {
	name := string(rune('A' + i%26))
	if i >= 26 {
		name += strconv.Itoa(i / 26)
	}
	return name
}

func data(kind, title, description string, defaults field) panel {
	if defaults.Mappings == nil {
		defaults.Mappings = []mapping{}
	}
	return panel{
		Type: kind, Title: title, Description: description, Datasource: chosen(), PluginVersion: pluginVersion,
		FieldConfig: &fieldConfig{Defaults: defaults, Overrides: []override{}},
	}
}

// curve is how the lines of a graph are drawn.
type curve struct {
	DrawStyle         string `json:"drawStyle"`
	LineInterpolation string `json:"lineInterpolation"`
	LineWidth         int    `json:"lineWidth"`
	FillOpacity       int    `json:"fillOpacity"`
	GradientMode      string `json:"gradientMode"`
	ShowPoints        string `json:"showPoints"`
	SpanNulls         bool   `json:"spanNulls"`
	AxisPlacement     string `json:"axisPlacement"`
	AxisLabel         string `json:"axisLabel"`
	AxisCentered      bool   `json:"axisCenteredZero"`
	Stacking          object `json:"stacking"`
}

func graph(title, description, unit string, lines ...line) panel {
	p := data("timeseries", title, description, field{
		Unit: unit, Color: &color{Mode: "palette-classic"},
		Custom: curve{
			DrawStyle: "line", LineInterpolation: "linear", LineWidth: 1, FillOpacity: 0, GradientMode: "none",
			ShowPoints: "never", AxisPlacement: "auto", Stacking: object{"mode": "none", "group": "A"},
		},
	})
	p.Options = object{
		"legend":  object{"displayMode": "table", "placement": "bottom", "showLegend": true, "calcs": []string{"lastNotNull", "max"}, "sortBy": "Max", "sortDesc": true},
		"tooltip": object{"mode": "multi", "sort": "desc"},
	}
	for i, l := range lines {
		p.Targets = append(p.Targets, l.query(i))
	}
	return p
}

// filled colors what is below the lines, which is good for few of them.
func filled(p panel, opacity int) panel {
	c := p.FieldConfig.Defaults.Custom.(curve)
	c.FillOpacity = opacity
	p.FieldConfig.Defaults.Custom = c
	return p
}

func stacked(p panel) panel {
	c := p.FieldConfig.Defaults.Custom.(curve)
	c.FillOpacity, c.Stacking = 40, object{"mode": "normal", "group": "A"}
	p.FieldConfig.Defaults.Custom = c
	return p
}

// mirrored draws the lines of the second query below zero.
func mirrored(p panel) panel {
	c := p.FieldConfig.Defaults.Custom.(curve)
	c.AxisCentered = true
	p.FieldConfig.Defaults.Custom = c
	p.FieldConfig.Overrides = append(p.FieldConfig.Overrides, override{
		matcher{"byFrameRefID", "B"}, []property{{"custom.transform", "negative-Y"}},
	})
	return p
}

func stat(title, description string, f field, l line) panel {
	p := data("stat", title, description, f)
	p.Targets = []query{l.now(0, "time_series")}
	p.Options = object{
		"colorMode": "value", "graphMode": "none", "justifyMode": "auto", "orientation": "auto", "textMode": "auto",
		"reduceOptions": lastValue(),
	}
	return p
}

func bars(title, description string, f field, l line) panel {
	p := data("bargauge", title, description, f)
	p.Targets = []query{l.now(0, "time_series")}
	p.Options = object{
		"displayMode": "gradient", "orientation": "horizontal", "showUnfilled": true, "minVizHeight": 10, "minVizWidth": 0,
		"reduceOptions": lastValue(),
	}
	return p
}

func lastValue() object {
	return object{"calcs": []string{"lastNotNull"}, "fields": "", "values": false}
}

// states draws enumerations over time, one lane per series.
func states(title, description string, m []mapping, l line) panel {
	p := data("state-timeline", title, description, field{
		// In the mode "thresholds" Grafana would draw thresholds in place of the values.
		Mappings: m, Color: &color{Mode: "palette-classic"},
		Custom: object{"fillOpacity": 70, "lineWidth": 0, "spanNulls": false},
	})
	p.Targets = []query{l.query(0)}
	p.Options = object{
		"mergeValues": true, "showValue": "never", "alignValue": "left", "rowHeight": 0.8,
		"legend":  object{"displayMode": "list", "placement": "bottom", "showLegend": true},
		"tooltip": object{"mode": "single", "sort": "none"},
	}
	return p
}

// above makes thresholds: a color from the smallest value on, and those that begin higher.
func above(first string, more ...step) *thresholds {
	return &thresholds{Mode: "absolute", Steps: append([]step{{Color: first}}, more...)}
}

func from(v float64, color string) step { return step{color, &v} }

func number[T int | float64](v T) *T { return &v }
