package expr

import (
	"fmt"
	"math"
	"slices"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/schema"
)

// Bound is a program tied to the series of one target: which series meets which is decided once, not at every
// evaluation. It holds no values.
type Bound struct{ root node }

// Bind ties the program to series: selected[i] are those that Selectors()[i] selects.
func (p *Program) Bind(selected [][]*Series) *Bound {
	b := binder{p: p, selected: selected}
	return &Bound{root: b.vector(p.root).node}
}

// Len is how many series the result can have.
func (b *Bound) Len() int { return b.root.size() }

// Labels of the i-th series of the result, as Prometheus has them; the metric's name may be among them.
func (b *Bound) Labels(i int) labels.Labels { return b.root.labels(i) }

// binder is the state of one Bind.
type binder struct {
	p        *Program
	selected [][]*Series
}

// operand is a bound vector expression together with what only binding needs to know of it.
type operand struct {
	node
	ls []labels.Labels
	// mixed: its series may be of several metrics, so that dropping the name may make two of them equal.
	mixed bool
}

func (b *binder) vector(e parser.Expr) operand {
	switch e := e.(type) {
	case *parser.ParenExpr:
		return b.vector(e.Expr)
	case *parser.VectorSelector:
		return b.selector(e)
	case *parser.UnaryExpr:
		in := b.vector(e.Expr)
		if e.Op != parser.SUB {
			return in
		}
		return unnamed(in, func(in operand, same [][]int32) node {
			return &mapNode{in: in.node, same: same, fn: func(v float64) float64 { return -v }}
		})
	case *parser.BinaryExpr:
		return b.binary(e)
	case *parser.Call:
		return b.call(e)
	default:
		panic(fmt.Sprintf("expr: %T was not refused", e))
	}
}

func (b *binder) selector(e *parser.VectorSelector) operand {
	i := b.p.index[e]
	n := &selectNode{series: b.selected[i]}
	return operand{node: n, ls: labelsOf(n.series), mixed: b.p.selectors[i].Name == ""}
}

func labelsOf(series []*Series) []labels.Labels {
	ls := make([]labels.Labels, len(series))
	for i, s := range series {
		ls[i] = s.Labels
	}
	return ls
}

// unnamed makes a node whose result has lost the metric's name. make is told which series became equal by that.
func unnamed(in operand, make func(operand, [][]int32) node) operand {
	ls := slices.Clone(in.ls)
	for i := range ls {
		ls[i] = withoutName(ls[i])
	}
	var same [][]int32
	if in.mixed {
		same = equals(ls)
	}
	return operand{node: make(in, same), ls: ls}
}

func withoutName(ls labels.Labels) labels.Labels { return ls.DropReserved(schema.IsMetadataLabel) }

// equals groups the indexes of equal labels; those that are like no other are left out.
func equals(ls []labels.Labels) [][]int32 {
	byHash := map[uint64][]int32{}
	for i := range ls {
		h := ls[i].Hash()
		byHash[h] = append(byHash[h], int32(i))
	}
	var out [][]int32
	for i := range ls { // In the order of the series, so that results do not depend on a map's.
		if g := byHash[ls[i].Hash()]; len(g) > 1 && g[0] == int32(i) {
			out = append(out, g)
		}
	}
	return out
}

func (b *binder) scalar(e parser.Expr) scalar {
	switch e := e.(type) {
	case *parser.NumberLiteral:
		return number(e.Val)
	case *parser.ParenExpr:
		return b.scalar(e.Expr)
	case *parser.UnaryExpr:
		if e.Op == parser.SUB {
			return negative{b.scalar(e.Expr)}
		}
		return b.scalar(e.Expr)
	case *parser.BinaryExpr:
		return scalarPair{e.Op, b.scalar(e.LHS), b.scalar(e.RHS)}
	case *parser.Call:
		switch e.Func.Name {
		case "time":
			return clock{}
		case "scalar":
			return only{b.vector(e.Args[0]).node}
		}
	}
	panic(fmt.Sprintf("expr: %s was not refused", e))
}

func (b *binder) call(e *parser.Call) operand {
	if fn, ok := b.p.ranges[e]; ok {
		return b.window(e, fn)
	}
	if fn, ok := b.p.maps[e]; ok {
		return unnamed(b.vector(e.Args[0]), func(in operand, same [][]int32) node {
			return &mapNode{in: in.node, same: same, fn: fn}
		})
	}
	arg := func(i int, otherwise float64) scalar {
		if i < len(e.Args) {
			return b.scalar(e.Args[i])
		}
		return number(otherwise)
	}
	switch e.Func.Name {
	case "vector":
		return operand{node: &alone{arg(0, 0)}, ls: []labels.Labels{{}}}
	case "round":
		to := arg(1, 1)
		return unnamed(b.vector(e.Args[0]), func(in operand, same [][]int32) node { return &roundNode{in: in.node, same: same, to: to} })
	case "clamp":
		return b.clamp(e, arg(1, 0), arg(2, 0))
	case "clamp_min":
		return b.clamp(e, arg(1, 0), number(math.Inf(1)))
	case "clamp_max":
		return b.clamp(e, number(math.Inf(-1)), arg(1, 0))
	}
	panic("expr: " + e.Func.Name + " was not refused")
}

