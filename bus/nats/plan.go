package nats

import (
	"slices"
	"strings"
)

// plan says what a member does about the partitions of its group, given who owns each ("" for nobody alive) and who
// is there, itself included. All members that see the same come to plans that fit together: everybody has equally
// many partitions, one more for those that have most now; what is owned rightly stays where it is.
func plan(me string, owners, members []string) (claim, yield []int) {
	held := map[string]int{}
	for _, m := range members {
		held[m] = 0
	}
	for _, o := range owners {
		if o != "" {
			held[o]++ // An owner whose announcement is not there yet is a member all the same.
		}
	}
	order := make([]string, 0, len(held))
	for m := range held {
		order = append(order, m)
	}
	slices.SortFunc(order, func(a, b string) int {
		if held[a] != held[b] {
			return held[b] - held[a]
		}
		return strings.Compare(a, b)
	})
	missing := map[string]int{}
	for i, m := range order {
		share := len(owners) / len(order)
		if i < len(owners)%len(order) {
			share++
		}
		missing[m] = share - held[m]
	}
	for p := len(owners) - 1; p >= 0 && missing[me] < 0; p-- {
		if owners[p] == me {
			yield = append(yield, p)
			missing[me]++
		}
	}
	for p, o := range owners {
		if o != "" {
			continue
		}
		for _, m := range order {
			if missing[m] > 0 {
				missing[m]--
				if m == me {
					claim = append(claim, p)
				}
				break
			}
		}
	}
	return claim, yield
}
