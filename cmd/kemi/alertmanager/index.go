package alertmanager

import (
	"iter"
	"maps"
	"slices"

	"github.com/prometheus/alertmanager/pkg/labels"

	"kemi.dev/kemi/bus/event"
)

const (
	// indexed is how many labels are indexed at most: those that were asked for last.
	indexed = 4
	// narrow is how many alerts one value of a label has at most for the index to list them. What has more is not worth it.
	narrow = 2048
)

// index finds the alerts that fire by the value of one of the labels that people ask for: looking at each of 100,000 takes
// longer than all else of an answer. A label is indexed from when it is first asked for on; each costs up to some 10 MB
// with 100,000 alerts, when each of these has a value of its own.
type index struct {
	labels []*label // The one that was asked for last is the last.
}

// label lists the alerts by the values of one label; of values that more than narrow have it only counts them.
type label struct {
	name  string
	by    map[string][]*event.Alert
	wide  map[string]int
	stale bool // It lists too few: a value is wide no more.
}

func (l *label) add(a *event.Alert) {
	value := a.Labels.Get(l.name)
	switch n := l.wide[value]; {
	case value == "": // As if it were not there.
	case n > 0:
		l.wide[value]++
	case len(l.by[value]) == narrow:
		delete(l.by, value)
		l.wide[value] = narrow + 1
	default:
		l.by[value] = append(l.by[value], a)
	}
}

func (l *label) remove(a *event.Alert) {
	value := a.Labels.Get(l.name)
	if n := l.wide[value]; n > 0 {
		l.wide[value]--
		l.stale = l.stale || n <= narrow/2
		return
	}
	all := l.by[value]
	i, last := slices.Index(all, a), len(all)-1
	if i < 0 {
		return
	}
	all[i], all[last] = all[last], nil
	if l.by[value] = all[:last]; last == 0 {
		delete(l.by, value)
	}
}

// change takes in what an alert was and what it is; either may be nil.
func (x *index) change(was, is *event.Alert) {
	for _, l := range x.labels {
		if was != nil {
			l.remove(was)
		}
		if is != nil {
			l.add(is)
		}
	}
}

// find lists alerts among which are all that match, in no order: few of all, or all of them.
func (x *index) find(matchers []*labels.Matcher, all map[string]*event.Alert) iter.Seq[*event.Alert] {
	var unknown string
	for _, m := range matchers {
		if m.Type != labels.MatchEqual || m.Value == "" { // Nothing is what those have that have no such label.
			continue
		}
		l := x.label(m.Name)
		if l == nil {
			unknown = m.Name
		} else if l.wide[m.Value] == 0 {
			return slices.Values(l.by[m.Value])
		}
	}
	if unknown == "" {
		return maps.Values(all)
	}
	x.begin(unknown, all) // One each time: a query may name more than are indexed.
	return x.find(slices.DeleteFunc(slices.Clone(matchers), func(m *labels.Matcher) bool { return m.Name != unknown }), all)
}

// label returns the index of a label, nil when there is none.
func (x *index) label(name string) *label {
	i := slices.IndexFunc(x.labels, func(l *label) bool { return l.name == name && !l.stale })
	if i < 0 {
		return nil
	}
	l := x.labels[i]
	x.labels = append(slices.Delete(x.labels, i, i+1), l)
	return l
}

// begin indexes a label.
func (x *index) begin(name string, all map[string]*event.Alert) {
	l := &label{name: name, by: map[string][]*event.Alert{}, wide: map[string]int{}}
	for _, a := range all {
		l.add(a)
	}
	x.labels = slices.DeleteFunc(x.labels, func(l *label) bool { return l.stale })
	x.labels = append(x.labels[max(0, len(x.labels)+1-indexed):], l)
}
