package hush

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/config/common"
	"github.com/prometheus/alertmanager/eventrecorder"
	"github.com/prometheus/alertmanager/inhibit"
	"github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/alertmanager/provider"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"pgregory.net/rapid"

	"kemi.dev/kemi/bus/event"
)

// given hands alerts to Alertmanager's inhibitor, and nothing after.
type given struct {
	provider.Alerts
	alerts []*alert.Alert
	asked  chan struct{}
	once   sync.Once
}

func (g *given) SlurpAndSubscribe(string) ([]*alert.Alert, provider.AlertIterator) {
	defer g.once.Do(func() { close(g.asked) })
	ch := make(chan *provider.Alert)
	done := make(chan struct{})
	return g.alerts, provider.NewAlertIterator(ch, done, nil)
}

// theirInhibitor is Alertmanager's own, which knows the alerts.
func theirInhibitor(rules []common.InhibitRule, firing []event.Labels) *inhibit.Inhibitor {
	g := &given{asked: make(chan struct{})}
	for _, ls := range firing {
		g.alerts = append(g.alerts, &alert.Alert{Alert: model.Alert{Labels: labelSet(ls), StartsAt: time.Now().Add(-time.Hour), EndsAt: time.Now().Add(time.Hour)}})
	}
	in := inhibit.NewInhibitor(g, rules, promslog.NewNopLogger(), eventrecorder.NopRecorder())
	var running sync.WaitGroup
	running.Go(in.Run)
	in.WaitForLoading()
	in.Stop()
	running.Wait()
	return in
}

func labelSet(ls event.Labels) model.LabelSet {
	out := model.LabelSet{}
	for _, l := range ls {
		out[model.LabelName(l.Name)] = model.LabelValue(l.Value)
	}
	return out
}

// drawSide draws one side of a rule: as Alertmanager has it, and as it is written.
func drawSide(t *rapid.T) (theirs common.Matchers, written string) {
	var lines []string
	for range rapid.IntRange(0, 2).Draw(t, "matchers") {
		kind := rapid.SampledFrom([]labels.MatchType{labels.MatchEqual, labels.MatchNotEqual, labels.MatchRegexp, labels.MatchNotRegexp}).Draw(t, "kind")
		m, err := labels.NewMatcher(kind, rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "name"), rapid.SampledFrom([]string{"", "x", "y", "x|y"}).Draw(t, "value"))
		if err != nil {
			t.Fatal(err)
		}
		theirs = append(theirs, m)
		lines = append(lines, "'"+m.String()+"'")
	}
	return theirs, strings.Join(lines, ", ")
}

func TestAlertsAreInhibitedAsAlertmanagerInhibitsThem(t *testing.T) {
	drawAlert := rapid.Custom(func(t *rapid.T) event.Labels {
		value := rapid.SampledFrom([]string{"", "x", "y"})
		return labelsOf("a", value.Draw(t, "a"), "b", value.Draw(t, "b"), "c", value.Draw(t, "c"), "alertname", "A")
	})
	rapid.Check(t, func(t *rapid.T) {
		var rules []common.InhibitRule
		yaml := "inhibit_rules:\n"
		for range rapid.IntRange(1, 3).Draw(t, "rules") {
			source, sourceText := drawSide(t)
			target, targetText := drawSide(t)
			if len(source)+len(target) == 0 {
				continue // Theirs lets it pass and holds nothing back by it.
			}
			equal := rapid.SliceOfDistinct(rapid.SampledFrom([]string{"a", "b", "c", "d"}), rapid.ID[string]).Draw(t, "equal")
			rules = append(rules, common.InhibitRule{SourceMatchers: source, TargetMatchers: target, Equal: equal})
			yaml += fmt.Sprintf("  - {source_matchers: [%s], target_matchers: [%s], equal: [%s]}\n", sourceText, targetText, strings.Join(equal, ", "))
		}
		n, ps := parseYAML(yaml)
		if len(ps) > 0 {
			t.Fatal(ps)
		}
		s, ps := New(Config{InhibitRules: n.Get("inhibit_rules")})
		if len(ps) > 0 {
			t.Fatalf("%s\n%v", yaml, ps)
		}
		in := s.Inhibitor()
		firing := map[string]event.Labels{}
		ask := rapid.SliceOfN(drawAlert, 1, 6).Draw(t, "asked about")
		answers := func() []string {
			var out []string
			for _, of := range ask {
				out = append(out, fmt.Sprint(s.Why(Subject{Labels: of, Sources: in}, noon())))
			}
			return out
		}
		before := answers()
		for range rapid.IntRange(0, 12).Draw(t, "changes") {
			ls := drawAlert.Draw(t, "alert")
			id := ls.Fingerprint()
			changed := false
			if rapid.IntRange(0, 3).Draw(t, "resolves") == 0 {
				delete(firing, id)
				changed = in.Unset(id)
			} else {
				firing[id] = ls
				changed = in.Set(id, ls)
			}
			after := answers()
			if !changed && !slices.Equal(before, after) {
				t.Fatalf("%s said that nothing changed, but: %s", ls, cmp.Diff(before, after))
			}
			before = after
		}
		var all []event.Labels
		for _, ls := range firing {
			all = append(all, ls)
		}
		their := theirInhibitor(rules, all)
		for _, of := range append(ask, all...) {
			got := len(s.Why(Subject{Labels: of, Sources: in}, noon())) > 0
			if want := their.Mutes(context.Background(), labelSet(of)); got != want {
				t.Fatalf("%s\n%s with %v: %v, theirs %v", yaml, of, all, got, want)
			}
		}
	})
}

