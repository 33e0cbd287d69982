package dashboards

import (
	"fmt"
	"slices"
	"strings"

	"kemi.dev/kemi/collector/profile"
)

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
