package expr

import (
	"math"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// node is a bound expression of many series. Which series they are never changes; whether they are present does.
type node interface {
	size() int
	eval(r *Run) Result
	labels(i int) labels.Labels
}

// selectNode is an instant selector.
type selectNode struct{ series []*Series }

func (n *selectNode) size() int                  { return len(n.series) }
func (n *selectNode) labels(i int) labels.Labels { return n.series[i].Labels }
func (n *selectNode) eval(r *Run) Result {
	out := r.vector(len(n.series))
	for i, s := range n.series {
		out.States[i] = Missing
		if v, ok := s.now(r.t); ok {
			out.Values[i], out.States[i] = v, True
		}
	}
	return out
}

// windowNode is a function of a range selector.
type windowNode struct {
	series []*Series
	reach  int64
	fn     rangeFunc
	arg    scalar // or nil
	named  bool
	same   [][]int32
}

func (n *windowNode) size() int { return len(n.series) }
func (n *windowNode) labels(i int) labels.Labels {
	if n.named {
		return n.series[i].Labels
	}
	return withoutName(n.series[i].Labels)
}

func (n *windowNode) eval(r *Run) Result {
	arg, sure := 0.0, known
	if n.arg != nil {
		v, ok := n.arg.value(r)
		if arg = v; !ok {
			sure = 0
		}
	}
	out := r.vector(len(n.series))
	for i, s := range n.series {
		out.States[i] = Missing
		if v, ok := n.fn(s.window.since(r.t-n.reach), r.t, n.reach, arg); ok {
			out.Values[i], out.States[i] = v, present|sure
		}
	}
	return r.distinct(out, n.same)
}

// mapNode is a function of each value by itself.
type mapNode struct {
	in   node
	fn   func(float64) float64
	same [][]int32
}

func (n *mapNode) size() int                  { return n.in.size() }
func (n *mapNode) labels(i int) labels.Labels { return withoutName(n.in.labels(i)) }
func (n *mapNode) eval(r *Run) Result {
	out := n.in.eval(r)
	for i, s := range out.States {
		if s&present != 0 {
			out.Values[i] = n.fn(out.Values[i])
		}
	}
	return r.distinct(out, n.same)
}

// roundNode rounds to the nearest multiple; ties go up.
type roundNode struct {
	in   node
	to   scalar
	same [][]int32
}

func (n *roundNode) size() int                  { return n.in.size() }
func (n *roundNode) labels(i int) labels.Labels { return withoutName(n.in.labels(i)) }
func (n *roundNode) eval(r *Run) Result {
	to, ok := n.to.value(r)
	out := n.in.eval(r)
	inverse := 1 / to
	for i, s := range out.States {
		if s&present != 0 {
			out.Values[i] = math.Floor(out.Values[i]*inverse+0.5) / inverse
		}
	}
	return r.distinct(doubt(out, ok), n.same)
}

// doubt takes the certainty from a result for which some number was missing.
func doubt(out Result, ok bool) Result {
	if !ok {
		for i, s := range out.States {
			if s&present != 0 {
				out.States[i] = Doubtful
			}
		}
	}
	return out
}

// clampNode holds values between two bounds; with bounds the wrong way round nothing is left.
type clampNode struct {
	in              node
	lowest, highest scalar
	same            [][]int32
}

func (n *clampNode) size() int                  { return n.in.size() }
func (n *clampNode) labels(i int) labels.Labels { return withoutName(n.in.labels(i)) }
func (n *clampNode) eval(r *Run) Result {
	lo, okLo := n.lowest.value(r)
	hi, okHi := n.highest.value(r)
	out := n.in.eval(r)
	for i, s := range out.States {
		switch {
		case s&present == 0:
		case hi < lo && okLo && okHi:
			out.States[i] = False
		case hi < lo:
			out.States[i] = Missing
		default:
			out.Values[i] = math.Max(lo, math.Min(hi, out.Values[i]))
		}
	}
	return r.distinct(doubt(out, okLo && okHi), n.same)
}

// alone is vector(): one series without labels.
type alone struct{ of scalar }

func (n *alone) size() int                { return 1 }
func (n *alone) labels(int) labels.Labels { return labels.EmptyLabels() }
func (n *alone) eval(r *Run) Result {
	v, ok := n.of.value(r)
	out := r.vector(1)
	out.Values[0], out.States[0] = v, True
	return doubt(out, ok)
}

// scaleNode is a binary operation of each series with one number.
type scaleNode struct {
	in      node
	with    scalar
	op      op
	compare bool
	boolean bool
	swapped bool // the number stands on the left
	named   bool
	same    [][]int32
}

func (n *scaleNode) size() int { return n.in.size() }
func (n *scaleNode) labels(i int) labels.Labels {
	if n.named {
		return n.in.labels(i)
	}
	return withoutName(n.in.labels(i))
}

func (n *scaleNode) eval(r *Run) Result {
	with, ok := n.with.value(r)
	out := n.in.eval(r)
	for i, s := range out.States {
		if s&present == 0 {
			continue
		}
		a, b := out.Values[i], with
		if n.swapped {
			a, b = b, a
		}
		v, keep := n.op(a, b)
		switch {
		case n.boolean:
			out.Values[i] = truth(keep)
		case n.compare && !keep && ok:
			out.States[i] = False
		case n.compare && !keep:
			out.States[i] = Missing
		case !n.compare: // A comparison leaves the series' value, on whichever side it stands.
			out.Values[i] = v
		}
	}
	return r.distinct(doubt(out, ok), n.same)
}

// op computes a binary operation; of a comparison keep is its outcome and v its left side.
type op func(a, b float64) (v float64, keep bool)

type opItem = parser.ItemType

func opOf(item opItem) op {
	switch item {
	case parser.ADD:
		return func(a, b float64) (float64, bool) { return a + b, true }
	case parser.SUB:
		return func(a, b float64) (float64, bool) { return a - b, true }
	case parser.MUL:
		return func(a, b float64) (float64, bool) { return a * b, true }
	case parser.DIV:
		return func(a, b float64) (float64, bool) { return a / b, true }
	case parser.MOD:
		return func(a, b float64) (float64, bool) { return math.Mod(a, b), true }
	case parser.POW:
		return func(a, b float64) (float64, bool) { return math.Pow(a, b), true }
	case parser.ATAN2:
		return func(a, b float64) (float64, bool) { return math.Atan2(a, b), true }
	case parser.EQLC:
		return func(a, b float64) (float64, bool) { return a, a == b }
	case parser.NEQ:
		return func(a, b float64) (float64, bool) { return a, a != b }
	case parser.GTR:
		return func(a, b float64) (float64, bool) { return a, a > b }
	case parser.GTE:
		return func(a, b float64) (float64, bool) { return a, a >= b }
	case parser.LSS:
		return func(a, b float64) (float64, bool) { return a, a < b }
	case parser.LTE:
		return func(a, b float64) (float64, bool) { return a, a <= b }
	}
	panic("expr: the operator " + item.String() + " was not refused")
}
