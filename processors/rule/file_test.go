package rule_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/deploy"
	"kemi.dev/kemi/processors/rule"
)

// What is not supported is refused with its place and what to do instead.
func TestRefusedRulesSayWhereAndWhatToDo(t *testing.T) {
	const elsewhere = "let Prometheus evaluate this rule on Kemi's series"
	for _, c := range []struct{ expr, want string }{
		{`sum by (target) (up) > 1`, `1: sum aggregates many series, which rules cannot do yet: write the condition for each series by itself, or ` + elsewhere},
		{`up > 1 and count(up) > 2`, `12: count aggregates many series, which rules cannot do yet: write the condition for each series by itself, or ` + elsewhere},
		{`up == 1 or topk(5, up)`, `12: topk aggregates many series, which rules cannot do yet: write the condition for each series by itself, or ` + elsewhere},
		{`max_over_time(rate(a[1m])[5m:1m]) > 1`, `15: subqueries are not supported yet: use a range function on a selector, like max_over_time(up[5m]), or ` + elsewhere},
		{`up offset 5m == 0`, `1: offset is not supported yet: remove it, or ` + elsewhere},
		{`1 + rate(a[5m] offset 1h) > 2`, `10: offset is not supported yet: remove it, or ` + elsewhere},
		{`up @ 1700000000 == 0`, `1: the @ modifier is not supported: remove it, or ` + elsewhere},
		{`absent(up)`, `1: absent is not supported: missing data is unknown and never fires: use up == 0 to see a target that does not answer`},
		{`absent_over_time(up[5m])`, `1: absent_over_time is not supported: missing data is unknown and never fires: use up == 0 to see a target that does not answer`},
		{`histogram_quantile(0.9, a) > 1`, `1: histogram_quantile is not supported: readings have no histograms: ` + elsewhere},
		{`a * on(target) group_left(site) b > 1`, `1: group_left is not supported yet: match one series with one, with on(…) or ignoring(…), or ` + elsewhere},
		{`1 < a / on(target) group_right() b`, `5: group_right is not supported yet: match one series with one, with on(…) or ignoring(…), or ` + elsewhere},
		{`label_replace(up, "a", "$1", "b", "(.*)") == 0`, `1: the function label_replace is not supported yet: ` + elsewhere},
		{`quantile_over_time(0.9, a[5m]) > 1`, `1: the function quantile_over_time is not supported yet: ` + elsewhere},
		{`rate(a[2h]) > 1`, `6: the range is longer than 1h, the longest that is kept in memory: shorten it, or ` + elsewhere},
		{`up[5m]`, `1: the expression gives a range of samples, not one for each series: put it into a function, like rate(ifHCInOctets[5m]) > 0`},
		{`vector(1)`, `1: the expression selects no series: compare a series with a number, like up == 0`},
		{`1 > bool 0`, `1: the expression selects no series: compare a series with a number, like up == 0`},
		{`scalar(up) > bool 0`, `1: the expression gives one number and no series: compare a series with it, like up == 0`},
		{`up ==`, `6: the expression is no PromQL (unexpected end of input): correct it here`},
		{`up == 0 )`, `10: the expression is no PromQL (unexpected right parenthesis ')'): correct it here`},
		{`foo(up)`, `1: the expression is no PromQL (unknown function with name "foo"): correct it here`},
		{`rate(up) > 1`, `6: the expression is no PromQL (expected type range vector in call to function "rate", got instant vector): correct it here`},
	} {
		_, problems := rule.Parse("r.yaml", []byte("groups:\n- name: g\n  rules:\n  - alert: A\n    expr: "+c.expr+"\n"))
		var column int
		var rest string
		if _, err := fmt.Sscanf(c.want, "%d:", &column); err != nil {
			t.Fatal(err)
		}
		_, rest, _ = strings.Cut(c.want, ": ")
		want := fmt.Sprintf("r.yaml:5:%d: %s", column+10, rest)
		if diff := cmp.Diff(want, problems.Error()); diff != "" {
			t.Errorf("%s:\n%s", c.expr, diff)
		}
	}
}

