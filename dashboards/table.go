package dashboards

import (
	"fmt"
	"strings"
)

// cell is a value column of a table panel.
type cell struct {
	title, expr, unit string
	decimals          *int
	mappings          []mapping
	thresholds        *thresholds
	// look is Grafana's cell display mode: "color-text", "color-background", "gradient-gauge"; empty is plain text.
	look     string
	min, max *float64
	width    int
}

// label is a label column of a table panel.
type label struct {
	name, title string
	links       []dataLink
	width       int
}

// table joins the newest values of its cells by their labels. Every expression must yield those labels and no others,
// or the rows would not meet.
func table(title, description, noValue string, labels []label, sortBy string, cells ...cell) panel {
	p := data("table", title, description, field{
		NoValue: noValue, Color: &color{Mode: "thresholds"}, Thresholds: above("text"),
		Custom: object{"align": "auto", "displayMode": "auto", "filterable": false, "minWidth": 70},
	})
	hide, order, rename := map[string]bool{"Time": true}, map[string]int{}, map[string]string{}
	for i, l := range labels {
		order[l.name], rename[l.name] = i, l.title
		if o := l.override(); len(o.Properties) > 0 {
			p.FieldConfig.Overrides = append(p.FieldConfig.Overrides, o)
		}
	}
	for i, c := range cells {
		p.Targets = append(p.Targets, line{expr: c.expr}.now(i, "table"))
		from := "Value #" + refID(i)
		if len(cells) == 1 {
			from = "Value" // Grafana names the one value column so after a join of one.
			rename["Value #"+refID(i)], order["Value #"+refID(i)] = c.title, len(labels)
		}
		order[from], rename[from] = len(labels)+i, c.title
		p.FieldConfig.Overrides = append(p.FieldConfig.Overrides, c.override())
	}
	p.Transformations = []transformation{
		{"merge", object{}},
		{"organize", object{"excludeByName": hide, "indexByName": order, "renameByName": rename}},
	}
	p.Options = object{
		"showHeader": true, "cellHeight": "sm", "footer": object{"show": false, "reducer": []string{"sum"}, "fields": ""},
		"sortBy": []object{{"displayName": sortBy, "desc": sortBy != labels[0].title}},
	}
	return p
}

func (l label) override() override {
	o := override{Matcher: matcher{"byName", l.title}}
	if len(l.links) > 0 {
		o.Properties = append(o.Properties, property{"links", l.links})
	}
	if l.width > 0 {
		o.Properties = append(o.Properties, property{"custom.width", l.width})
	}
	return o
}

func (c cell) override() override {
	o := override{Matcher: matcher{"byName", c.title}}
	add := func(id string, v any) { o.Properties = append(o.Properties, property{id, v}) }
	add("unit", c.unit)
	if c.decimals != nil {
		add("decimals", *c.decimals)
	}
	if c.min != nil {
		add("min", *c.min)
	}
	if c.max != nil {
		add("max", *c.max)
	}
	if c.mappings != nil {
		add("mappings", c.mappings)
	}
	if c.thresholds != nil {
		add("thresholds", c.thresholds)
	}
	if c.look != "" {
		add("custom.displayMode", c.look)
	}
	if c.width > 0 {
		add("custom.width", c.width)
	}
	return o
}

// by keeps only the given labels of an expression, so that joins meet and a series that is there twice counts once.
func by(op string, labels []string, expr string) string {
	return fmt.Sprintf("%s by (%s) (%s)", op, strings.Join(labels, ", "), expr)
}
