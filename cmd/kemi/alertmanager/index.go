package alertmanager

import (
	"iter"
	"maps"
	"slices"

	"github.com/prometheus/alertmanager/pkg/labels"

	"kemi.dev/kemi/bus/event"
)

const (
	// indexed is how many labels are indexed at most that list many alerts, and lights how many that list few.
	indexed, lights = 4, 16
	// narrow is how many alerts one value of a label has at most for the index to list them. What has more is not worth it.
	// A label is light while it lists no more than that altogether.
	narrow = 2048
	// lately is how many questions it takes until those before count half.
	lately = 64
	// known is how many labels are remembered at most, beside those that were asked for lately.
	known = 128
)

// index finds the alerts that fire by the value of one of the labels that people ask for: looking at each of 100,000 takes
// longer than all else of an answer. A label is indexed from when it is asked for the second time on; each costs up to some
// 10 MB with 100,000 alerts, when each of these has a value of its own. To index one takes several times as long as to look
// at each: those that are stay until others are asked for clearly more often.
type index struct {
	labels map[string]*label // What was asked for of late.
	built  []*label          // Those of them that are indexed, in the order in which they came to be.
	asks   int               // Since what was asked for last counted half.
	builds int
}

// label lists the alerts by the values of one label; of values that more than narrow have it only counts them.
type label struct {
	name   string
	asked  int // Of late.
	by     map[string][]*event.Alert
	wide   map[string]int
	listed int  // How many are in by.
	stale  bool // It lists too few: a value is wide no more.
	beaten bool // It was indexed, and is no more because others were asked for as often.
}

func (l *label) light() bool { return l.listed <= narrow }

func (l *label) add(a *event.Alert) {
	value := a.Labels.Get(l.name)
	switch n := l.wide[value]; {
	case value == "": // As if it were not there.
	case n > 0:
		l.wide[value]++
	case len(l.by[value]) == narrow:
		delete(l.by, value)
		l.listed -= narrow
		l.wide[value] = narrow + 1
	default:
		l.by[value] = append(l.by[value], a)
		l.listed++
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
	l.listed--
	all[i], all[last] = all[last], nil
	if l.by[value] = all[:last]; last == 0 {
		delete(l.by, value)
	}
}

// change takes in what an alert was and what it is; either may be nil.
func (x *index) change(was, is *event.Alert) {
	grew := false
	for _, l := range x.built {
		light := l.light()
		if was != nil {
			l.remove(was)
		}
		if is != nil {
			l.add(is)
		}
		grew = grew || light && !l.light()
	}
	if grew {
		x.trim()
	}
}

// find lists alerts among which are all that match, in no order: few of all, or all of them.
func (x *index) find(matchers []*labels.Matcher, all map[string]*event.Alert) iter.Seq[*event.Alert] {
	var wanted *label
	var value string
	for _, m := range matchers {
		if m.Type != labels.MatchEqual || m.Value == "" { // Nothing is what those have that have no such label.
			continue
		}
		switch l := x.ask(m.Name); {
		case l.by == nil || l.stale:
			if x.worth(l) { // One each time: a query may name more than are indexed.
				wanted, value = l, m.Value
			}
		case l.wide[m.Value] == 0:
			return slices.Values(l.by[m.Value])
		}
	}
	if wanted == nil {
		return maps.Values(all)
	}
	x.begin(wanted, all)
	few, wide := wanted.by[value], wanted.wide[value] > 0
	x.trim()
	if wide {
		return maps.Values(all)
	}
	return slices.Values(few)
}

// ask counts that a label is asked for.
func (x *index) ask(name string) *label {
	if x.asks++; x.asks > lately {
		x.asks = 0
		many := len(x.labels) > known
		for _, l := range x.labels {
			if l.asked /= 2; l.asked == 0 && l.by == nil && many {
				delete(x.labels, l.name)
			}
		}
	}
	l := x.labels[name]
	if l == nil {
		if l = (&label{name: name}); x.labels == nil {
			x.labels = map[string]*label{}
		}
		x.labels[name] = l
	}
	l.asked++
	return l
}

// worth says whether to index a label that is not, or whose index is stale.
func (x *index) worth(l *label) bool {
	if !l.beaten {
		return l.asked > 1
	}
	n, least := x.least(l.light())
	return n < places(l.light()) || l.asked >= 2*least.asked+2
}

func places(light bool) int {
	if light {
		return lights
	}
	return indexed
}

// least counts the labels that are indexed and light, or those that are not, and says which is asked for least; of several
// the last that came.
func (x *index) least(light bool) (n int, least *label) {
	for _, l := range x.built {
		if l.light() != light {
			continue
		}
		if n++; least == nil || l.asked <= least.asked {
			least = l
		}
	}
	return n, least
}

// begin indexes a label.
func (x *index) begin(l *label, all map[string]*event.Alert) {
	x.builds++
	x.built = append(slices.DeleteFunc(x.built, func(b *label) bool { return b == l }), l)
	l.by, l.wide, l.listed, l.stale, l.beaten = map[string][]*event.Alert{}, map[string]int{}, 0, false, false
	for _, a := range all {
		l.add(a)
	}
}

// trim lets go of labels that are too many.
func (x *index) trim() {
	for _, light := range []bool{true, false} {
		for n, l := x.least(light); n > places(light); n, l = x.least(light) {
			x.built = slices.DeleteFunc(x.built, func(b *label) bool { return b == l })
			l.by, l.wide, l.beaten = nil, nil, true // How many it listed says what it would cost again.
		}
	}
}
