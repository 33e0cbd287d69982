package kafka

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
)

// claim is what a member says when it joins: which partitions it owns, and since which epoch.
type claim struct {
	member string
	owned  map[int]uint64
}

// share is what a member of the next generation is told.
type share struct {
	// own is what it has: all it owns already, and what nobody owns and it should take.
	own []int
	// give is how many of them it should give back as soon as nothing of them is in hand, for others to take in a later
	// generation. It chooses which.
	give int
}

// divide says who has which partition in the next generation. What is owned stays with its owner: it moves in two
// steps, given back first and taken then, so that two members never believe they own it. Everybody gets equally many,
// one more for those that have most now; what is owned rightly stays where it is.
func divide(claims []claim, partitions int) map[string]share {
	owners := make([]string, partitions)
	epochs := make([]uint64, partitions)
	held := map[string]int{}
	for _, c := range claims {
		held[c.member] = 0
		for p, e := range c.owned {
			// Two that claim one partition are a mistake of somebody; the newer owner is right.
			if p >= 0 && p < partitions && (owners[p] == "" || e > epochs[p] || e == epochs[p] && c.member < owners[p]) {
				owners[p], epochs[p] = c.member, e
			}
		}
	}
	own := map[string][]int{}
	for p, o := range owners {
		if o != "" {
			own[o] = append(own[o], p)
			held[o]++
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
		missing[m] = partitions/len(order) - held[m]
		if i < partitions%len(order) {
			missing[m]++
		}
	}
	for p, o := range owners {
		if o != "" || len(order) == 0 {
			continue
		}
		m := slices.MaxFunc(order, func(a, b string) int { return missing[a] - missing[b] })
		missing[m]--
		own[m] = append(own[m], p)
	}
	out := map[string]share{}
	for _, m := range order {
		slices.Sort(own[m])
		out[m] = share{own: own[m], give: max(0, -missing[m])}
	}
	return out
}

// What members say and are told travels in the user data of Kafka's consumer protocol. The first byte is the version.
const dataVersion = 1

var errData = errors.New("user data of the group that this version does not understand")

func encodeClaim(owned map[int]uint64) []byte {
	out := binary.AppendUvarint([]byte{dataVersion}, uint64(len(owned)))
	ps := make([]int, 0, len(owned))
	for p := range owned {
		ps = append(ps, p)
	}
	slices.Sort(ps)
	for _, p := range ps {
		out = binary.AppendUvarint(out, uint64(p))
		out = binary.AppendUvarint(out, owned[p])
	}
	return out
}

func decodeClaim(data []byte) (map[int]uint64, error) {
	r := numbers{data: data}
	if r.next() != dataVersion {
		return nil, errData
	}
	owned := map[int]uint64{}
	for n := r.next(); n > 0 && !r.bad; n-- {
		p, e := r.next(), r.next()
		if p > maxPartition {
			return nil, errData
		}
		owned[int(p)] = e
	}
	if r.bad || len(r.data) > 0 {
		return nil, errData
	}
	return owned, nil
}

func encodeGive(n int) []byte { return binary.AppendUvarint([]byte{dataVersion}, uint64(n)) }

func decodeGive(data []byte) (int, error) {
	r := numbers{data: data}
	version, n := r.next(), r.next()
	if version != dataVersion || r.bad || len(r.data) > 0 || n > maxPartition {
		return 0, errData
	}
	return int(n), nil
}

// maxPartition is the largest number that is taken for a partition.
const maxPartition = 1<<31 - 1

// numbers reads one after the other; bad says that there was none where one was wanted.
type numbers struct {
	data []byte
	bad  bool
}

func (r *numbers) next() uint64 {
	v, n := binary.Uvarint(r.data)
	if n <= 0 {
		r.bad, r.data = true, nil
		return 0
	}
	r.data = r.data[n:]
	return v
}
