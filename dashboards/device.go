package dashboards

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"kemi.dev/kemi/collector/profile"
)

// onTarget selects the series of the device that is looked at.
const onTarget = `{target="$target"}`

// deviceBoard is one device, with everything that its profile reads.
func deviceBoard(v view, p profile.Profile) board {
	description := "One device, drawn from the profile " + p.Name + "."
	if p.Help != "" {
		description = strings.TrimRight(p.Help, ".") + ". Drawn from the profile " + p.Name + "."
	}
	b := newBoard(v.uid, v.title, description)
	b.choice("target", "Target", v.targets, false)
	var g grid
	deviceStats(&g, p)
	for _, t := range p.Tables {
		if t.Single || len(numeric(t)) == 0 || len(t.Labels) == 0 {
			continue
		}
		s := section{table: t, key: keyLabel(t)}
		s.variable = b.free(slugName(t.Name))
		b.choice(s.variable, sentence(s.variable), fmt.Sprintf("label_values(%s%s, %s)", numeric(t)[0].Name, onTarget, s.key), true)
		g.row(sentence(t.Name))
		s.draw(&g)
	}
	b.Panels = g.panels
	return b
}

// deviceStats are the few numbers that there is one of.
func deviceStats(g *grid, p profile.Profile) {
	answered := []mapping{{"value", map[string]mappingResult{"0": {"down", "red", 0}, "1": {"up", "green", 1}}}}
	all := []panel{
		stat("State", "Whether the newest poll of every check was answered.",
			field{Thresholds: above("red", from(1, "green")), Mappings: answered}, line{expr: "min(up" + onTarget + ")"}),
		stat("Availability", "Share of polls in the time range that were answered.", availability(),
			line{expr: "avg(avg_over_time(up" + onTarget + "[$__range]))"}),
		stat("Poll duration", "How long the newest poll took.", field{Unit: "s", Decimals: number(1), Thresholds: above("text")},
			line{expr: "max(kemi_poll_duration_seconds" + onTarget + ")"}),
	}
	for _, t := range p.Tables {
		for _, c := range numeric(t) {
			if t.Single {
				all = append(all, scalar(c))
			}
		}
	}
	lines := (len(all) + 5) / 6
	inLine := (len(all) + lines - 1) / lines
	for i, one := range all {
		here := min(inLine, len(all)-i/inLine*inLine) // The last line may have fewer.
		width := gridWidth / here
		if i%inLine == here-1 {
			width = gridWidth - width*(here-1) // The last one takes what rounding left over.
		}
		g.add(one, width, 4)
	}
	g.row("Polling")
	g.add(states("Answers", "Whether the polls of each check were answered.", answered, line{"min by (check) (up" + onTarget + ")", "{{check}}"}), 12, 6)
	g.add(filled(graph("Poll duration over time", "How long each poll took.", "s",
		line{"max by (check) (kemi_poll_duration_seconds" + onTarget + ")", "{{check}}"}), 10), 12, 6)
}

func availability() field {
	return field{
		Unit: "percentunit", Decimals: number(2), Max: number(1.0),
		Thresholds: above("red", from(0.99, "orange"), from(0.999, "green")),
	}
}

// scalar shows a value that the device has one of.
func scalar(c profile.Column) panel {
	f := field{Unit: unitOf(c), Thresholds: above("text"), Mappings: enumeration(c)}
	if f.Unit == "s" && strings.Contains(strings.ToLower(c.Name), "uptime") {
		f.Unit, f.Decimals = "dtdurations", number(0)
		f.Thresholds = above("orange", from(600, "text")) // Ten minutes after a restart it is worth a look.
	}
	expr := "max(" + c.Name + onTarget + ")"
	if c.Kind == kindCounter {
		expr = "sum(rate(" + c.Name + onTarget + "[$__rate_interval]))" + factor(c)
	}
	return stat(sentence(c.Name), c.Name, f, line{expr: expr})
}

// section draws one table of a profile.
type section struct {
	table profile.Table
	// key is the label that names a row for people, variable the one that chooses rows by it.
	key, variable string
}

// of selects the chosen rows of a column.
func (s section) of(c profile.Column) string {
	return fmt.Sprintf(`%s{target="$target",%s=~"$%s"}`, c.Name, s.key, s.variable)
}

// value is the column in the unit that it is drawn in: counters as rates.
func (s section) value(c profile.Column, window string) string {
	if c.Kind == kindCounter {
		return "rate(" + s.of(c) + "[" + window + "])" + factor(c)
	}
	if blocks, ok := s.blocks(c); ok {
		return s.of(c) + " * " + s.of(blocks)
	}
	return s.of(c)
}

// blocks finds the column that says how many bytes a unit of c has.
func (s section) blocks(c profile.Column) (profile.Column, bool) {
	for _, other := range s.table.Columns {
		if c.Unit == "allocation_units" && other.Unit == "bytes" && strings.HasSuffix(other.Name, "AllocationUnits") {
			return other, true
		}
	}
	return profile.Column{}, false
}

// unit of value.
func (s section) unit(c profile.Column) string {
	if blocks, ok := s.blocks(c); ok {
		c.Unit = blocks.Unit
	}
	return unitOf(c)
}

func (s section) legend(suffix string) string {
	return strings.TrimSpace("{{" + s.key + "}} " + suffix)
}

// series keeps of an expression what names a row.
func (s section) series(expr string) string { return by("max", []string{s.key}, expr) }

