package snmp

import (
	"fmt"
	"slices"
)

// walk reads columns of one table, and scalars along with them, by GETBULK of several columns at once. It is pure: the
// next request comes from it and the answer goes into it. It promises to end: every answer brings a walk forward, or
// makes its requests smaller, or ends a column.
type walk struct {
	rows    *rows
	scalars []*scalar
	columns []*column
	// maxRows bounds the rows; truncated says that there are more, or that the walk was cut short.
	maxRows   int
	truncated bool
	// limits are what the target is known to manage; the walk lowers them when it learns better.
	limits *limits
	// expect is how many rows the table probably has, 0 when not known.
	expect int
	// fixed says that no rows are to be added: columns that only label rows cannot make any.
	fixed bool
	// most columns and scalars go into one request; apart says that scalars and columns do not go together.
	mostColumns, mostScalars int
	apart                    bool

	active []*column // columns of the request under way, in its order
	asked  []*scalar // scalars of the request under way
	size   int       // repetitions of the request under way
	names  []oid
}

// scalar is one object that has a single instance.
type scalar struct {
	column
	asked int // how often an answer came without it
}

// limits are what a target was found to manage in one request or answer.
type limits struct {
	repetitions int // from the credential; lowered by tooBig
	columns     int
	// answer is how many octets an answer may have, 0 when not known.
	answer int
	// binding is how many octets a binding of this target has on average.
	binding int
}

// Defaults of limits that are not configured.
const (
	defaultColumns = 20
	// defaultAnswer is asked for until something is known: what most agents on a local network answer in one packet.
	// Agents that manage less send less or say so.
	defaultAnswer  = 8 << 10
	smallAnswer    = 1200
	defaultBinding = 24
	// maxScalars is how many scalars go into one request.
	maxScalars = 30
)

// start prepares a walk of which rows, limits, expect and maxRows are set.
func (w *walk) start(scalars []*scalar, columns []*column) {
	w.scalars, w.columns = scalars, columns
	w.mostColumns, w.mostScalars = w.limits.columns, maxScalars
	w.apart = len(scalars) > maxScalars
}

// next writes the next request; false means that there is nothing left to ask.
func (w *walk) next(r *request) bool {
	w.active, w.asked, w.names = w.active[:0], w.asked[:0], w.names[:0]
	for _, s := range w.scalars {
		if !s.ended && len(w.asked) < w.mostScalars {
			w.asked = append(w.asked, s)
			w.names = append(w.names, s.spec.oid[:len(s.spec.oid)-1]) // GETBULK answers what follows: the instance .0
		}
	}
	for _, c := range w.columns {
		if !c.ended && len(w.active) < w.mostColumns && !(w.apart && len(w.asked) > 0) {
			w.active = append(w.active, c)
		}
	}
	// Columns that are behind the others go alone, so that the rows of an answer stay together.
	w.active = w.together(w.active)
	for _, c := range w.active {
		w.names = append(w.names, c.cursor)
	}
	w.size = 0
	if len(w.active) > 0 {
		w.size = w.repetitions()
	}
	r.names, r.scalars, r.repetitions = w.names, len(w.asked), w.size
	return len(w.names) > 0
}

// together keeps those columns that stand where the one that is furthest behind stands, when they are far apart.
func (w *walk) together(columns []*column) []*column {
	if len(columns) < 2 {
		return columns
	}
	least, most := columns[0].guess, columns[0].guess
	for _, c := range columns[1:] {
		least, most = min(least, c.guess), max(most, c.guess)
	}
	if most-least <= w.limits.repetitions {
		return columns
	}
	return slices.DeleteFunc(columns, func(c *column) bool { return c.guess > least+w.limits.repetitions/2 })
}

