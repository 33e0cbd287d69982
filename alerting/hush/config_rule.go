package hush

import (
	"fmt"
	"maps"
	"slices"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/conf"
)

// inhibition is one entry of `inhibit_rules:`.
type inhibition struct {
	At             conf.Pos
	Name           string            `yaml:"name"`
	SourceMatch    map[string]string `yaml:"source_match"`
	SourceMatchRE  map[string]string `yaml:"source_match_re"`
	SourceMatchers []conf.Node       `yaml:"source_matchers"`
	TargetMatch    map[string]string `yaml:"target_match"`
	TargetMatchRE  map[string]string `yaml:"target_match_re"`
	TargetMatchers []conf.Node       `yaml:"target_matchers"`
	Equal          []string          `yaml:"equal"`
}

// readRules reads inhibition rules in Alertmanager's format, the deprecated forms too.
func readRules(n conf.Node) ([]*rule, conf.Problems) {
	if n.Kind() != conf.List {
		return nil, n.Into(new([]inhibition))
	}
	var problems conf.Problems
	var out []*rule
	for i, at := range n.Items() {
		c := &inhibition{}
		before := len(problems)
		problems = append(problems, at.Into(c)...)
		r := &rule{name: c.Name, equal: slices.Compact(slices.Sorted(slices.Values(c.Equal)))}
		if r.name == "" {
			r.name = fmt.Sprintf("%d", i+1)
			if c.At.File != "" {
				r.name += fmt.Sprintf(" (%s:%d)", c.At.File, c.At.Line)
			}
		}
		if slices.Contains(r.equal, "") {
			problems = append(problems, at.Get("equal").Problem("a label without a name", "name the labels that must be equal"))
		}
		side := func(equal, regex map[string]string, key string, lines []conf.Node) []matcher {
			matchers, more := readMatchers(lines)
			problems = append(problems, more...)
			for _, name := range slices.Sorted(maps.Keys(equal)) {
				matchers = append(matchers, event.Matcher{Name: name, Value: equal[name]})
			}
			for _, name := range slices.Sorted(maps.Keys(regex)) {
				matchers = append(matchers, event.Matcher{Name: name, Value: regex[name], Regex: true})
			}
			compiled, _, err := compileEach(matchers)
			if err != nil {
				problems = append(problems, below(at, key).Problem(split(err.Error())))
			}
			return compiled
		}
		r.source = side(c.SourceMatch, c.SourceMatchRE, "source_matchers", c.SourceMatchers)
		r.target = side(c.TargetMatch, c.TargetMatchRE, "target_matchers", c.TargetMatchers)
		if len(r.source) == 0 && len(r.target) == 0 && len(problems) == before {
			problems = append(problems, at.Problem("the rule inhibits nothing: neither its source nor its target is said", "add source_matchers and target_matchers"))
		}
		out = append(out, r)
	}
	return out, problems
}