// draw adds the table's newest values, then curves two in a line, then states.
func (s section) draw(g *grid) {
	all := groups(s.table)
	if len(all) > 1 { // Of one column the curve says everything.
		g.add(s.now(all), gridWidth, 10)
	}
	var curves, lanes []panel
	for _, one := range all {
		switch {
		case one.hidden:
		case len(one.first.Enum) > 0:
			lanes = append(lanes, states(one.title(), one.first.Name, enumeration(one.first), line{s.series(s.of(one.first)), s.legend("")}))
		default:
			curves = append(curves, s.curve(one))
		}
	}
	if busy, ok := s.utilisation(all, "$__rate_interval"); ok {
		p := graph("Utilisation", "Traffic as a share of the interface's speed, the busier direction.", "percentunit", line{busy, s.legend("")})
		p.FieldConfig.Defaults.Min = number(0.0)
		curves = slices.Insert(curves, min(1, len(curves)), p)
	}
	for i, p := range curves {
		if i%2 == 0 && i == len(curves)-1 {
			g.add(p, gridWidth, 9)
			continue
		}
		g.add(p, gridWidth/2, 9)
	}
	for _, p := range lanes {
		g.add(p, gridWidth, 12)
	}
}

// curve is the graph of a column or a pair.
func (s section) curve(one group) panel {
	c, name := one.first, one.title()
	switch {
	case one.out.Name != "":
		return mirrored(graph(name, fmt.Sprintf("%s above, %s below zero.", c.Name, one.out.Name), s.unit(c),
			line{s.series(s.value(c, "$__rate_interval")), s.legend("in")},
			line{s.series(s.value(one.out, "$__rate_interval")), s.legend("out")}))
	case one.size.Name != "":
		p := graph(name, fmt.Sprintf("%s of %s.", c.Name, one.size.Name), "percentunit",
			line{s.series(s.of(c) + " / (" + s.of(one.size) + " > 0)"), s.legend("")})
		p.FieldConfig.Defaults.Min, p.FieldConfig.Defaults.Max = number(0.0), number(1.0)
		return p
	}
	p := graph(name, c.Name, s.unit(c), line{s.series(s.value(c, "$__rate_interval")), s.legend("")})
	if c.Unit == "percent" {
		p.FieldConfig.Defaults.Min, p.FieldConfig.Defaults.Max = number(0.0), number(100.0)
	}
	return p
}

// utilisation is the busier direction of a pair of octet counters as a share of the speed column, where there is one.
func (s section) utilisation(all []group, window string) (string, bool) {
	for _, pair := range all {
		for _, speed := range s.table.Columns {
			scale := bitsPerSecond(speed.Unit)
			if pair.out.Name == "" || !isOctets(pair.first) || scale == "" {
				continue
			}
			share := func(c profile.Column) string {
				return s.series(fmt.Sprintf("%s / (%s%s > 0)", s.value(c, window), s.of(speed), scale))
			}
			in, out := share(pair.first), share(pair.out)
			return fmt.Sprintf("(%s > %s) or %s", in, out, out), true
		}
	}
	return "", false
}

// now is the table of every row's newest values.
func (s section) now(all []group) panel {
	var labels []label
	for _, name := range s.labels() {
		l := label{name: name, title: name}
		if strings.HasSuffix(name, "Index") && name != s.key {
			l.width = 70
		}
		labels = append(labels, l)
	}
	var cells []cell
	add := func(c profile.Column, title string) {
		one := cell{title: title, expr: by("max", s.labels(), s.value(c, "5m")), unit: s.unit(c), mappings: enumeration(c), decimals: number(1)}
		if len(c.Enum) > 0 {
			one.look, one.decimals = "color-background", nil
			if one.thresholds = above("text"); len(one.mappings) == 0 {
				one.look = ""
			}
		}
		cells = append(cells, one)
	}
	for _, one := range all { // States first: they say whether the numbers matter.
		if len(one.first.Enum) > 0 {
			add(one.first, sentence(one.first.Name))
		}
	}
	for _, one := range all {
		switch {
		case len(one.first.Enum) > 0:
		case one.out.Name != "":
			add(one.first, one.title()+" in")
			add(one.out, one.title()+" out")
		default:
			add(one.first, sentence(one.first.Name))
			if one.size.Name != "" {
				add(one.size, sentence(one.size.Name))
			}
		}
	}
	return table(sentence(s.table.Name)+" now", "The newest values; rates over five minutes.", "", labels, labels[0].title, cells...)
}

// labels are the row's labels with the one that people know first.
func (s section) labels() []string {
	out := []string{s.key}
	for _, l := range s.table.Labels {
		if l != s.key {
			out = append(out, l)
		}
	}
	return out
}

// deviceLinks lead from a row with a field "target" to the dashboards of devices.
func deviceLinks(devices []view) []dataLink {
	var links []dataLink
	for _, d := range devices {
		links = append(links, dataLink{strings.TrimPrefix(d.title, "Kemi: "), "/d/" + url.PathEscape(d.uid) + "?var-datasource=${datasource}&var-target=${__data.fields[\"Target\"]}&${__url_time_range}"})
	}
	return links
}

// byLabel turns links of table rows into links of series that have a label target.
func byLabel(links []dataLink) []dataLink {
	var out []dataLink
	for _, l := range links {
		out = append(out, dataLink{l.Title, strings.Replace(l.URL, `__data.fields["Target"]`, "__field.labels.target", 1)})
	}
	return out
}
