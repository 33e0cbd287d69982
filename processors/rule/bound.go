package rule

import (
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"kemi.dev/kemi/processors/rule/expr"
)

// bound is one rule tied to one target's series.
type bound struct {
	rule *Rule
	expr *expr.Bound
	// feeds has a bit for each check that yields a series of the rule; 0 means that none does.
	feeds uint64
	// groups are the series of the result that are one instance: their labels differ in nothing but the metric's
	// name and what the rule's own labels replace. Nil when each is one by itself.
	groups [][]int32
	// live are the instances that are pending or firing, by group; orphans those whose series are not there any more.
	live    []*instance
	orphans []*instance
}

// bind ties the rules to the series that the target has now.
func (d *Desk) bind(tg *target) {
	tg.dirty, tg.gen = false, d.gen
	byName := map[string][]*slot{}
	kept := tg.slots[:0]
	for _, sl := range tg.slots {
		if sl.gen != d.gen { // Left from former rules, and not in this reading: it may still be wanted.
			selected, reach := d.set.wants(sl.Labels.Get(model.MetricNameLabel), sl.Labels)
			sl.Keep(reach)
			if sl.gen = d.gen; !selected {
				sl.listed, sl.gen = false, 0
				continue
			}
		}
		kept = append(kept, sl)
		name := sl.Labels.Get(model.MetricNameLabel)
		byName[name] = append(byName[name], sl)
	}
	clear(tg.slots[len(kept):])
	tg.slots = kept
	byRule := map[string][]*instance{}
	for _, in := range tg.instances {
		byRule[in.key] = append(byRule[in.key], in)
	}
	tg.rules = nil
	for _, r := range d.set.rules {
		if b := bindRule(tg, r, byName, byRule[r.key]); b != nil {
			tg.rules = append(tg.rules, b)
		}
	}
}

// bindRule returns nil when the rule has nothing to do with the target.
func bindRule(tg *target, r *Rule, byName map[string][]*slot, live []*instance) *bound {
	b := &bound{rule: r}
	selectors := r.program.Selectors()
	selected := make([][]*expr.Series, len(selectors))
	some := false
	for i := range selectors {
		from := byName[selectors[i].Name]
		if selectors[i].Name == "" {
			from = tg.slots
		}
		for _, sl := range from {
			if selectors[i].Matches(sl.Labels) {
				selected[i] = append(selected[i], &sl.Series)
				b.feeds |= 1 << min(sl.check, 63)
				some = true
			}
		}
	}
	if !some && len(live) == 0 {
		return nil
	}
	b.expr = r.program.Bind(selected)
	b.group(live)
	return b
}

// group finds which series of the result are one instance, and puts the instances that there are in their places.
func (b *bound) group(live []*instance) {
	n := b.expr.Len()
	of := make(map[uint64]int32, n)
	groups := make([][]int32, 0, n)
	for i := range n {
		h := b.identity(i).Hash()
		g, ok := of[h]
		if !ok {
			g = int32(len(groups))
			of[h] = g
			groups = append(groups, nil)
		}
		groups[g] = append(groups[g], int32(i))
	}
	if len(groups) < n {
		b.groups = groups
	}
	b.live = make([]*instance, len(groups))
	for _, in := range live {
		if g, ok := of[in.series.Hash()]; ok {
			b.live[g] = in
		} else {
			b.orphans = append(b.orphans, in)
		}
	}
}

// identity is what tells the instances of a rule apart: the labels of the result without the metric's name and
// without those that the rule sets for all of them.
func (b *bound) identity(i int) labels.Labels {
	lb := labels.NewBuilder(b.expr.Labels(i))
	lb.Del(model.MetricNameLabel, "__type__", "__unit__")
	lb.Del(b.rule.names...)
	return lb.Labels()
}

// judge sums up the states of one group: which verdict, with which value.
func (b *bound) judge(g int, res *expr.Result) (expr.State, float64) {
	if b.groups == nil {
		return res.States[g], res.Values[g]
	}
	state, value, n := expr.False, 0.0, 0
	for _, i := range b.groups[g] {
		switch s := res.States[i]; {
		case s == expr.True:
			state, value = expr.True, res.Values[i]
			n++
		case s != expr.False && state == expr.False:
			state = expr.Missing
		}
	}
	if n > 1 { // Prometheus refuses two alerts of the same labels: nothing is known then.
		return expr.Missing, 0
	}
	return state, value
}
