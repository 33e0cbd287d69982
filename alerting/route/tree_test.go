package route

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/conf"
)

func parse(t testing.TB, text string) conf.Node {
	t.Helper()
	nodes, problems := conf.Parse("kemi.yaml", []byte(text))
	if len(problems) > 0 {
		t.Fatalf("%v in\n%s", problems, text)
	}
	return nodes[0]
}

var known = Known{Receivers: []string{"chat", "hook", "mail", "pager"}, Teams: []string{"db", "default", "network"}, Intervals: []string{"business", "night"}}

func tree(t testing.TB, text string) *Tree {
	t.Helper()
	tree, problems := New(parse(t, text), known, AlertmanagerWaits())
	if len(problems) > 0 {
		t.Fatalf("%v in\n%s", problems, text)
	}
	return tree
}

func labelsOf(pairs ...string) event.Labels {
	m := map[string]string{}
	for _, p := range pairs {
		name, value, _ := strings.Cut(p, "=")
		m[name] = value
	}
	return event.LabelsOf(m)
}

// ways are the ways of a match in short: a receiver, or team:NAME.
func ways(t *Tree, pairs ...string) string {
	var out []string
	for _, m := range t.Match(labelsOf(pairs...)) {
		if m.Team != "" {
			out = append(out, TeamPrefix+m.Team)
		} else {
			out = append(out, m.Receiver)
		}
	}
	return strings.Join(out, " ")
}

func TestWithoutATreeTheOwnerIsTold(t *testing.T) {
	none, problems := New(conf.Node{}, known, Waits{})
	if none != nil || problems != nil {
		t.Fatalf("no node made %v, %v", none, problems)
	}
	if got := ways(none, "team=network"); got != "team:network" {
		t.Errorf("told %s", got)
	}
	if got := none.Match(nil); len(got) != 1 || got[0].Team != DefaultTeam || got[0].Reason.Code != ReasonOwner || !strings.Contains(got[0].Reason.Text, "no label team") {
		t.Errorf("an alert of nobody is told by %+v", got)
	}
}

const site = `
receiver: mail
group_by: [alertname, site]
routes:
  - matchers: ['team=~"network|db"', severity="critical"]
    receiver: owner
    continue: true
    routes:
      - {match: {site: lab}, receiver: mail, mute_time_intervals: [night]}
  - match_re: {team: net.*}
    receiver: [team:network, hook]
    group_by: ['...']
    group_wait: 1d
    repeat_interval: 1y
    active_time_intervals: [business]
    routes: [{matchers: ['{alertname="Up", rack!~"r[12]"}']}]
  - {matchers: [severity=info], receiver: chat, group_by: []}
`

func TestRoutesAreAskedInOrderAndSeveralAreToldOnlyWhereTheTreeSaysSo(t *testing.T) {
	tree := tree(t, site)
	for _, c := range []struct{ labels, want string }{
		{"", "mail"},
		{"severity=critical", "mail"},
		{"severity=critical team=db", "team:db"},
		{"severity=critical team=db site=lab", "mail"},
		{"severity=critical team=network", "team:network team:network hook"},
		{"team=netops", "team:network hook"},
		{"team=netops alertname=Up rack=r3", "team:network hook"},
		{"severity=info", "chat"},
	} {
		if got := ways(tree, strings.Fields(c.labels)...); got != c.want {
			t.Errorf("%s: told %s, want %s", c.labels, got, c.want)
		}
	}
}

