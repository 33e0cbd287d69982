package expr

import "github.com/prometheus/prometheus/promql/parser"

// maxThreshold is how long a threshold is that is still worth showing, in bytes.
const maxThreshold = 100

// Threshold is the level that the program's value is compared with, as people write it: "> 0.9". It is empty when there is
// none: what is only equal, missing or joined from several conditions has no level.
func (p *Program) Threshold() string {
	b, compares := bare(p.root).(*parser.BinaryExpr)
	for compares && (b.Op == parser.LAND || b.Op == parser.LUNLESS) { // The value is that of the left side.
		b, compares = bare(b.LHS).(*parser.BinaryExpr)
	}
	if !compares || b.ReturnBool {
		return ""
	}
	op, level := b.Op.String(), b.RHS
	if bare(b.LHS).Type() == parser.ValueTypeScalar { // 5 < x
		flipped := map[parser.ItemType]string{parser.GTR: "<", parser.GTE: "<=", parser.LSS: ">", parser.LTE: ">="}
		op, level = flipped[b.Op], b.LHS
	}
	switch b.Op {
	case parser.GTR, parser.GTE, parser.LSS, parser.LTE:
	default:
		return ""
	}
	if s := op + " " + bare(level).String(); len(s) <= maxThreshold {
		return s
	}
	return ""
}
