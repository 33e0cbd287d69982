package hush

import (
	"slices"

	"kemi.dev/kemi/bus/event"
)

// place is a label that everything an entry holds for must have.
type place = event.Label

// index finds the entries that may match: those that ask for one of the alert's labels, and those that ask for no
// particular one.
type index struct {
	by   map[place][]*entry
	rest []*entry
}

func newIndex() index { return index{by: map[place][]*entry{}} }

// choose says where an entry is found: under the values of the matcher that is shared with the fewest others, so that
// ten thousand silences of one alert's name, each of an instance, are told apart by the instance. None when no matcher
// can be looked up.
func (x *index) choose(matchers []matcher) []place {
	var best []place
	fewest := -1
	for i := range matchers {
		m := &matchers[i]
		if !m.listed() {
			continue
		}
		load := len(m.values) - 1
		for _, v := range m.values {
			load += len(x.by[place{Name: m.name, Value: v}])
		}
		if fewest >= 0 && load >= fewest {
			continue
		}
		fewest, best = load, best[:0]
		for _, v := range m.values {
			best = append(best, place{Name: m.name, Value: v})
		}
	}
	return best
}

func (x *index) add(e *entry) {
	if len(e.place) == 0 {
		x.rest = append(x.rest, e)
		return
	}
	for _, p := range e.place {
		x.by[p] = append(x.by[p], e)
	}
}

func (x *index) remove(e *entry) {
	if len(e.place) == 0 {
		x.rest = without(x.rest, e)
		return
	}
	for _, p := range e.place {
		if left := without(x.by[p], e); len(left) > 0 {
			x.by[p] = left
		} else {
			delete(x.by, p)
		}
	}
}

// without takes one entry out; the order of the others does not matter.
func without(all []*entry, e *entry) []*entry {
	i := slices.Index(all, e)
	if i < 0 {
		return all
	}
	last := len(all) - 1
	all[i], all[last] = all[last], nil
	return all[:last]
}

func (x *index) empty() bool { return len(x.by) == 0 && len(x.rest) == 0 }