func TestAMatchSaysHowAndWhy(t *testing.T) {
	tree := tree(t, site)
	ls := labelsOf("team=netops", "alertname=Up", "rack=r3")
	got := tree.Match(ls)[1]
	want := Match{
		Receiver: "hook", GroupByAll: true, Waits: Waits{24 * time.Hour, 5 * time.Minute, 365 * 24 * time.Hour}, Mute: []string{}, Active: []string{},
		Key:  `{}/{team=~"^(?:net.*)$"}/{alertname="Up",rack!~"r[12]"}`,
		Path: `route > 2 {team=~"net.*"} > 1 {alertname="Up",rack!~"r[12]"}`,
		At:   conf.Pos{File: "kemi.yaml", Line: 16, Column: 14},
	}
	want.Reason = event.Reason{Code: ReasonRouted, Text: want.Path + " (kemi.yaml:16)"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if key := got.GroupKey(ls); key != got.Key+`:{alertname="Up", rack="r3", team="netops"}` {
		t.Errorf("group %s", key)
	}
	info := tree.Match(labelsOf("severity=info", "alertname=Up"))[0]
	if key := info.GroupKey(ls); key != `{}/{severity="info"}:{}` || info.GroupByAll {
		t.Errorf("group_by: [] groups by %s", key)
	}
	root := tree.Match(labelsOf("alertname=Up", "rack=r1", "site=lab"))[0]
	if got := root.GroupLabels(labelsOf("alertname=Up", "rack=r1")); got.String() != `{alertname="Up"}` {
		t.Errorf("a label that is not there is part of the group: %s", got)
	}
	lab := tree.Match(labelsOf("severity=critical", "team=db", "site=lab"))[0]
	if !slices.Equal(lab.Mute, []string{"night"}) || len(got.Active) != 0 {
		t.Errorf("mute %v; intervals are not inherited, got %v", lab.Mute, got.Active)
	}
}

func TestEveryMistakeIsNamedWithItsPlace(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"misspelt receiver", "receiver: mial", `1:11: there is no receiver "mial": did you mean "mail"?`},
		{"misspelt team", "routes: [{receiver: team:netwrok}]", `1:21: there is no team "netwrok": did you mean "network"?`},
		{"unknown interval", "routes: [{mute_time_intervals: [x]}]", `1:33: there is no time interval "x": the time intervals are business, night`},
		{"misspelt key", "reciever: mail", `1:1: unknown key "reciever": did you mean "receiver"?`},
		{"root with matchers", "receiver: mail\nmatchers: [a=b]", "2:11: the root of the routes cannot have matchers: it takes what no other route takes: move it to a route under routes"},
		{"root continues", "continue: true", "1:11: the root of the routes cannot have continue: it takes what no other route takes: move it to a route under routes"},
		{"bad matcher", "routes:\n  - matchers: [a=b, 'a~b']", "2:21: the matcher cannot be read: bad matcher format: a~b: write name=\"value\", name!=\"value\", name=~\"regex\" or name!~\"regex\""},
		{"bad regex", "routes: [{match_re: {a: '('}}]", "1:25: the regular expression cannot be read: error parsing regexp: missing closing ): `^(?:()$`: use RE2 syntax"},
		{"bad label", "routes: [{match: {a-b: c}}]", `1:24: "a-b" is no name of a label: use letters, digits and _, or write it under matchers`},
		{"label twice", "group_by: [a, b, a]", `1:18: "a" stands twice in group_by: remove one of them`},
		{"all and more", "group_by: [a, ...]", `1:15: "..." stands for all labels: remove the others, or remove it`},
		{"no group interval", "group_interval: 0s", "1:17: group_interval cannot be zero: write a length of time, or remove it"},
		{"no repeat interval", "repeat_interval: 0", "1:18: repeat_interval cannot be zero: write a length of time, or remove it"},
		{"bad wait", "group_wait: soon", `1:13: "group_wait" cannot be read: expected a duration like 30s, 5m or 4h, got "soon": correct the value`},
		{"negative wait", "group_wait: -5s", `1:13: "group_wait" cannot be read: a wait cannot be negative: correct the value`},
		{"route to nobody", "receiver: []", "1:11: a route to nobody: name a receiver, or remove the key: then it is the parent's"},
		{"receiver is a mapping", "receiver: {a: b}", "1:11: expected a name, got a mapping: write a name"},
		{
			"shadowed", "routes:\n  - {matchers: [a=x]}\n  - {matchers: [a=x, b=y]}",
			`3:5: this route can never match: route 1 {a="x"} before it takes all of its alerts and does not continue: move it, change its matchers or remove it`,
		},
		{
			"after a catch-all", "routes: [{receiver: mail}, {matchers: [a=x]}]",
			"1:28: this route can never match: route 1 {} before it takes all of its alerts and does not continue: move it, change its matchers or remove it",
		},
		{
			"contradicts its parent", "routes: [{matchers: [a=x], routes: [{matchers: ['a=~\"y|z\"']}]}]",
			`1:37: this route can never match: a="x" and a=~"y|z" never match the same alert: move it, change its matchers or remove it`,
		},
	} {
		_, problems := New(parse(t, c.text), known, Waits{})
		if got := problems.Error(); got != "kemi.yaml:"+c.want {
			t.Errorf("%s:\ngot  %s\nwant kemi.yaml:%s", c.name, got, c.want)
		}
	}
	withOwner := Known{Receivers: []string{Owner}}
	if _, problems := New(parse(t, "receiver: owner"), withOwner, Waits{}); len(problems) != 1 {
		t.Errorf("a receiver of the name owner: %v", problems)
	}
}

func TestRoutesThatCanMatchAreLeftInPeace(t *testing.T) {
	tree(t, `
routes:
  - {matchers: [a=x], continue: true}
  - {matchers: [a=x, b=y]}
  - {matchers: [a=x]}
  - {matchers: ['a=~"x.*"']}
  - {matchers: ['a=~"x|z"']}
  - {matchers: ['a!="x"'], routes: [{matchers: ['a=~"|y"']}]}
  - {}`)
}

