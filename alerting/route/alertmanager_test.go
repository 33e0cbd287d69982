package route

import (
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"kemi.dev/kemi/internal/conf"

	"github.com/google/go-cmp/cmp"
	am "github.com/prometheus/alertmanager/config"
	"github.com/prometheus/alertmanager/dispatch"
	"github.com/prometheus/alertmanager/featurecontrol"
	"github.com/prometheus/alertmanager/matcher/compat"
	"github.com/prometheus/common/model"
	"pgregory.net/rapid"
)

// asAlertmanager sets the parser of matchers as Alertmanager does when it starts without flags.
var asAlertmanager = sync.OnceFunc(func() {
	compat.InitFromFlags(slog.New(slog.DiscardHandler), featurecontrol.NoopFlags{})
})

// theirs reads the tree as Alertmanager does.
func theirs(t testing.TB, route string) *dispatch.Route {
	t.Helper()
	asAlertmanager()
	text := "route: " + route + "\ntime_intervals: [{name: night}, {name: business}]\nreceivers:\n"
	for _, r := range known.Receivers {
		text += "  - name: " + r + "\n"
	}
	c, err := am.Load(text)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return dispatch.NewRoute(c.Route, nil)
}

// For random trees and every set of labels the ways, their order, waits, groups, intervals and keys are Alertmanager's.
func TestRoutesMatchAsAlertmanagerMatches(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		text := drawTree(rt)
		ours, judge := &Tree{root: build(config(t, text), nil, 1, AlertmanagerWaits())}, theirs(t, text)
		for ls := range allLabels() {
			set := model.LabelSet{}
			for _, l := range ls {
				set[model.LabelName(l.Name)] = model.LabelValue(l.Value)
			}
			var want, got []Match
			var wantGroups, groups []string
			for _, r := range judge.Match(set) {
				var by []string
				if !r.RouteOpts.GroupByAll {
					for _, l := range slices.Sorted(maps.Keys(r.RouteOpts.GroupBy)) {
						by = append(by, string(l))
					}
				}
				want = append(want, Match{
					Receiver: r.RouteOpts.Receiver, GroupBy: by, GroupByAll: r.RouteOpts.GroupByAll, Key: r.Key(),
					Waits: Waits{r.RouteOpts.GroupWait, r.RouteOpts.GroupInterval, r.RouteOpts.RepeatInterval},
					Mute:  r.RouteOpts.MuteTimeIntervals, Active: r.RouteOpts.ActiveTimeIntervals,
				})
				group := model.LabelSet{}
				for name, value := range set {
					if _, in := r.RouteOpts.GroupBy[name]; in || r.RouteOpts.GroupByAll {
						group[name] = value
					}
				}
				wantGroups = append(wantGroups, r.Key()+":"+group.String())
			}
			for _, m := range ours.Match(ls) {
				groups = append(groups, m.GroupKey(ls))
				m.Path, m.At, m.Reason.Code, m.Reason.Text = "", want[0].At, "", ""
				got = append(got, m)
			}
			none := cmp.Transformer("emptyIsNone", func(in []string) string { return strings.Join(in, ",") })
			if diff := cmp.Diff(want, got, none); diff != "" {
				rt.Fatalf("%s in %s (-Alertmanager +ours)\n%s", ls, text, diff)
			}
			if diff := cmp.Diff(wantGroups, groups); diff != "" {
				rt.Fatalf("%s in %s: groups (-Alertmanager +ours)\n%s", ls, text, diff)
			}
		}
	})
}

// What Alertmanager refuses in a route we refuse, and what it takes we take, but for routes that nothing can reach.
func FuzzRoutesAreReadAsAlertmanagerReadsThem(f *testing.F) {
	for _, seed := range []string{
		`a="b"`, `{a="b",c=~"d|e"}`, `a=b`, `a=`, `"a b"="c"`, `a!~"("`, `ü="x"`, `{a="b"`, `a="b",`, `a="\n"`, `a=~"x`, ``, `{}`, `a="b" c="d"`, `=x`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, matcher string) {
		asAlertmanager()
		judged, err := compat.Matchers(matcher, "test")
		var m Matchers
		ok := true
		if matcher != "" {
			ok = len(parseQuoted(t, matcher).Into(&m)) == 0
		}
		if ok != (err == nil) {
			t.Fatalf("%q: we say %t, Alertmanager says %v", matcher, ok, err)
		}
		if ok && m.all.String() != judged.String() {
			t.Fatalf("%q: we read %s, Alertmanager reads %s", matcher, m.all, judged)
		}
	})
}

// parseQuoted is a list of one text, whatever is in it.
func parseQuoted(t *testing.T, text string) conf.Node {
	t.Helper()
	quoted, err := json.Marshal([]string{text})
	if err != nil || !utf8.ValidString(text) {
		t.Skip("no text")
	}
	nodes, problems := conf.ParseRaw("kemi.yaml", quoted)
	if len(problems) > 0 {
		t.Skip("no YAML")
	}
	return nodes[0]
}
