package expr

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/parser/posrange"
)

// Problem says why an expression cannot be used. Offset is the place in its text, in bytes.
type Problem struct {
	Offset   int
	What, Do string
}

// Program is a parsed expression. It is immutable and may be shared.
type Program struct {
	root      parser.Expr
	selectors []Selector
	index     map[*parser.VectorSelector]int
	ranges    map[*parser.Call]rangeFunc
	maps      map[*parser.Call]func(float64) float64
}

// Selector is one selector of a program. Reach is how far back its window goes; 0 for an instant selector.
type Selector struct {
	Name     string // the metric's name when it is fixed, else empty
	Matchers []*labels.Matcher
	Reach    time.Duration
}

// Matches reports whether the selector selects a series.
func (s *Selector) Matches(ls labels.Labels) bool {
	for _, m := range s.Matchers {
		if !m.Matches(ls.Get(m.Name)) {
			return false
		}
	}
	return true
}

// Selectors lists the program's selectors; the index is what Bind asks for. The slice is not to be changed.
func (p *Program) Selectors() []Selector { return p.selectors }

// Reach is the longest reach of the program's windows.
func (p *Program) Reach() time.Duration {
	var longest time.Duration
	for i := range p.selectors {
		longest = max(longest, p.selectors[i].Reach)
	}
	return longest
}

// MaxReach bounds the windows, which are kept in memory.
const MaxReach = time.Hour

// Parse reads an expression. Either the program is nil or there are no problems.
func Parse(text string) (*Program, []Problem) {
	root, err := parser.NewParser(parser.Options{}).ParseExpr(text)
	if err != nil {
		return nil, parseProblems(err, text)
	}
	c := &checker{
		p: &Program{
			root: root, index: map[*parser.VectorSelector]int{},
			ranges: map[*parser.Call]rangeFunc{}, maps: map[*parser.Call]func(float64) float64{},
		},
		ranges: rangeFuncs(), maps: mapFuncs(),
	}
	c.check(root)
	if len(c.problems) == 0 {
		switch {
		case root.Type() == parser.ValueTypeString:
			c.refuse(root, "the expression is text", "compare a series with a number, like up == 0")
		case root.Type() == parser.ValueTypeMatrix:
			c.refuse(root, "the expression gives a range of samples, not one for each series", "put it into a function, like rate(ifHCInOctets[5m]) > 0")
		case len(c.p.selectors) == 0:
			c.refuse(root, "the expression selects no series", "compare a series with a number, like up == 0")
		case root.Type() == parser.ValueTypeScalar:
			c.refuse(root, "the expression gives one number and no series", "compare a series with it, like up == 0")
		}
	}
	if len(c.problems) > 0 {
		slices.SortStableFunc(c.problems, func(a, b Problem) int { return cmp.Compare(a.Offset, b.Offset) })
		return nil, c.problems
	}
	return c.p, nil
}

func parseProblems(err error, text string) []Problem {
	var list parser.ParseErrors
	if !errors.As(err, &list) {
		return []Problem{{What: "the expression cannot be parsed (" + err.Error() + ")", Do: "correct the PromQL"}}
	}
	out := make([]Problem, 0, len(list))
	for _, one := range list {
		at := max(0, min(int(one.PositionRange.Start), len(text)))
		out = append(out, Problem{Offset: at, What: "the expression is no PromQL (" + one.Err.Error() + ")", Do: "correct it here"})
	}
	return out
}

// checker refuses what cannot be evaluated in the stream and collects what can.
type checker struct {
	p        *Program
	ranges   map[string]rangeFunc
	maps     map[string]func(float64) float64
	problems []Problem
}

func (c *checker) refuse(n interface {
	PositionRange() posrange.PositionRange
}, what, do string,
) {
	c.problems = append(c.problems, Problem{Offset: max(0, int(n.PositionRange().Start)), What: what, Do: do})
}

const elsewhere = "let Prometheus evaluate this rule on Kemi's series"

