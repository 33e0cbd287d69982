package snmp

import "slices"

// rows are the rows of a table, told apart by the end of their object identifiers. They come in the order of their
// indexes and nearly always the same for every column, so a row is found by guessing; a map is made when that fails.
type rows struct {
	arena []byte // the indexes, one after the other
	ends  []uint32
	known map[string]int
}

func (r *rows) len() int { return len(r.ends) }

// index returns the index of row i.
func (r *rows) index(i int) oid {
	start := uint32(0)
	if i > 0 {
		start = r.ends[i-1]
	}
	return r.arena[start:r.ends[i]]
}

// find returns the row of an index, -1 when there is none. guess is where it probably is.
func (r *rows) find(index oid, guess int) int {
	n := r.len()
	if guess < n && string(r.index(guess)) == string(index) {
		return guess
	}
	if n == 0 || guess >= n && compare(r.index(n-1), index) < 0 && r.known == nil {
		return -1
	}
	if r.known == nil {
		r.known = make(map[string]int, 2*n)
		for i := range n {
			r.known[string(r.index(i))] = i
		}
	}
	if i, ok := r.known[string(index)]; ok {
		return i
	}
	return -1
}

// add appends a row.
func (r *rows) add(index oid) int {
	r.arena = append(r.arena, index...)
	r.ends = append(r.ends, uint32(len(r.arena)))
	i := len(r.ends) - 1
	if r.known != nil {
		r.known[string(index)] = i
	}
	return i
}

// order returns the rows in the order of their indexes without those that keep refuses, or nil when they are that
// already.
func (r *rows) order(keep func(row int) bool) []int {
	order := make([]int, 0, r.len())
	changed := false
	for i := range r.len() {
		if !keep(i) {
			changed = true
			continue
		}
		if n := len(order); n > 0 && compare(r.index(order[n-1]), r.index(i)) > 0 {
			changed = true
		}
		order = append(order, i)
	}
	if !changed {
		return nil
	}
	slices.SortFunc(order, func(a, b int) int { return compare(r.index(a), r.index(b)) })
	return order
}

// same reports whether the rows are those of other, in the same order.
func (r *rows) same(other *rows) bool {
	return string(r.arena) == string(other.arena) && slices.Equal(r.ends, other.ends)
}

// pick brings the rows into an order.
func (r *rows) pick(order []int) {
	var picked rows
	for _, i := range order {
		picked.add(r.index(i))
	}
	*r = picked
}

// clone returns a copy that shares nothing.
func (r *rows) clone() rows {
	return rows{arena: slices.Clone(r.arena), ends: slices.Clone(r.ends)}
}
