package alerting

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// A set of targets holds what was put in and not taken out, each once, few or many.
func TestNodesAreASet(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		all := make([]*node, 40)
		for i := range all {
			all[i] = &node{}
		}
		var s nodes
		in := map[*node]bool{}
		for range rapid.IntRange(0, 200).Draw(r, "steps") {
			n := rapid.SampledFrom(all).Draw(r, "n")
			if rapid.IntRange(0, 2).Draw(r, "what") > 0 {
				s.add(n)
				in[n] = true
			} else {
				s.remove(n)
				delete(in, n)
			}
			if len(s.all) != len(in) {
				r.Fatalf("it has %d, not %d", len(s.all), len(in))
			}
			for _, n := range all {
				if slices.Contains(s.all, n) != in[n] {
					r.Fatal("it has others")
				}
			}
		}
	})
}

// What is not looked at again because nothing changed is what looking again would find.
func TestLookingAgainFindsNothingElse(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		lazy, anew := newStage(t, DefaultPolicy()), newStage(t, DefaultPolicy())
		anew.anew = true
		do := func(line string) {
			lazy.do(line)
			anew.do(line)
		}
		ids := []string{"a", "b", "c", "d", "e", "f", "g"}
		relate := func(i int) {
			line := "target " + ids[i] + " " + rapid.SampledFrom([]string{"switch", "server"}).Draw(r, "class")
			if rapid.IntRange(0, 2).Draw(r, "unpolled") > 0 {
				line += " nochecks"
			}
			if i > 0 {
				line += " " + ids[(i-1)/2] // A tree, and then some.
			}
			if rapid.IntRange(0, 4).Draw(r, "needs") == 0 {
				line += " " + rapid.SampledFrom(ids).Draw(r, "need")
			}
			do(line)
		}
		for i := range ids {
			relate(i)
		}
		for range rapid.IntRange(1, 40).Draw(r, "steps") {
			id := rapid.SampledFrom(ids).Draw(r, "target")
			switch line := rapid.SampledFrom([]string{"fire %s X", "fire %s HostDown", "fire %s HostDown", "resolve %s HostDown", "down %s", "up %s", "+3s", "+20s", "remove %s", "relate"}).Draw(r, "what"); line {
			case "relate":
				relate(slices.Index(ids, id))
			case "+3s", "+20s":
				do(line)
			default:
				do(fmt.Sprintf(line, id))
			}
		}
		do("+10m")
		if d := cmp.Diff(anew.said.String(), lazy.said.String()); d != "" {
			r.Fatal(d)
		}
	})
}
