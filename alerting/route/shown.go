package route

import (
	"slices"
	"strings"

	"github.com/prometheus/alertmanager/pkg/labels"
)

// Shown is a route as Alertmanager's tools read it: who is told of what. Waits, groups and intervals are not in it.
type Shown struct {
	Receiver string   `yaml:"receiver"`
	Matchers []string `yaml:"matchers,omitempty"`
	Continue bool     `yaml:"continue,omitempty"`
	Routes   []Shown  `yaml:"routes,omitempty"`
}

// Show writes a tree for Alertmanager's tools, and the receivers that it names. Several receivers of one route are one
// there, with a comma between their names. The owner is team:NAME by the alert's label team, among the teams that there
// are; only where a route below continues it stays owner, for there Alertmanager would tell the team as well.
func (t *Tree) Show(teams []string) (root Shown, receivers []string) {
	n := &node{config: &Config{}, ways: []Match{{Receiver: Owner}}}
	if t != nil {
		n = t.root
	}
	root = n.show(teams)
	seen := map[string]bool{}
	var walk func(Shown)
	walk = func(s Shown) {
		if !seen[s.Receiver] {
			seen[s.Receiver] = true
			receivers = append(receivers, s.Receiver)
		}
		for _, below := range s.Routes {
			walk(below)
		}
	}
	walk(root)
	return root, receivers
}

func (n *node) show(teams []string) Shown {
	s := Shown{Continue: n.config.Continue, Receiver: n.told(Owner)}
	for _, m := range n.matchers {
		s.Matchers = append(s.Matchers, m.String())
	}
	for _, r := range n.routes {
		s.Routes = append(s.Routes, r.show(teams))
	}
	owned := slices.ContainsFunc(n.ways, func(m Match) bool { return m.Receiver == Owner })
	if !owned || slices.ContainsFunc(n.routes, func(r *node) bool { return r.config.Continue }) {
		return s
	}
	for _, team := range teams {
		if team != DefaultTeam { // It owns the rest.
			is := labels.Matcher{Type: labels.MatchEqual, Name: TeamLabel, Value: team}
			s.Routes = append(s.Routes, Shown{Receiver: n.told(TeamPrefix + team), Matchers: []string{is.String()}})
		}
	}
	s.Receiver = n.told(TeamPrefix + DefaultTeam)
	return s
}

// told names whom a route tells, with the owner in place.
func (n *node) told(owner string) string {
	var all []string
	for _, way := range n.ways {
		switch {
		case way.Receiver == Owner:
			all = append(all, owner)
		case way.Team != "":
			all = append(all, TeamPrefix+way.Team)
		default:
			all = append(all, way.Receiver)
		}
	}
	return strings.Join(all, ",")
}
