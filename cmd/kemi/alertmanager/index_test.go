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
				if !maps.Equal(got, want) || len(found) > len(all) || len(x.labels) > indexed {
					t.Fatalf("%v: %d found (%d of them match), %d match of %d; %d labels", ms, len(found), len(got), len(want), len(all), len(x.labels))
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
