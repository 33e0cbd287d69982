package kafka

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// However a group begins, nobody ever loses what it did not give back, no partition has two owners, and after as many
// generations as it takes everybody has equally many and nothing is asked for any more.
func TestPartitionsMoveOnlyInTwoStepsAndAsFewAsPossible(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 40).Draw(t, "partitions")
		owned := map[string]map[int]uint64{}
		for i := range rapid.IntRange(1, 9).Draw(t, "members") {
			owned[fmt.Sprint("m", i)] = map[int]uint64{}
		}
		names := slices.Sorted(maps.Keys(owned))
		for p := range n {
			if o := rapid.SampledFrom(append([]string{"", ""}, names...)).Draw(t, "owner"); o != "" {
				owned[o][p] = 7
			}
		}
		most := (n + len(names) - 1) / len(names)
		surplus := 0 // What has to move, at the least.
		for _, ps := range owned {
			surplus += max(0, len(ps)-most)
		}
		moved := 0
		for range 2*n + 4 {
			var claims []claim
			for _, m := range rapid.Permutation(names).Draw(t, "order") {
				claims = append(claims, claim{m, owned[m]})
			}
			shares := divide(claims, n)
			seen := map[int]string{}
			asked := 0
			for m, s := range shares {
				asked += s.give
				for p := range owned[m] {
					if !slices.Contains(s.own, p) {
						t.Fatalf("%s loses %d without having given it back", m, p)
					}
				}
				for _, p := range s.own {
					if o, ok := seen[p]; ok {
						t.Fatalf("%d goes to %s and %s", p, o, m)
					}
					seen[p] = m
				}
				if s.give > 0 && len(s.own) > len(owned[m]) {
					t.Fatalf("%s takes and gives at a time", m)
				}
			}
			if len(seen) != n {
				t.Fatalf("%d of %d partitions have an owner", len(seen), n)
			}
			for m, s := range shares {
				for _, p := range s.own {
					owned[m][p] = 8
				}
			}
			if asked == 0 {
				for m, s := range shares {
					if len(s.own) < n/len(names) || len(s.own) > most {
						t.Fatalf("%s has %d of %d with %d members", m, len(s.own), n, len(names))
					}
				}
				if limit := surplus + len(names); moved > limit {
					t.Fatalf("%d moved, %d were enough", moved, limit)
				}
				return
			}
			// Some give back some of it, as they can; one at least.
			gave := false
			for m, s := range shares {
				for range rapid.IntRange(0, s.give).Draw(t, "given") {
					delete(owned[m], rapid.SampledFrom(slices.Sorted(maps.Keys(owned[m]))).Draw(t, "which"))
					moved++
					gave = true
				}
			}
			for m, s := range shares {
				if !gave && s.give > 0 {
					delete(owned[m], s.own[0])
					moved++
					gave = true
				}
			}
		}
		t.Fatal("it never comes to rest")
	})
}

func TestTheNewerOwnerIsRight(t *testing.T) {
	shares := divide([]claim{{"a", map[int]uint64{0: 5, 9: 1, -1: 1}}, {"b", map[int]uint64{0: 6}}}, 1)
	if len(shares["a"].own) != 0 || !slices.Equal(shares["b"].own, []int{0}) {
		t.Fatalf("got %+v", shares)
	}
}

func FuzzUserData(f *testing.F) {
	f.Add([]byte{})
	f.Add(encodeClaim(nil))
	f.Add(encodeClaim(map[int]uint64{0: 1, 300: 1 << 63}))
	f.Add(encodeGive(3))
	f.Fuzz(func(t *testing.T, data []byte) {
		if owned, err := decodeClaim(data); err == nil {
			again, err := decodeClaim(encodeClaim(owned))
			if err != nil || !maps.Equal(again, owned) {
				t.Fatalf("%v became %v (%v)", owned, again, err)
			}
			divide([]claim{{"a", owned}}, 4)
		}
		if n, err := decodeGive(data); err == nil {
			if again, err := decodeGive(encodeGive(n)); err != nil || again != n {
				t.Fatalf("%d became %d (%v)", n, again, err)
			}
		}
	})
}
