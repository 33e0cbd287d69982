package route

import (
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	am "github.com/prometheus/alertmanager/config"
	"github.com/prometheus/alertmanager/dispatch"
	"github.com/prometheus/common/model"
	"pgregory.net/rapid"

	"kemi.dev/kemi/bus/event"
)

// shownTo reads what is shown of a tree as Alertmanager does.
func shownTo(t rapid.TB, tree *Tree) *dispatch.Route {
	t.Helper()
	asAlertmanager()
	type named struct {
		Name string `yaml:"name"`
	}
	var c struct {
		Route     Shown   `yaml:"route"`
		Receivers []named `yaml:"receivers"`
	}
	root, receivers := tree.Show(known.Teams)
	c.Route = root
	for _, name := range receivers {
		c.Receivers = append(c.Receivers, named{name})
	}
	text, err := yaml.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	read, err := am.Load(string(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return dispatch.NewRoute(read.Route, nil)
}

// whom says whom Alertmanager tells, and whom a tree does, with a team that is not there being the default one.
func whom(judge *dispatch.Route, tree *Tree, ls event.Labels) (theirs, ours string) {
	set := model.LabelSet{}
	for _, l := range ls {
		set[model.LabelName(l.Name)] = model.LabelValue(l.Value)
	}
	var all []string
	for _, m := range judge.Match(set) {
		all = append(all, m.RouteOpts.Receiver)
	}
	theirs = strings.Join(all, ",")
	all = nil
	for _, m := range tree.Match(ls) {
		switch {
		case m.Team == "":
			all = append(all, m.Receiver)
		case slices.Contains(known.Teams, m.Team):
			all = append(all, TeamPrefix+m.Team)
		default:
			all = append(all, TeamPrefix+DefaultTeam)
		}
	}
	return theirs, strings.Join(all, ",")
}

// For random trees and every set of labels Alertmanager's tools tell whom we tell, by what they are shown.
func TestWhatIsShownRoutesAsWeRoute(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		ours := &Tree{root: build(config(t, drawTree(rt)), nil, 1, AlertmanagerWaits())}
		judge := shownTo(rt, ours)
		for ls := range allLabels() {
			if theirs, want := whom(judge, ours, ls); theirs != want {
				rt.Fatalf("%s: %s, not %s", ls, theirs, want)
			}
		}
	})
}

// Owners, teams and several receivers, which Alertmanager does not know, are shown as routes that it knows.
func TestOwnersAndSeveralReceiversAreShownByName(t *testing.T) {
	ours := tree(t, `{routes: [
  {matchers: ['severity="critical"'], receiver: [pager, owner]},
  {matchers: ['severity="info"'], receiver: "team:db"},
  {matchers: ['severity="odd"'], receiver: owner, routes: [{matchers: ['x="1"'], receiver: chat, continue: true}]}]}`)
	for _, c := range []struct {
		tree         *Tree
		labels, want string
	}{
		{nil, "", "team:default"},
		{nil, "network", "team:network"},
		{nil, "gone", "team:default"},
		{ours, "network", "team:network"},
		{ours, "network critical", "pager,team:network"},
		{ours, " critical", "pager,team:default"},
		{ours, "network info", "team:db"},
	} {
		team, severity, _ := strings.Cut(c.labels, " ")
		ls := event.LabelsOf(map[string]string{"team": team, "severity": severity})
		theirs, want := whom(shownTo(t, c.tree), c.tree, ls)
		if theirs != want || want != c.want {
			t.Errorf("%s: %s, we tell %s, want %s", ls, theirs, want, c.want)
		}
	}
	odd := event.LabelsOf(map[string]string{"team": "network", "severity": "odd", "x": "1"})
	if theirs, _ := whom(shownTo(t, ours), ours, odd); theirs != "chat" {
		t.Errorf("below a route that continues: %s", theirs)
	}
}