// Every mistake of a file is found at once.
func TestEveryMistakeOfAFileIsSaid(t *testing.T) {
	_, problems := rule.Parse("r.yaml", []byte(`groups:
- name: g
  interval: 10
  limit: 5
  query_offset: 1m
  rules:
  - record: a:b
    expr: sum(up)
  - alert: A
    exprr: up == 0
  - alert: B
    expr: up == 0
    for: soon
    labels: {alertname: x, "1a": b}
    annotations:
      summary: "{{ $labels.x "
      other: '{{ query "up" }}'
  - alert: C
    expr: up == 0
    kemi: {page: never}
  - alert: C
    expr: up == 1
  - expr: up == 0
  - alert: D
    expr: "up == 0 and\n  sum(up)"
  - alert: E
    expr: >-
      up == 0
      and on(target)

        avg(up) > 1
  - alert: F
    expr: |
      # ping
      up == 0
      unless
      min(up)
- name: g
  rules: []
- rules: []
`))
	want := `r.yaml:3:13: expected a duration for "interval", got "10": write it like 30s, 5m or 1h30m
r.yaml:4:10: limit is not supported: remove it: a storm is summarised, never cut
r.yaml:5:17: query_offset is not supported: rules see each reading when it arrives: remove it
r.yaml:7:13: recording rules are not supported yet: let Prometheus evaluate this rule on Kemi's series
r.yaml:9:5: the rule A has no expression: add expr: to it, like expr: up == 0
r.yaml:10:5: unknown key "exprr": did you mean "expr"?
r.yaml:13:10: expected a duration for "for", got "soon": write it like 30s, 5m or 1h30m
r.yaml:14:25: "alertname" cannot be the name of a label: use letters, digits and _, and not alertname or __name__
r.yaml:14:34: "1a" cannot be the name of a label: use letters, digits and _, and not alertname or __name__
r.yaml:16:16: the template of the annotation "summary" cannot be used (summary:1: unclosed action): correct the template
r.yaml:17:14: the template of the annotation "other" cannot be used (query is not supported: a template may only speak of its own labels and value): correct the template
r.yaml:20:12: unknown key "page": remove it, nothing can be set here
r.yaml:21:5: the rule g/C with the same labels is given twice, first in r.yaml line 18: give it another name or another label: their alerts could not be told apart
r.yaml:23:5: a rule without a name: add alert: to it
r.yaml:25:27: sum aggregates many series, which rules cannot do yet: write the condition for each series by itself, or let Prometheus evaluate this rule on Kemi's series
r.yaml:31:9: avg aggregates many series, which rules cannot do yet: write the condition for each series by itself, or let Prometheus evaluate this rule on Kemi's series
r.yaml:37:7: min aggregates many series, which rules cannot do yet: write the condition for each series by itself, or let Prometheus evaluate this rule on Kemi's series
r.yaml:38:3: the group "g" is given twice, first on line 2: give it another name
r.yaml:40:3: a group without a name: add name: to it`
	if diff := cmp.Diff(want, problems.Error()); diff != "" {
		t.Error(diff)
	}
}

// A rule file of Prometheus' own documentation is read as it is, and files are found by pattern.
func TestRuleFilesAreFoundByPattern(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("a.yaml", "groups:\n- name: example\n  labels: {team: myteam}\n  interval: 30s\n  rules:\n  - alert: HighRequestLatency\n    expr: job:request_latency_seconds:mean5m{job=\"myjob\"} > 0.5\n    for: 10m\n    keep_firing_for: 5m\n    labels: {severity: page}\n    annotations: {summary: High request latency}\n")
	write("b.yaml", "groups: [{name: b, rules: [{alert: B, expr: up == 0}]}]\n")
	write("empty.yaml", "")
	set, problems := rule.Load([]string{"*.yaml", "a.yaml"}, dir)
	if len(problems) > 0 || len(set.Rules()) != 2 {
		t.Fatalf("got %d rules, %v", len(set.Rules()), problems)
	}
	set, problems = rule.Load([]string{"b.yaml", "none.yaml"}, dir)
	want := filepath.Join(dir, "none.yaml") + ": there is no such file: check the path under rules, or create the file"
	if problems.Error() != want || len(set.Rules()) != 1 {
		t.Fatalf("got %d rules, %v, want %s", len(set.Rules()), problems, want)
	}
	// A pattern that finds nothing would take every rule away, and every alert with it.
	none := filepath.Join(dir, "rulez", "*.yaml")
	for _, pattern := range []string{"rulez/*.yaml", none} {
		set, problems = rule.Load([]string{pattern, "b.yaml"}, dir)
		want = "no file matches " + none + ": correct the pattern, or take it away"
		if problems.Error() != want || len(set.Rules()) != 1 {
			t.Errorf("got %d rules, %v, want %s", len(set.Rules()), problems, want)
		}
	}
	if _, problems = rule.Load([]string{"[.yaml"}, dir); len(problems) != 1 {
		t.Errorf("a pattern that is none has %d problems: %v", len(problems), problems)
	}
	if set, problems = rule.Load([]string{}, dir); len(problems) > 0 || len(set.Rules()) != 0 {
		t.Errorf("no patterns give %d rules, %v", len(set.Rules()), problems)
	}
	// Rules of one name in two files whose alerts could not be told apart.
	_, problems = rule.LoadFS(fstest.MapFS{
		"1.yaml": {Data: []byte("groups: [{name: b, rules: [{alert: B, expr: up == 0}]}]")},
		"2.yaml": {Data: []byte("groups: [{name: b, rules: [{alert: B, expr: up == 1}]}]")},
	}, "*.yaml")
	want = "2.yaml:1:28: the rule b/B with the same labels is given twice, first in 1.yaml line 1: give it another name or another label: their alerts could not be told apart"
	if problems.Error() != want {
		t.Fatalf("got %v, want %s", problems, want)
	}
}

