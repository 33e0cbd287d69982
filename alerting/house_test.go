package alerting

import (
	"kemi.dev/kemi/alerting/hush"
	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/internal/conf"
)

func (h *house) configuration() string {
	if h.config == "" {
		return houseConfig
	}
	return h.config
}

func (h *house) options(text string, b *bus.Bus) Options {
	var c struct {
		Receivers, Teams, People, Schedules map[string]conf.Node
		Route, Alerting                     conf.Node
		InhibitRules                        conf.Node `yaml:"inhibit_rules"`
		TimeIntervals                       conf.Node `yaml:"time_intervals"`
		Maintenance                         conf.Node
	}
	nodes, problems := conf.Parse("kemi.yaml", []byte(text))
	problems = append(problems, nodes[0].Into(&c)...)
	if err := problems.Err(); err != nil {
		h.t.Fatal(err)
	}
	return Options{Bus: b, Receivers: c.Receivers, Teams: c.Teams, People: c.People, Schedules: c.Schedules, Route: c.Route, Policy: c.Alerting, Canary: h.canary, Inboxes: h.boxes, Holds: hush.Config{InhibitRules: c.InhibitRules, TimeIntervals: c.TimeIntervals, Maintenance: c.Maintenance}}
}
