package dashboards

import (
	"fmt"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/collector/profile"
)

// fleetSelector is what the overview speaks of: everything but the canary, as the viewer narrows it.
const fleetSelector = `{class!="` + event.CanaryClass + `",class=~"$class",team=~"$team"}`

// fleetBoard is the overview of all targets. A target with several checks is up when all of them are.
func fleetBoard(profiles []profile.Profile, devices []view) board {
	b := newBoard(FleetUID, "Kemi: fleet", "All targets: what is up, what is down, how polling goes and who talks most.")
	b.choice("class", "Class", `label_values(up{class!="`+event.CanaryClass+`"}, class)`, true)
	b.choice("team", "Team", `label_values(up{class=~"$class"}, team)`, true)
	var g grid
	fleetStats(&g)
	g.row("Targets")
	fleetTargets(&g, devices)
	g.row("Polling")
	fleetPolling(&g)
	if in, out, ok := busiest(profiles); ok {
		g.row("Traffic")
		fleetTraffic(&g, in, out, devices)
	}
	b.Panels = g.panels
	return b
}

// targetUp is 1 or 0 for each target.
func targetUp(labels string) string { return "min by (" + labels + ") (up" + fleetSelector + ")" }

func fleetStats(g *grid) {
	small := func(title, description string, f field, expr string) {
		g.add(stat(title, description, f, line{expr: expr}), 4, 4)
	}
	plain := &thresholds{Mode: "absolute", Steps: []step{{Color: "text"}}}
	small("Targets", "Targets that are polled.", field{Thresholds: plain}, "count("+targetUp("target")+")")
	small("Up", "Targets that answer all of their checks.", field{Thresholds: above("green")}, "sum("+targetUp("target")+")")
	small("Down", "Targets with a check that they do not answer.", field{Thresholds: above("green", from(1, "red"))}, "sum(1 - "+targetUp("target")+")")
	small("Availability", "Share of all polls in the time range that were answered.",
		availability(), "avg(avg_over_time(up"+fleetSelector+"[$__range]))")
	small("Polls per second", "Polls that ended, over one minute.", field{Unit: perSecond, Decimals: number(1), Thresholds: plain},
		"sum(count_over_time("+polls+"[1m])) / 60")
	small("Slowest 1 % of polls", "99 % of the targets answer faster.", field{Unit: "s", Decimals: number(1), Thresholds: plain},
		"quantile(0.99, "+polls+")")
}

const polls = "kemi_poll_duration_seconds" + fleetSelector

func fleetTargets(g *grid, devices []view) {
	classes := table("Targets by class", "Up and down now; availability over the time range.", "", []label{{name: "class", title: "Class"}}, "Class",
		cell{title: "Up", expr: "sum by (class) (" + targetUp("class, target") + ")", unit: "short", thresholds: above("green"), look: "color-text"},
		cell{
			title: "Down", expr: "sum by (class) (1 - " + targetUp("class, target") + ")", unit: "short",
			thresholds: above("text", from(1, "red")), look: "color-text",
		},
		cell{
			title: "Availability", expr: "avg by (class) (avg_over_time(up" + fleetSelector + "[$__range]))", unit: "percentunit", decimals: number(2),
			thresholds: above("red", from(0.99, "orange"), from(0.999, "green")), look: "color-text",
		})
	g.add(classes, 10, 8)

	up := graph("Up by class", "Targets that answer all of their checks.", "short",
		line{"sum by (class) (" + targetUp("class, target") + ")", "{{class}}"})
	g.add(stacked(up), 7, 8)

	down := graph("Down by class", "Targets with a check that they do not answer.", "short",
		line{"sum by (class) (1 - " + targetUp("class, target") + ")", "{{class}}"})
	down.FieldConfig.Defaults.Min = number(0.0)
	g.add(stacked(down), 7, 8)

	labels := []string{"target", "class", "team", "check"}
	targets := table("Down now", "Checks that are not answered, and for how much of the time range they were not.",
		"Every target is up",
		[]label{{name: "target", title: "Target", links: deviceLinks(devices)}, {name: "class", title: "Class"}, {name: "team", title: "Team"}, {name: "check", title: "Check"}},
		"Down in range",
		cell{
			title: "Down in range", unit: "percentunit", decimals: number(1), min: number(0.0), max: number(1.0), look: "gradient-gauge",
			thresholds: above("orange", from(0.5, "red")),
			expr:       by("max", labels, fmt.Sprintf("(1 - avg_over_time(up%s[$__range])) and up%s == 0", fleetSelector, fleetSelector)),
		})
	g.add(targets, 14, 9)

	share := graph("Availability by class", "Share of polls that were answered.", "percentunit",
		line{"avg by (class) (avg_over_time(up" + fleetSelector + "[$__rate_interval]))", "{{class}}"})
	share.FieldConfig.Defaults.Max = number(1.0)
	g.add(share, 10, 9)
}

func fleetPolling(g *grid) {
	g.add(graph("Polls by check", "Polls that ended per second, over one minute.", perSecond,
		line{"sum by (check) (count_over_time(" + polls + "[1m])) / 60", "{{check}}"}), 8, 8)
	g.add(graph("Poll duration", "Half, 90 % and 99 % of the targets answer faster.", "s",
		line{"quantile(0.5, " + polls + ")", "50 %"}, line{"quantile(0.9, " + polls + ")", "90 %"}, line{"quantile(0.99, " + polls + ")", "99 %"}), 8, 8)
	g.add(graph("Poll duration by class", "90 % of the class's targets answer faster.", "s",
		line{"quantile by (class) (0.9, " + polls + ")", "{{class}}"}), 8, 8)
}

func fleetTraffic(g *grid, in, out string, devices []view) {
	sum := func(name string) string {
		return fmt.Sprintf("sum(rate(%s%s[$__rate_interval])) * 8", name, fleetSelector)
	}
	all := graph("All traffic", "Received above, sent below zero, over all interfaces.", "bps", line{sum(in), "in"}, line{sum(out), "out"})
	g.add(filled(mirrored(all), 15), 24, 8)
	top := func(name string) line {
		return line{fmt.Sprintf("sort_desc(topk(10, sum by (target) (rate(%s%s[5m])) * 8))", name, fleetSelector), "{{target}}"}
	}
	look := field{Unit: "bps", Decimals: number(1), Min: number(0.0), Color: &color{Mode: "continuous-BlPu"}, Links: nil}
	for _, d := range deviceLinks(devices) {
		look.Links = append(look.Links, dataLink{d.Title, d.URL})
	}
	look.Links = byLabel(look.Links)
	g.add(bars("Top receivers", "Targets that received most over five minutes.", look, top(in)), 8, 10)
	g.add(bars("Top senders", "Targets that sent most over five minutes.", look, top(out)), 8, 10)
	lines := graph("Top receivers over time", "The five targets that received most, at each moment.", "bps",
		line{fmt.Sprintf("topk(5, sum by (target) (rate(%s%s[$__rate_interval])) * 8)", in, fleetSelector), "{{target}}"})
	g.add(lines, 8, 10)
}

// busiest finds the traffic counters among what the profiles read.
func busiest(profiles []profile.Profile) (in, out string, ok bool) {
	for _, p := range profiles {
		for _, t := range p.Tables {
			for _, g := range groups(t) {
				if g.out.Name != "" && isOctets(g.first) {
					return g.first.Name, g.out.Name, true
				}
			}
		}
	}
	return "", "", false
}
