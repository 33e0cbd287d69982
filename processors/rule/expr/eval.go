package expr

import (
	"errors"
	"math"
)

// State is what is known of one series of a result.
type State uint8

const (
	present State = 1 << iota // Prometheus would return it
	known                     // no missing data could change that
)

// The states of a series. True and Doubtful ones have a value.
const (
	// Missing: there is no data to judge by.
	Missing State = 0
	// Doubtful: Prometheus would return it, but only because other data is missing (a unless b, without data of b).
	Doubtful = present
	// False: there is data, and the condition does not hold.
	False = known
	True  = present | known
)

// Errors of an evaluation; Prometheus has the same. Nothing is known of any series then.
var (
	ErrSameLabels = errors.New("two series of the result have the same labels: select one metric, or keep them apart")
	ErrManyMatch  = errors.New("a series matches more than one on the other side: match on more labels")
)

// Result is what an evaluation found, by series of the result. It is valid until the Run is used again.
type Result struct {
	Values []float64
	States []State
}

// Run holds the scratch space of evaluations, which may be of many programs, one after the other.
type Run struct {
	t      int64
	err    error
	floats arena[float64]
	states arena[State]
	marks  arena[mark]
}

// Eval evaluates at t, in Unix milliseconds.
func (b *Bound) Eval(r *Run, t int64) (Result, error) {
	r.t, r.err = t, nil
	r.floats.used, r.states.used, r.marks.used = 0, 0, 0
	out := b.root.eval(r)
	return out, r.err
}

// arena hands out slices of one piece of memory, which grows to what an evaluation needs and stays.
type arena[T any] struct {
	mem  []T
	used int
}

func (a *arena[T]) take(n int) []T {
	if a.used+n > len(a.mem) {
		a.mem = make([]T, 2*(a.used+n)) // What was handed out before stays valid with whoever has it.
		a.used = 0
	}
	out := a.mem[a.used : a.used+n : a.used+n]
	a.used += n
	return out
}

func (r *Run) vector(n int) Result { return Result{r.floats.take(n), r.states.take(n)} }

// mark is what one side of a match looks like, by group.
type mark struct {
	index              int32 // of the present series, -1 if none
	sure, gap, negated bool  // a True one, a Missing one, a False one
	matched            bool
}

// group summarises the series of one side by their group. Two present ones in a group are an error if unique is set.
func (r *Run) group(in Result, of []int32, groups int, unique bool) []mark {
	marks := r.marks.take(groups)
	for g := range marks {
		marks[g] = mark{index: -1}
	}
	for i, s := range in.States {
		m := &marks[of[i]]
		switch s {
		case Missing:
			m.gap = true
		case False:
			m.negated = true
		default:
			if m.index >= 0 && unique {
				r.err = ErrManyMatch
			}
			m.index = int32(i)
			m.sure = m.sure || s == True
		}
	}
	return marks
}

// distinct holds a result to having no two series of the same labels.
func (r *Run) distinct(out Result, same [][]int32) Result {
	for _, group := range same {
		n := 0
		for _, i := range group {
			if out.States[i]&present != 0 {
				n++
			}
		}
		if n > 1 {
			r.err = ErrSameLabels
		}
	}
	return out
}

// scalar is a bound expression of one number; ok is false when data was missing for it.
type scalar interface {
	value(r *Run) (v float64, ok bool)
}

type number float64

func (n number) value(*Run) (float64, bool) { return float64(n), true }

type clock struct{}

func (clock) value(r *Run) (float64, bool) { return float64(r.t) / 1000, true }

type negative struct{ of scalar }

func (n negative) value(r *Run) (float64, bool) {
	v, ok := n.of.value(r)
	return -v, ok
}

type scalarPair struct {
	op   opItem
	l, r scalar
}

func (p scalarPair) value(r *Run) (float64, bool) {
	a, okA := p.l.value(r)
	b, okB := p.r.value(r)
	v, keep := opOf(p.op)(a, b)
	if p.op.IsComparisonOperator() {
		v = truth(keep)
	}
	return v, okA && okB
}

// only is the value of the one series of a vector, and no number when there is not exactly one.
type only struct{ of node }

func (o only) value(r *Run) (float64, bool) {
	in := o.of.eval(r)
	v, n, ok := math.NaN(), 0, true
	for i, s := range in.States {
		ok = ok && s&known != 0
		if s&present != 0 {
			v = in.Values[i]
			n++
		}
	}
	if n != 1 {
		v = math.NaN()
	}
	return v, ok && len(in.States) > 0
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