func (c *checker) check(e parser.Expr) {
	switch e := e.(type) {
	case *parser.NumberLiteral, *parser.StringLiteral:
	case *parser.ParenExpr:
		c.check(e.Expr)
	case *parser.UnaryExpr:
		c.check(e.Expr)
	case *parser.VectorSelector:
		c.selector(e, 0)
	case *parser.MatrixSelector:
		c.matrix(e)
	case *parser.BinaryExpr:
		c.binary(e)
	case *parser.Call:
		c.call(e)
	case *parser.AggregateExpr:
		c.refuse(e, fmt.Sprintf("%s aggregates many series, which rules cannot do yet", e.Op), "write the condition for each series by itself, or "+elsewhere)
	case *parser.SubqueryExpr:
		c.refuse(e, "subqueries are not supported yet", "use a range function on a selector, like max_over_time(up[5m]), or "+elsewhere)
	default:
		c.refuse(e, fmt.Sprintf("%T is not supported", e), elsewhere)
	}
}

func (c *checker) selector(e *parser.VectorSelector, reach time.Duration) {
	switch {
	case e.OriginalOffset != 0 || e.OriginalOffsetExpr != nil:
		c.refuse(e, "offset is not supported yet", "remove it, or "+elsewhere)
	case e.Timestamp != nil || e.StartOrEnd != 0:
		c.refuse(e, "the @ modifier is not supported", "remove it, or "+elsewhere)
	case e.Anchored || e.Smoothed:
		c.refuse(e, "anchored and smoothed selectors are not supported", "remove the modifier, or "+elsewhere)
	default:
		s := Selector{Matchers: e.LabelMatchers, Reach: reach}
		for _, m := range e.LabelMatchers {
			if m.Name == model.MetricNameLabel && m.Type == labels.MatchEqual {
				s.Name = m.Value
			}
		}
		c.p.index[e] = len(c.p.selectors)
		c.p.selectors = append(c.p.selectors, s)
	}
}

func (c *checker) matrix(e *parser.MatrixSelector) {
	vs, ok := e.VectorSelector.(*parser.VectorSelector)
	switch {
	case !ok || e.RangeExpr != nil:
		c.refuse(e, "this range is not supported", "write a selector with a plain duration, like up[5m]")
	case e.Range > MaxReach:
		c.refuse(e, "the range is longer than 1h, the longest that is kept in memory", "shorten it, or "+elsewhere)
	default:
		c.selector(vs, e.Range)
	}
}

func (c *checker) binary(e *parser.BinaryExpr) {
	if m := e.VectorMatching; m != nil {
		switch {
		case m.Card == parser.CardManyToOne || m.Card == parser.CardOneToMany:
			side := map[parser.VectorMatchCardinality]string{parser.CardManyToOne: "group_left", parser.CardOneToMany: "group_right"}[m.Card]
			c.refuse(e, side+" is not supported yet", "match one series with one, with on(…) or ignoring(…), or "+elsewhere)
		case m.FillValues.LHS != nil || m.FillValues.RHS != nil:
			c.refuse(e, "fill modifiers are not supported", "remove them, or "+elsewhere)
		}
	}
	if e.Op == parser.TRIM_LOWER || e.Op == parser.TRIM_UPPER {
		c.refuse(e, "histograms are not supported", elsewhere)
	}
	c.check(e.LHS)
	c.check(e.RHS)
}

func (c *checker) call(e *parser.Call) {
	name := e.Func.Name
	if fn, ok := c.ranges[name]; ok {
		c.p.ranges[e] = fn
	} else if fn, ok := c.maps[name]; ok {
		c.p.maps[e] = fn
	} else {
		switch {
		case slices.Contains(plainFuncs(), name):
		case name == "absent" || name == "absent_over_time":
			c.refuse(e, name+" is not supported: missing data is unknown and never fires", "use up == 0 to see a target that does not answer")
			return
		case strings.HasPrefix(name, "histogram_"):
			c.refuse(e, name+" is not supported: readings have no histograms", elsewhere)
			return
		default:
			c.refuse(e, "the function "+name+" is not supported yet", elsewhere)
			return
		}
	}
	for _, a := range e.Args {
		c.check(a)
	}
}

// plainFuncs are the functions with code of their own.
func plainFuncs() []string {
	return []string{"round", "clamp", "clamp_min", "clamp_max", "time", "scalar", "vector"}
}