func TestTheDefaultRulesAreRight(t *testing.T) {
	set, problems := rule.LoadFS(deploy.Rules, "rules/*.yaml")
	if len(problems) > 0 || len(set.Rules()) < 5 {
		t.Fatalf("got %d rules, %v", len(set.Rules()), problems)
	}
}

// A healthy Linux box says of its caches that they are full and of lo that it does 10 Mbit/s: neither is news. A full disk
// and a full link are.
func TestTheDefaultRulesFireWhereSomethingIsWrong(t *testing.T) {
	set, problems := rule.LoadFS(deploy.Rules, "rules/*.yaml")
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	desk := rule.NewDesk(set)
	firing := map[string]bool{}
	for i := range 120 { // 20 minutes.
		at := epoch.Add(time.Duration(i) * 10 * time.Second)
		octets := uint64(i) * 10 * 1.2e6 // 9.6 Mbit/s.
		desk.Reading(&event.Reading{
			JobID: fmt.Sprint(i), Target: "box", Check: "snmp", Status: event.StatusOK, Slot: at, Started: at, Interval: 10 * time.Second,
			Labels: event.LabelsOf(map[string]string{"target": "box", "class": "server"}),
			Tables: []event.Table{
				{Name: "storage", Rows: 4, Index: []event.IndexColumn{{Name: "hrStorageDescr", Values: []string{"Cached memory", "Memory buffers", "/snap/core", "/"}}}, Columns: []event.Column{
					{Name: "hrStorageUsed", Kind: event.Gauge, Gauges: []float64{100, 100, 100, 95}}, {Name: "hrStorageSize", Kind: event.Gauge, Gauges: []float64{100, 100, 100, 100}},
				}},
				{Name: "interfaces", Rows: 2, Index: []event.IndexColumn{{Name: "ifName", Values: []string{"lo", "eth0"}}}, Columns: []event.Column{
					{Name: "ifHCInOctets", Kind: event.Counter, Counters: []uint64{octets, octets}}, {Name: "ifHighSpeed", Kind: event.Gauge, Gauges: []float64{10, 10}},
				}},
			},
		})
		for _, f := range desk.Findings() {
			if f.Verdict == event.VerdictFiring && f.Alert != "" {
				firing[f.Alert+" "+f.Labels.Get("hrStorageDescr")+f.Labels.Get("ifName")] = true
			}
		}
	}
	if got := slices.Sorted(maps.Keys(firing)); !slices.Equal(got, []string{"InterfaceSaturated eth0", "StorageFull /"}) {
		t.Errorf("firing: %q", got)
	}
}

// No file, however broken, stops Kemi, and every problem has a place within it.
func FuzzParse(f *testing.F) {
	data, err := deploy.Rules.ReadFile("rules/default.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte("groups: [0, {rules: [0]}]"))
	f.Add([]byte("groups: [{name: g, rules: [{alert: A, expr: 'sum(''a'')'}]}]"))
	f.Add([]byte("groups:\n- name: g\n  rules:\n  - alert: A\n    expr: >\n      up ==\n\n       sum(x)\n    for: 1d\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		set, problems := rule.Parse("f.yaml", data)
		lines := strings.Count(string(data), "\n") + strings.Count(string(data), "\r") + 1 // YAML knows both.
		for _, p := range problems {
			if p.File != "f.yaml" || p.Line < 1 || p.Line > lines || p.Column < 1 || p.What == "" || p.Do == "" {
				t.Errorf("a problem without its place: %+v", p)
			}
		}
		for _, r := range set.Rules() {
			if r.Alert == "" || r.Expr == "" {
				t.Errorf("a rule without name or expression: %+v", r)
			}
		}
	})
}
