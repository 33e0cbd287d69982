package simulate

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestOneOfSeveralPathsIsEnoughAndAllNeedsAreNeeded(t *testing.T) {
	t.Parallel()
	topo, err := newTopology([]Device{
		{ID: "tor", AnyOf: []string{"core-1", "core-2"}, Needs: []string{"power"}},
		{ID: "core-1"},
		{ID: "core-2"},
		{ID: "power"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ core1, core2, power, want bool }{
		{true, true, true, true},
		{false, true, true, true},
		{true, false, true, true},
		{false, false, true, false},
		{true, true, false, false},
	} {
		if got := topo.reach([]bool{true, c.core1, c.core2, c.power})[0]; got != c.want {
			t.Errorf("%+v: reachable=%t", c, got)
		}
	}
}

// TestReachAgreesWithItsDefinition compares with the plain recursive meaning.
func TestReachAgreesWithItsDefinition(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(t, "n")
		devices := make([]Device, n)
		up := make([]bool, n)
		// Needs point forward in a random order of positions, so there is no circle.
		place := rapid.Permutation(positions(n)).Draw(t, "place")
		for i := range n {
			d := &devices[place[i]]
			d.ID = fmt.Sprint(place[i])
			for j := i + 1; j < n; j++ {
				switch rapid.IntRange(0, 5).Draw(t, "edge") {
				case 0:
					d.Needs = append(d.Needs, fmt.Sprint(place[j]))
				case 1:
					d.AnyOf = append(d.AnyOf, fmt.Sprint(place[j]))
				}
			}
			up[i] = rapid.IntRange(0, 4).Draw(t, "up") > 0
		}
		topo, err := newTopology(devices)
		if err != nil {
			t.Fatal(err)
		}
		var reachable func(i int) bool
		reachable = func(i int) bool {
			ok, any := up[i], len(topo.anyOf[i]) == 0
			for _, j := range topo.needs[i] {
				ok = ok && reachable(j)
			}
			for _, j := range topo.anyOf[i] {
				any = any || reachable(j)
			}
			return ok && any
		}
		want := make([]bool, n)
		for i := range want {
			want[i] = reachable(i)
		}
		if diff := cmp.Diff(want, topo.reach(up)); diff != "" {
			t.Fatal(diff)
		}
	})
}

func positions(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}
