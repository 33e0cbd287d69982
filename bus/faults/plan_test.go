package faults_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// blow is one thing done to a broker's nodes.
type blow struct {
	// leader says that a leader is hit, as things are then. Which one, or else which node, node says, modulo how many
	// there are.
	leader bool
	node   int
	// down is for how long.
	down time.Duration
}

// blows are n of them, each between a third and all of longest. A leader is hit in every other one at least.
func blows(r *rand.Rand, n int, longest time.Duration) []blow {
	all := make([]blow, n)
	for i := range all {
		all[i] = blow{leader: i%2 == 0 || r.IntN(3) == 0, node: r.IntN(1 << 20), down: longest/3 + time.Duration(r.Int64N(int64(longest-longest/3)))}
	}
	return all
}

// cut is a way to lose a member.
type cut int

// The cuts.
const (
	refuse  cut = iota // Connections are reset and new ones refused.
	silence            // Nothing passes; what was sent arrives when it is over.
	deaf               // What the broker says arrives late, what the member says at once.
	mute               // What the member says vanishes.
	cuts
)

func (c cut) String() string { return [...]string{"refuse", "silence", "deaf", "mute"}[c] }

// change is a member that comes or goes.
type change struct {
	// after the change before.
	after time.Duration
	// join, or one of those who are there leaves, by closing or without a word.
	join, abrupt bool
	who          int // Of those who are there, modulo their number.
}

// changes keep between low and high members there for that long, beginning with now; one change every half second or so.
func changes(r *rand.Rand, length time.Duration, now, low, high int) []change {
	var all []change
	for t := time.Duration(0); ; {
		c := change{after: 150*time.Millisecond + time.Duration(r.Int64N(int64(700*time.Millisecond))), who: r.IntN(1 << 20), abrupt: r.IntN(3) == 0}
		if t += c.after; t > length {
			return all
		}
		c.join = now <= low || now < high && r.IntN(2) == 0
		if c.join {
			now++
		} else {
			now--
		}
		all = append(all, c)
	}
}

func TestAPlanFollowsFromItsSeedAndKeepsItsBounds(t *testing.T) {
	plan := func(seed uint64) ([]blow, []change) {
		r := rand.New(rand.NewPCG(seed, 1))
		return blows(r, 40, 9*time.Second), changes(r, 2*time.Minute, 3, 2, 6)
	}
	hits, moves := plan(1)
	again, movesAgain := plan(1)
	if !slices.Equal(hits, again) || !slices.Equal(moves, movesAgain) {
		t.Error("one seed gave two plans")
	}
	leaders := 0
	for _, b := range hits {
		if b.leader {
			leaders++
		}
		if b.down < 3*time.Second || b.down > 9*time.Second {
			t.Errorf("down for %s", b.down)
		}
	}
	if leaders < len(hits)/2 || leaders == len(hits) {
		t.Errorf("%d of %d blows hit a leader", leaders, len(hits))
	}
	there, joined, abrupt := 3, 0, 0
	for _, c := range moves {
		if there--; c.join {
			there += 2
			joined++
		}
		if c.abrupt {
			abrupt++
		}
		if there < 2 || there > 6 {
			t.Fatalf("%d members are there", there)
		}
	}
	if len(moves) < 100 || joined < 40 || abrupt < 20 {
		t.Errorf("%d changes, %d joined, %d abrupt", len(moves), joined, abrupt)
	}
}
