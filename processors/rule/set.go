package rule

import (
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/conf"
	"kemi.dev/kemi/processors/rule/expr"
)

// Rule is one alerting rule. It is immutable.
type Rule struct {
	// Name is "group/alert"; with the labels it is the rule's identity, through reloads and restarts.
	Name, Group, Alert string
	// Expr is the condition as it was written.
	Expr string
	// For is how long the condition must hold, KeepFiringFor how long it may be false before the alert resolves.
	For, KeepFiringFor time.Duration
	// Pos is where the rule was read.
	Pos conf.Pos

	key         string
	program     *expr.Program
	threshold   string
	labels      []text
	annotations []text
	// names are the labels that are the same for all instances, whatever the series say.
	names []string
	// shifting: some label depends on the value, so that an instance may change its labels.
	shifting bool
}

// finish computes what follows from the rest.
func (r *Rule) finish() {
	parts := []string{"rule", r.Name}
	for i := range r.labels {
		t := &r.labels[i]
		parts = append(parts, t.name, t.source)
		if t.tmpl == nil {
			r.names = append(r.names, t.name)
		} else {
			r.shifting = true
		}
	}
	r.names = append(r.names, "alertname")
	slices.Sort(r.names)
	r.key = event.ComputeID(parts...)
}

// Set is the rules that are evaluated together. It is immutable.
type Set struct {
	rules []*Rule
	byKey map[string]*Rule
	// index says by metric name which selectors to ask about a new series; wild are those without a fixed name.
	index map[string][]*expr.Selector
	wild  []*expr.Selector
	reach time.Duration
}

func newSet(rules []*Rule) *Set {
	s := &Set{rules: rules, byKey: map[string]*Rule{}, index: map[string][]*expr.Selector{}}
	for _, r := range rules {
		s.byKey[r.key] = r
		s.reach = max(s.reach, r.program.Reach())
		selectors := r.program.Selectors()
		for i := range selectors {
			if name := selectors[i].Name; name != "" {
				s.index[name] = append(s.index[name], &selectors[i])
			} else {
				s.wild = append(s.wild, &selectors[i])
			}
		}
	}
	return s
}

// Rules lists the rules in the order in which they were read.
func (s *Set) Rules() []*Rule { return slices.Clone(s.rules) }

// Join makes one set of several; of rules with the same identity the first counts.
func Join(sets ...*Set) *Set {
	var rules []*Rule
	seen := map[string]bool{}
	for _, s := range sets {
		for _, r := range s.rules {
			if !seen[r.key] {
				seen[r.key] = true
				rules = append(rules, r)
			}
		}
	}
	return newSet(rules)
}

// wants reports whether any rule selects the series, and how far back its window must reach.
func (s *Set) wants(name string, ls labels.Labels) (selected bool, reach time.Duration) {
	for _, some := range [2][]*expr.Selector{s.index[name], s.wild} {
		for _, sel := range some {
			if (!selected || sel.Reach > reach) && sel.Matches(ls) {
				selected, reach = true, max(reach, sel.Reach)
			}
		}
	}
	return selected, reach
}
