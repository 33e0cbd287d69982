package hush

import (
	"strings"
	"testing"
	"time"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/conf"
)

// noon is when most tests ask.
func noon() time.Time { return utc("2026-01-05 12:00") }

func eq(name, value string) event.Matcher { return event.Matcher{Name: name, Value: value} }

// silence is in force from an hour before noon to an hour after.
func silence(id string, matchers ...event.Matcher) *event.Silence {
	return &event.Silence{
		ID: id, Kind: event.PlainSilence, Matchers: matchers, StartsAt: noon().Add(-time.Hour), EndsAt: noon().Add(time.Hour),
		By: "jo", Comment: "new switch", Updated: noon().Add(-2 * time.Hour),
	}
}

func maintenance(id string, inherit bool, matchers ...event.Matcher) *event.Silence {
	s := silence(id, matchers...)
	s.Kind, s.Inherit = event.MaintenanceWindow, inherit
	return s
}

func setOf(t testing.TB, all ...*event.Silence) *Set {
	t.Helper()
	s, problems := New(Config{})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	for _, one := range all {
		if err := s.Put(one); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func fromYAML(t testing.TB, text string) (*Set, conf.Problems) {
	t.Helper()
	n, problems := parseYAML(text)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return New(Config{
		Maintenance: n.Get("maintenance"), InhibitRules: n.Get("inhibit_rules"), TimeIntervals: n.Get("time_intervals"),
		MuteTimeIntervals: n.Get("mute_time_intervals"),
	})
}

func parseYAML(text string) (conf.Node, conf.Problems) {
	nodes, problems := conf.Parse("kemi.yaml", []byte(text))
	if len(nodes) == 0 {
		return conf.Node{}, problems
	}
	return nodes[0], problems
}

func mustYAML(t testing.TB, text string) *Set {
	t.Helper()
	s, problems := fromYAML(t, text)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return s
}

func labelsOf(pairs ...string) event.Labels {
	m := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return event.LabelsOf(m)
}

// ids are the first causes of reasons.
func ids(all []event.Reason) string {
	var out []string
	for _, r := range all {
		out = append(out, r.Causes[0])
	}
	return strings.Join(out, " ")
}

// world is a core pair, a rack behind it, a server in the rack, a VM on the server and a service that a database is
// needed for.
func world(change func(map[string]*event.Target)) func(string) *event.Target {
	one := func(ids ...string) []event.Need {
		var out []event.Need
		for _, id := range ids {
			out = append(out, event.Need{id})
		}
		return out
	}
	all := map[string]*event.Target{}
	for _, t := range []*event.Target{
		{ID: "core-1", Class: "switch", Team: "network", Labels: map[string]string{"site": "dc1", "pair": "core"}},
		{ID: "core-2", Class: "switch", Team: "network", Labels: map[string]string{"site": "dc1", "pair": "core"}},
		{ID: "tor-1", Class: "switch", Team: "network", Labels: map[string]string{"rack": "r1"}, Relations: map[string][]event.Need{event.ConnectedTo: {{"core-1", "core-2"}}}},
		{ID: "pdu-1", Class: "pdu", Team: "power", Labels: map[string]string{"rack": "r1"}},
		{ID: "srv-1", Class: "server", Team: "compute", Relations: map[string][]event.Need{event.ConnectedTo: one("tor-1"), event.PoweredBy: one("pdu-1")}},
		{ID: "vm-1", Class: "vm", Team: "shop", Labels: map[string]string{"env": "prod"}, Relations: map[string][]event.Need{event.RunsOn: one("srv-1")}},
		{ID: "db-1", Class: "vm", Team: "db", Relations: map[string][]event.Need{event.DependsOn: one("shop-1")}},
		{ID: "shop-1", Class: "service", Team: "shop", Relations: map[string][]event.Need{event.RunsOn: one("vm-1"), event.DependsOn: one("db-1", "elsewhere")}},
	} {
		t.Lifecycle = event.Active
		all[t.ID] = t
	}
	if change != nil {
		change(all)
	}
	return func(id string) *event.Target { return all[id] }
}

func about(find func(string) *event.Target, id string, pairs ...string) Subject {
	t := find(id)
	return Subject{Labels: t.EffectiveLabels().With(labelsOf(pairs...).Map()), Target: t, Find: find}
}