// Whatever a tree says, it says at least one way, and only ways that it names.
func TestSomebodyIsAlwaysTold(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		tree := &Tree{root: build(config(t, drawTree(rt)), nil, 1, AlertmanagerWaits())}
		ls := drawLabels(rt)
		for _, m := range tree.Match(ls) {
			if (m.Receiver == "") == (m.Team == "") || m.Reason.Code == "" || m.Path == "" {
				rt.Fatalf("%s: %+v", ls, m)
			}
		}
		if len(tree.Match(ls)) == 0 {
			rt.Fatalf("nobody is told of %s", ls)
		}
	})
}

// What is called unreachable is: no labels lead there.
func TestUnreachableRoutesAreNeverReached(t *testing.T) {
	found := 0
	rapid.Check(t, func(rt *rapid.T) {
		tree := &Tree{root: build(config(t, drawTree(rt)), nil, 1, AlertmanagerWaits())}
		dead := tree.unreachable()
		found += len(dead)
		for ls := range allLabels() {
			for _, m := range tree.Match(ls) {
				for _, u := range dead {
					n := tree.root
					for _, i := range u.Index {
						n = n.routes[i]
					}
					if path := n.ways[0].Path; m.Path == path || strings.HasPrefix(m.Path, path+" > ") {
						rt.Fatalf("%s reaches %s, which is said to be unreachable: %s", ls, m.Path, u.Why)
					}
				}
			}
		}
	})
	if found == 0 {
		t.Error("no tree had an unreachable route: this test shows nothing")
	}
}

func config(t testing.TB, text string) *Config {
	t.Helper()
	var c Config
	if problems := parse(t, text).Into(&c); len(problems) > 0 {
		t.Fatalf("%v in\n%s", problems, text)
	}
	return &c
}

var (
	labelNames  = []string{"a", "b", "c"}
	labelValues = []string{"", "x", "y", "xy"}
)

func drawLabels(t *rapid.T) event.Labels {
	m := map[string]string{}
	for _, name := range labelNames {
		m[name] = rapid.SampledFrom(labelValues).Draw(t, name)
	}
	return event.LabelsOf(m)
}

// allLabels yields every set of labels that drawLabels can draw.
func allLabels() func(func(event.Labels) bool) {
	return func(yield func(event.Labels) bool) {
		m := map[string]string{}
		for _, m["a"] = range labelValues {
			for _, m["b"] = range labelValues {
				for _, m["c"] = range labelValues {
					if !yield(event.LabelsOf(maps.Clone(m))) {
						return
					}
				}
			}
		}
	}
}

// drawTree writes a random tree that Alertmanager would read, too, in JSON.
func drawTree(t *rapid.T) string {
	names, budget := rapid.SampledFrom(labelNames), 12
	var draw func(depth int) string
	draw = func(depth int) string {
		var keys []string
		add := func(format string, args ...any) { keys = append(keys, fmt.Sprintf(format, args...)) }
		some := func(what string) bool { return rapid.IntRange(0, 2).Draw(t, what) == 0 }
		if depth == 0 || some("receiver") {
			add(`"receiver": %q`, rapid.SampledFrom(known.Receivers).Draw(t, "receiver"))
		}
		if depth > 0 {
			value := rapid.SampledFrom([]string{"x", "y", "xy", "", "x|y", "x.*", ".+", ".*", "y?"})
			op := rapid.SampledFrom([]string{"=", "!=", "=~", "!~"})
			var matchers []string
			for range rapid.IntRange(0, 2).Draw(t, "matchers") {
				matchers = append(matchers, fmt.Sprintf("%q", fmt.Sprintf("%s%s%q", names.Draw(t, "name"), op.Draw(t, "op"), value.Draw(t, "value"))))
			}
			add(`"matchers": [%s]`, strings.Join(matchers, ", "))
			if some("match") {
				add(`"match": {%q: %q}`, names.Draw(t, "name"), rapid.SampledFrom(labelValues).Draw(t, "value"))
			}
			if some("match_re") {
				add(`"match_re": {%q: %q}`, names.Draw(t, "name"), value.Draw(t, "value"))
			}
			add(`"continue": %t`, rapid.Bool().Draw(t, "continue"))
			if some("mute") {
				add(`"mute_time_intervals": ["night"], "active_time_intervals": ["business"]`)
			}
		}
		if some("group_by") {
			add(`"group_by": %s`, rapid.SampledFrom([]string{`[]`, `["..."]`, `["a"]`, `["b", "a"]`}).Draw(t, "group_by"))
		}
		for _, wait := range []string{"group_wait", "group_interval", "repeat_interval"} {
			if some(wait) {
				add(`%q: %q`, wait, rapid.SampledFrom([]string{"1s", "10m", "1d", "1y2w"}).Draw(t, wait))
			}
		}
		var routes []string
		for range rapid.IntRange(0, 3).Draw(t, "routes") {
			if budget--; depth < 4 && budget > 0 {
				routes = append(routes, draw(depth+1))
			}
		}
		if len(routes) > 0 {
			add(`"routes": [%s]`, strings.Join(routes, ", "))
		}
		return "{" + strings.Join(keys, ", ") + "}"
	}
	return draw(0)
}