func TestAnAlertThatBothSidesMatchDoesNotInhibitItself(t *testing.T) {
	s := mustYAML(t, `inhibit_rules: [{source_matchers: ['severity=~"critical|warning"'], target_matchers: ['severity="warning"'], equal: [target]}]`)
	in := s.Inhibitor()
	warning, critical := labelsOf("alertname", "Slow", "severity", "warning", "target", "t"), labelsOf("alertname", "Down", "severity", "critical", "target", "t")
	in.Set("w1", warning)
	in.Set("w2", warning.With(map[string]string{"alertname": "Full"}))
	of := Subject{Labels: warning, Sources: in}
	if got := s.Why(of, noon()); got != nil {
		t.Errorf("two warnings inhibit each other: %v", got)
	}
	if !in.Set("c", critical) || in.Set("c", critical) {
		t.Error("that the critical one came should be news once")
	}
	if got := ids(s.Why(of, noon())); got != "c" {
		t.Errorf("inhibited by %q", got)
	}
	if !in.Unset("c") || in.Unset("c") || s.Why(of, noon()) != nil {
		t.Error("when the critical one went, the warning should speak")
	}
}

func TestTheDeprecatedFormsOfInhibitionRulesAreRead(t *testing.T) {
	s := mustYAML(t, `
inhibit_rules:
  - source_match: {severity: critical}
    source_match_re: {alertname: "Host.*"}
    target_match: {severity: warning}
    target_match_re: {service: "web|db"}
    equal: [target]
`)
	in := s.Inhibitor()
	in.Set("1", labelsOf("alertname", "HostDown", "severity", "critical", "target", "t"))
	of := Subject{Labels: labelsOf("alertname", "Slow", "severity", "warning", "service", "web", "target", "t"), Sources: in}
	got := s.Why(of, noon())
	if ids(got) != "1" || got[0].Text != "inhibition rule 1 (kemi.yaml:3): HostDown on t fires" {
		t.Errorf("%v", got)
	}
	for name, value := range map[string]string{"service": "mail", "severity": "critical", "target": "other"} {
		of.Labels = of.Labels.With(map[string]string{name: value})
		if got := s.Why(of, noon()); got != nil {
			t.Errorf("%s: %v", of.Labels, got)
		}
	}
}

func TestASourceWhoseLabelsChangeMovesWithThem(t *testing.T) {
	s := mustYAML(t, `inhibit_rules: [{source_matchers: [a="1"], target_matchers: [a="2"], equal: [b]}]`)
	in := s.Inhibitor()
	in.Set("x", labelsOf("a", "1", "b", "old"))
	if !in.Set("x", labelsOf("a", "1", "b", "new")) {
		t.Error("that it moved is no news")
	}
	if got := s.Why(Subject{Labels: labelsOf("a", "2", "b", "old"), Sources: in}, noon()); got != nil {
		t.Errorf("still where it was: %v", got)
	}
	if got := ids(s.Why(Subject{Labels: labelsOf("a", "2", "b", "new"), Sources: in}, noon())); got != "x" {
		t.Errorf("not where it is: %q", got)
	}
	if !in.Set("x", labelsOf("a", "3")) || in.Sources() != 0 || len(in.groups[0]) != 0 {
		t.Error("what is no source any more is remembered")
	}
}
