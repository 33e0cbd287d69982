package alertmanager

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/prometheus/alertmanager/pkg/labels"
	"pgregory.net/rapid"

	"kemi.dev/kemi/bus/event"
)

// Whatever fires, changes and is over, and whatever was asked before: among what the index finds is everything that matches,
// and nothing that fires no more.
func TestTheIndexFindsWhatMatches(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var x index
		all := map[string]*event.Alert{}
		set := func(id string, a *event.Alert) {
			x.change(all[id], a)
			if all[id] = a; a == nil {
				delete(all, id)
			}
		}
		names := []string{"a", "b", "c", "d", "e", "f"}
		value := rapid.SampledFrom([]string{"", "1", "2", "3"})
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0:
				ls := map[string]string{}
				for _, name := range names {
					ls[name] = value.Draw(t, name)
				}
				set(rapid.StringMatching("[0-9]").Draw(t, "id"), &event.Alert{Labels: event.LabelsOf(ls)})
			case 1:
				set(rapid.StringMatching("[0-9]").Draw(t, "id"), nil)
			case 2: // Many of one value come or go.
				gone := rapid.Bool().Draw(t, "gone")
				for i := range narrow + 10 {
					a := &event.Alert{Labels: event.Labels{{Name: "a", Value: "1"}, {Name: "b", Value: fmt.Sprint(i)}}}
					if gone {
						a = nil
					}
					set(fmt.Sprint("many-", i), a)
				}
			default:
				var ms []*labels.Matcher
				for range rapid.IntRange(0, 6).Draw(t, "matchers") {
					m, err := labels.NewMatcher(rapid.SampledFrom([]labels.MatchType{labels.MatchEqual, labels.MatchEqual, labels.MatchNotEqual, labels.MatchRegexp}).Draw(t, "type"),
						rapid.SampledFrom(names).Draw(t, "name"), value.Draw(t, "value"))
					if err != nil {
						t.Fatal(err)
					}
					ms = append(ms, m)
				}
				want := map[*event.Alert]bool{}
				for a := range maps.Values(all) {
					if matches(ms, a.Labels.Get) {
						want[a] = true
					}
				}
				found := slices.Collect(x.find(ms, all))
				got := map[*event.Alert]bool{}
				for _, a := range found {
					if matches(ms, a.Labels.Get) {
						got[a] = true
					}
				}
				if !maps.Equal(got, want) || len(found) > len(all) || !bounded(&x) {
					t.Fatalf("%v: %d found (%d of them match), %d match of %d; %d labels", ms, len(found), len(got), len(want), len(all), len(x.built))
				}
			}
		}
	})
}

// What is asked for by one value of a label is not looked for among all, also after many had that value.
func TestTheIndexLooksAtFew(t *testing.T) {
	var x index
	all := map[string]*event.Alert{}
	for i := range 3 * narrow {
		a := &event.Alert{ID: fmt.Sprint(i), Labels: event.LabelsOf(map[string]string{"rack": fmt.Sprint("rack-", i/40), "site": "west"})}
		all[a.ID] = a
	}
	ask := func(name, value string, want int) {
		t.Helper()
		m, err := labels.NewMatcher(labels.MatchEqual, name, value)
		if err != nil {
			t.Fatal(err)
		}
		if got := len(slices.Collect(x.find([]*labels.Matcher{m}, all))); got != want {
			t.Errorf("%s=%q: %d are looked at, not %d", name, value, got, want)
		}
	}
	ask("rack", "rack-7", len(all)) // Once is not worth it.
	ask("rack", "rack-7", 40)
	ask("rack", "rack-none", 0)
	ask("site", "west", len(all))
	for i := 10; i < 3*narrow; i++ {
		x.change(all[fmt.Sprint(i)], nil)
		delete(all, fmt.Sprint(i))
	}
	all["last"] = &event.Alert{ID: "last", Labels: event.LabelsOf(map[string]string{"site": "east"})}
	x.change(nil, all["last"])
	ask("site", "west", 10)
	ask("rack", "rack-0", 10)
}

// bounded says whether an index keeps what it may and counts it well.
func bounded(x *index) bool {
	heavy, light := 0, 0
	for _, l := range x.built {
		listed := 0
		for _, some := range l.by {
			listed += len(some)
		}
		if listed != l.listed || x.labels[l.name] != l {
			return false
		}
		if l.light() {
			light++
		} else {
			heavy++
		}
	}
	for _, l := range x.labels {
		if (l.by != nil) != slices.Contains(x.built, l) {
			return false
		}
	}
	return heavy <= indexed && light <= lights && len(x.labels) <= known+lately+indexed+lights+1
}

// To index a label takes longer than to look at every alert: however many are asked for, alone or together, each is indexed
// once, unless it is asked for clearly more often than what is.
func TestTheIndexIsNotBuiltForEver(t *testing.T) {
	all := map[string]*event.Alert{}
	for i := range 3 * narrow {
		ls := map[string]string{}
		for l := range 50 {
			ls[fmt.Sprint("own-", l)], ls[fmt.Sprint("wide-", l)] = fmt.Sprint(i), "same"
		}
		a := &event.Alert{ID: fmt.Sprint(i), Labels: event.LabelsOf(ls)}
		all[a.ID] = a
	}
	is := func(name, value string) *labels.Matcher {
		m, err := labels.NewMatcher(labels.MatchEqual, name, value)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	// asked asks again and again for n labels, together or in turn, and says how many of the last questions found few.
	asked := func(x *index, name, value string, n int, together bool) (few int) {
		var ms []*labels.Matcher
		for i := range n {
			ms = append(ms, is(fmt.Sprint(name, i), value))
		}
		for i := range 400 {
			ask := ms
			if !together {
				ask = ms[i%n : i%n+1]
			}
			found := 0
			for range x.find(ask, all) {
				found++
			}
			if found < len(all) && i >= 400-n {
				few++
			}
		}
		return few
	}
	for _, c := range []struct {
		what, name, value string
		n                 int
		together          bool
		builds, few       int
	}{
		{"four of own values", "own-", "7", 4, false, 4, 4},
		{"five of own values", "own-", "7", 5, false, 5, 4},
		{"40 of own values", "own-", "7", 40, false, 40, 4},
		{"five of own values together", "own-", "7", 5, true, 1, 5},
		{"five wide ones", "wide-", "same", 5, false, 5, 0},
		{"five wide ones together", "wide-", "same", 5, true, 5, 0},
		{"16 wide ones", "wide-", "same", 16, false, 16, 0},
		{"40 wide ones together", "wide-", "same", 40, true, 40, 0},
	} {
		var x index
		if few := asked(&x, c.name, c.value, c.n, c.together); x.builds != c.builds || few != c.few || !bounded(&x) {
			t.Errorf("%s: %d builds, %d of the last found few; want %d and %d", c.what, x.builds, few, c.builds, c.few)
		}
	}
	// Wide ones are in nobody's way, and what is asked for from now on takes the place of what was.
	var x index
	asked(&x, "wide-", "same", 10, true)
	asked(&x, "own-", "7", 4, false)
	if few := asked(&x, "own-", "7", 4, false); few != 4 || x.builds != 14 {
		t.Errorf("beside wide ones: %d of the last found few after %d builds", few, x.builds)
	}
	for range 200 {
		x.find([]*labels.Matcher{is("own-9", "7")}, all)
	}
	if n := len(slices.Collect(x.find([]*labels.Matcher{is("own-9", "7")}, all))); n != 1 || x.builds > 17 {
		t.Errorf("a new favourite: %d are looked at after %d builds", n, x.builds)
	}
}