// repetitions chooses how many rows to ask for: as many as are left and one more, which shows the end, in requests of
// equal size, within the limits.
func (w *walk) repetitions() int {
	l := w.limits
	answer := l.answer
	if answer == 0 {
		answer = defaultAnswer
	}
	most := min(l.repetitions, max(1, (answer-64-len(w.asked)*l.binding)/(len(w.active)*l.binding)))
	if w.expect == 0 {
		return most
	}
	least := w.active[0].guess
	for _, c := range w.active[1:] {
		least = min(least, c.guess)
	}
	left := w.expect - least + 1
	if left <= 0 {
		return min(most, 5)
	}
	requests := (left + most - 1) / most
	return (left + requests - 1) / requests
}

// shrink makes the request under way smaller before it is sent again without having been answered. It reports whether
// it was large enough to be worth that.
func (w *walk) shrink(r *request) bool {
	if len(w.active) == 0 {
		return false
	}
	small := max(1, (smallAnswer-len(w.asked)*w.limits.binding)/(len(w.active)*w.limits.binding))
	if r.repetitions <= small {
		return false
	}
	r.repetitions, w.size = small, small
	return true
}

// take takes an answer to the request under way. size is that of the packet.
func (w *walk) take(a answer, size int) error {
	if a.status != 0 {
		w.refused(a.status, int(a.index))
		return nil
	}
	list, n := a.bindings, 0
	for len(list) > 0 {
		b, rest, err := next(list)
		if err != nil {
			return err
		}
		list = rest
		if n < len(w.asked) {
			w.takeScalar(w.asked[n], &b)
		} else if k := len(w.active); k > 0 {
			w.takeValue(w.active[(n-len(w.asked))%k], &b)
		}
		n++
	}
	w.learn(n, size)
	w.missed(n)
	return nil
}

// learn adapts the limits to an answer.
func (w *walk) learn(bindings, size int) {
	if bindings < 20 {
		return
	}
	w.limits.binding = max(8, (3*w.limits.binding+size/bindings+3)/4)
	if asked := len(w.asked) + len(w.active)*w.size; bindings < asked && !w.anyEnded() && !w.truncated {
		w.limits.answer = size + w.limits.binding // The agent stopped where its message was full.
	}
}

func (w *walk) anyEnded() bool {
	return slices.ContainsFunc(w.active, func(c *column) bool { return c.ended })
}

// missed deals with what the agent left out of an answer of n bindings. Leaving out is its right (RFC 3416, 4.2.3), but
// an answer without anything new is not.
func (w *walk) missed(n int) {
	for i, s := range w.asked {
		if s.ended {
			continue
		}
		if s.asked++; n == 0 && i == 0 || s.asked > 3 {
			s.fail("the agent leaves it out of its answers")
		}
	}
	if n == 0 && len(w.asked) == 0 {
		for _, c := range w.active {
			c.fail("the agent's answer is empty")
		}
	}
}

func (w *walk) takeScalar(s *scalar, b *binding) {
	s.ended = true
	if b.isException() || string(b.name) != string(s.spec.oid) {
		return // The agent has no such object.
	}
	s.set(0, b)
}

func (w *walk) takeValue(c *column, b *binding) {
	if c.ended {
		return
	}
	index, inside := b.name.under(c.spec.oid)
	if b.isException() || !inside {
		c.ended = true
		return
	}
	if !index.validIndex() {
		c.fail("a name in the agent's answer is no object identifier")
		return
	}
	if before := c.cursor[len(c.spec.oid):]; len(before) > 0 && compare(index, before) <= 0 {
		c.fail(fmt.Sprintf("object identifiers do not increase: %s follows %s", appendDotted(nil, index), appendDotted(nil, before)))
		w.truncated = true
		return
	}
	c.cursor = append(c.cursor[:0], b.name...)
	row := w.rows.find(index, c.guess)
	switch {
	case row >= 0:
	case w.fixed:
		return
	case w.rows.len() >= w.maxRows:
		c.ended, w.truncated = true, true
		return
	default:
		row = w.rows.add(index)
	}
	c.guess = row + 1
	c.set(row, b)
}
