package dashboards

import (
	"fmt"
	"net/url"
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
