package expr

import (
	"slices"

	"github.com/prometheus/prometheus/model/labels"
)

// pairNode is an arithmetic or comparing operation of one series with one other. lg and rg sort the series of both
// sides into groups; those of one group meet.
type pairNode struct {
	l, r    node
	lg, rg  []int32
	groups  int
	op      op
	compare bool
	boolean bool
	named   bool
	on      bool
	names   []string
	same    [][]int32
}

func (n *pairNode) size() int                  { return len(n.lg) }
func (n *pairNode) labels(i int) labels.Labels { return n.result(n.l.labels(i)) }

// result gives the labels of a pair from those of its left side.
func (n *pairNode) result(left labels.Labels) labels.Labels {
	b := labels.NewBuilder(left)
	if !n.named {
		left = withoutName(left)
		b.Reset(left)
	}
	if n.on {
		b.Keep(n.names...)
	} else {
		b.Del(n.names...)
	}
	return b.Labels()
}

func (n *pairNode) eval(r *Run) Result {
	left, right := n.l.eval(r), n.r.eval(r)
	met := r.err
	marks := r.group(right, n.rg, n.groups, true)
	if !slices.ContainsFunc(left.States, isPresent) {
		r.err = met // With an empty side nothing is matched, so nothing is matched twice.
	}
	out := left
	for i, s := range left.States {
		if s&present == 0 {
			continue
		}
		m := &marks[n.lg[i]]
		if m.index < 0 {
			out.States[i] = False
			if m.gap || !m.negated {
				out.States[i] = Missing
			}
			continue
		}
		if m.matched {
			r.err = ErrManyMatch
		}
		m.matched = true
		v, keep := n.op(left.Values[i], right.Values[m.index])
		out.States[i] = s & right.States[m.index]
		switch {
		case n.boolean:
			v = truth(keep)
		case n.compare && !keep:
			out.States[i] = False
		}
		out.Values[i] = v
	}
	return r.distinct(out, n.same)
}

func isPresent(s State) bool { return s&present != 0 }

type setKind uint8

const (
	setAnd setKind = iota
	setUnless
	setOr
)

// setNode is and, unless, or.
type setNode struct {
	l, r   node
	lg, rg []int32
	groups int
	kind   setKind
}

func (n *setNode) size() int {
	if n.kind == setOr {
		return len(n.lg) + len(n.rg)
	}
	return len(n.lg)
}

func (n *setNode) labels(i int) labels.Labels {
	if i < len(n.lg) {
		return n.l.labels(i)
	}
	return n.r.labels(i - len(n.lg))
}

func (n *setNode) eval(r *Run) Result {
	left, right := n.l.eval(r), n.r.eval(r)
	if n.kind == setOr {
		return n.or(r, left, right)
	}
	marks := r.group(right, n.rg, n.groups, false)
	for i, s := range left.States {
		if s&present == 0 {
			continue
		}
		m := &marks[n.lg[i]]
		if n.kind == setAnd {
			switch {
			case m.index >= 0 && m.sure:
			case m.index >= 0:
				left.States[i] = Doubtful
			case m.gap || !m.negated:
				left.States[i] = Missing
			default:
				left.States[i] = False
			}
			continue
		}
		switch {
		case m.sure:
			left.States[i] = False
		case m.index >= 0:
			left.States[i] = Missing
		case m.gap:
			left.States[i] = Doubtful
		}
	}
	return left
}

// or is the left side, and of the right side what has no match there.
func (n *setNode) or(r *Run, left, right Result) Result {
	marks := r.group(left, n.lg, n.groups, false)
	out := r.vector(n.size())
	copy(out.Values, left.Values)
	copy(out.States, left.States)
	for i, s := range right.States {
		k := len(n.lg) + i
		out.Values[k], out.States[k] = right.Values[i], s
		if m := &marks[n.rg[i]]; m.sure {
			out.States[k] = False
		} else if m.index >= 0 {
			out.States[k] = Missing
		}
	}
	return out
}
