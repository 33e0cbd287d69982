package snmp

import (
	"kemi.dev/kemi/bus/event"
)

// column collects the values of one object type while its table is walked.
type column struct {
	spec *columnSpec
	// cursor is the name of the newest value, before the first that of the column: the walk goes on behind it.
	cursor oid
	// guess is the row that the next value probably belongs to.
	guess int
	// ended says that the agent has no more, or that the column was given up; failed why, "" when it was not.
	ended  bool
	failed string
	// Of the three the one of the spec's kind grows with the rows.
	counters []uint64
	gauges   []float64
	texts    []string
	got      []bool
	count    int
	// unusable counts values that were there and not of the column's kind.
	unusable int
	// cut counts values of which only the beginning was kept.
	cut int
}

// columnSpec is a column as the profile wants it.
type columnSpec struct {
	name string
	oid  oid
	kind event.ColumnKind
	unit string
	// scale is multiplied with gauges and divide divides them: 203 hundredths are 2.03, which 203*0.01 is not. 0 is 1.
	scale, divide float64
	// enum names the values; they are read as numbers all the same.
	enum map[string]string
}

func newColumn(spec *columnSpec, expect int) *column {
	c := &column{spec: spec, cursor: append(make(oid, 0, len(spec.oid)+8), spec.oid...), got: make([]bool, 0, expect)}
	switch spec.kind {
	case event.Counter:
		c.counters = make([]uint64, 0, expect)
	case event.Gauge:
		c.gauges = make([]float64, 0, expect)
	default:
		c.texts = make([]string, 0, expect)
	}
	return c
}

// grow makes room for rows.
func (c *column) grow(rows int) {
	for len(c.got) < rows {
		c.got = append(c.got, false)
		switch c.spec.kind {
		case event.Counter:
			c.counters = append(c.counters, 0)
		case event.Gauge:
			c.gauges = append(c.gauges, 0)
		default:
			c.texts = append(c.texts, "")
		}
	}
}

// set keeps a value; one that is not of the column's kind is counted and is missing.
func (c *column) set(row int, b *binding) {
	c.grow(row + 1)
	ok := false
	switch c.spec.kind {
	case event.Counter:
		c.counters[row], ok = b.counter()
	case event.Gauge:
		switch c.gauges[row], ok = b.gauge(); {
		case ok && c.spec.divide != 0:
			c.gauges[row] /= c.spec.divide
		case ok && c.spec.scale != 0:
			c.gauges[row] *= c.spec.scale
		}
	default:
		if c.texts[row], ok = b.text(); b.long() {
			c.cut++
		}
	}
	switch {
	case !ok:
		c.clear(row)
		c.unusable++
	case !c.got[row]:
		c.got[row] = true
		c.count++
	}
}

func (c *column) clear(row int) {
	switch c.spec.kind {
	case event.Counter:
		c.counters[row] = 0
	case event.Gauge:
		c.gauges[row] = 0
	default:
		c.texts[row] = ""
	}
}

// fail gives the column up.
func (c *column) fail(why string) { c.ended, c.failed = true, why }

// event turns the column into that of a Reading with that many rows.
func (c *column) event(rows int) event.Column {
	c.grow(rows)
	out := event.Column{
		Name: c.spec.name, Kind: c.spec.kind, Unit: c.spec.unit,
		Counters: c.counters, Gauges: c.gauges, Texts: c.texts,
	}
	if c.count < rows {
		out.Missing = make([]uint32, 0, rows-c.count)
		for i, got := range c.got {
			if !got {
				out.Missing = append(out.Missing, uint32(i))
			}
		}
	}
	return out
}

// pick brings the values into an order of rows.
func (c *column) pick(rows int, order []int) {
	c.grow(rows)
	picked := newColumn(c.spec, len(order))
	picked.grow(len(order))
	for to, from := range order {
		if !c.got[from] {
			continue
		}
		picked.got[to] = true
		picked.count++
		switch c.spec.kind {
		case event.Counter:
			picked.counters[to] = c.counters[from]
		case event.Gauge:
			picked.gauges[to] = c.gauges[from]
		default:
			picked.texts[to] = c.texts[from]
		}
	}
	c.got, c.count = picked.got, picked.count
	c.counters, c.gauges, c.texts = picked.counters, picked.gauges, picked.texts
}