func (b *binder) clamp(e *parser.Call, lowest, highest scalar) operand {
	return unnamed(b.vector(e.Args[0]), func(in operand, same [][]int32) node {
		return &clampNode{in: in.node, same: same, lowest: lowest, highest: highest}
	})
}

// bare takes the parentheses off.
func bare(e parser.Expr) parser.Expr {
	for {
		p, ok := e.(*parser.ParenExpr)
		if !ok {
			return e
		}
		e = p.Expr
	}
}

// window binds a function over windows. The one matrix argument may stand anywhere among scalars.
func (b *binder) window(e *parser.Call, fn rangeFunc) operand {
	n := &windowNode{fn: fn, named: e.Func.Name == "last_over_time"}
	in := operand{}
	for _, a := range e.Args {
		if m, ok := bare(a).(*parser.MatrixSelector); ok {
			in = b.selector(m.VectorSelector.(*parser.VectorSelector))
			n.reach = m.Range.Milliseconds()
		} else {
			n.arg = b.scalar(a)
		}
	}
	n.series = in.node.(*selectNode).series
	if n.named {
		in.node = n
		return in
	}
	return unnamed(in, func(_ operand, same [][]int32) node {
		n.same = same
		return n
	})
}

func (b *binder) binary(e *parser.BinaryExpr) operand {
	named := e.Op.IsComparisonOperator() && !e.ReturnBool
	lv, rv := e.LHS.Type() == parser.ValueTypeVector, e.RHS.Type() == parser.ValueTypeVector
	switch {
	case lv && rv && e.Op.IsSetOperator():
		return b.set(e)
	case lv && rv:
		return b.pairs(e, named)
	}
	in, other, swapped := e.LHS, e.RHS, false
	if rv {
		in, other, swapped = e.RHS, e.LHS, true
	}
	with := b.scalar(other)
	vec := b.vector(in)
	build := func(in operand, same [][]int32) node {
		return &scaleNode{in: in.node, with: with, op: opOf(e.Op), compare: e.Op.IsComparisonOperator(), boolean: e.ReturnBool, swapped: swapped, named: named, same: same}
	}
	if named {
		vec.node = build(vec, nil)
		return vec
	}
	return unnamed(vec, build)
}

// matching sorts the series of both sides into groups that meet.
func matching(m *parser.VectorMatching, l, r []labels.Labels) (lg, rg []int32, groups int) {
	names := slices.Clone(m.MatchingLabels)
	if !m.On {
		names = append(names, model.MetricNameLabel)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	ids := map[string]int32{}
	var buf []byte
	sort := func(ls []labels.Labels) []int32 {
		out := make([]int32, len(ls))
		for i := range ls {
			if m.On {
				buf = ls[i].BytesWithLabels(buf, names...)
			} else {
				buf = ls[i].BytesWithoutLabels(buf, names...)
			}
			id, ok := ids[string(buf)]
			if !ok {
				id = int32(len(ids))
				ids[string(buf)] = id
			}
			out[i] = id
		}
		return out
	}
	return sort(l), sort(r), len(ids)
}

func (b *binder) set(e *parser.BinaryExpr) operand {
	l, r := b.vector(e.LHS), b.vector(e.RHS)
	n := &setNode{l: l.node, r: r.node}
	n.lg, n.rg, n.groups = matching(e.VectorMatching, l.ls, r.ls)
	switch e.Op {
	case parser.LAND:
		n.kind = setAnd
	case parser.LUNLESS:
		n.kind = setUnless
	default:
		n.kind = setOr
		return operand{node: n, ls: slices.Concat(l.ls, r.ls), mixed: true}
	}
	return operand{node: n, ls: l.ls, mixed: l.mixed}
}

func (b *binder) pairs(e *parser.BinaryExpr, named bool) operand {
	l, r := b.vector(e.LHS), b.vector(e.RHS)
	n := &pairNode{l: l.node, r: r.node, op: opOf(e.Op), compare: e.Op.IsComparisonOperator(), boolean: e.ReturnBool, named: named}
	n.lg, n.rg, n.groups = matching(e.VectorMatching, l.ls, r.ls)
	n.on, n.names = e.VectorMatching.On, e.VectorMatching.MatchingLabels
	ls := make([]labels.Labels, len(l.ls))
	for i := range ls {
		ls[i] = n.result(l.ls[i])
	}
	if l.mixed { // Pairs that were told apart by the name they lose.
		n.same = equals(ls)
	}
	return operand{node: n, ls: ls, mixed: l.mixed && named}
}
