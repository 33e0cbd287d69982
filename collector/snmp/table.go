package snmp

import (
	"context"
	"fmt"

	"kemi.dev/kemi/bus/event"
)

// table is one table of a poll.
type table struct {
	plan   *tablePlan
	rows   rows
	event  event.Table
	values []*column
}

// table walks the i-th table of the plan, and scalars along with its first request.
func (s *session) table(ctx context.Context, i int, scalars []*scalar) *table {
	known := &s.m.tables[i]
	t := &table{plan: &s.plan.tables[i]}
	expect := known.rows.len()
	for k := range t.plan.columns {
		t.values = append(t.values, newColumn(&t.plan.columns[k], expect+1))
	}
	t.rows.arena = make([]byte, 0, len(known.rows.arena)+8)
	t.rows.ends = make([]uint32, 0, expect+1)
	w := &walk{rows: &t.rows, maxRows: t.plan.maxRows, expect: expect}

	// Labels hardly ever change: they are read again when the rows have changed, and now and then.
	stale := s.fresh || known.labels == nil || s.now.Sub(known.read) > labelsFor
	columns := t.values
	var labels []*column
	if stale {
		labels = t.labelColumns()
		columns = append(columns[:len(columns):len(columns)], labels...)
	}
	whole := s.walk(ctx, w, scalars, columns)
	t.settle(labels)
	if whole && !stale && (s.restarts || !t.rows.same(&known.rows)) {
		labels = t.labelColumns()
		whole = s.walk(ctx, &walk{rows: &t.rows, maxRows: t.plan.maxRows, expect: t.rows.len(), fixed: true}, nil, labels)
		t.align(labels)
		stale = true
	}
	t.event = event.Table{Name: t.plan.name, Rows: t.rows.len(), Truncated: w.truncated, Columns: make([]event.Column, 0, len(t.values))}
	switch {
	case !stale && t.rows.same(&known.rows):
		t.event.Index = known.labels
	case !stale:
		t.event.Index = t.relabel(known)
	default:
		t.event.Index = s.index(ctx, t, labels, whole)
		for _, c := range labels {
			s.note(t.plan.name, c)
		}
		known.labels = nil
		if whole && !w.truncated {
			known.labels, known.read = t.event.Index, s.now
		}
	}
	if !w.truncated || known.rows.len() == 0 {
		if !t.rows.same(&known.rows) {
			known.rows = t.rows.clone()
		}
	} else {
		known.labels = nil
	}
	for _, c := range t.values {
		s.note(t.plan.name, c)
		if c.count > 0 {
			t.event.Columns = append(t.event.Columns, c.event(t.event.Rows))
		}
	}
	if w.truncated && s.lost == nil && t.rows.len() >= t.plan.maxRows {
		s.faults = append(s.faults, fault{why: fmt.Sprintf("%s has more than %d rows", t.plan.name, t.plan.maxRows)})
	}
	return t
}

// relabel labels the rows of a table that was cut short with what is known of them.
func (t *table) relabel(known *tableMemory) []event.IndexColumn {
	n := t.rows.len()
	out := make([]event.IndexColumn, len(known.labels))
	for k := range out {
		out[k] = event.IndexColumn{Name: known.labels[k].Name, Values: make([]string, n)}
	}
	for i := range n {
		at := known.rows.find(t.rows.index(i), i)
		for k := range out {
			switch {
			case at >= 0:
				out[k].Values[i] = known.labels[k].Values[at]
			case !t.plan.labels[k].optional:
				out[k].Values[i] = string(appendDotted(nil, t.rows.index(i)))
			}
		}
	}
	return out
}

// labelColumns are the columns of text that label the rows.
func (t *table) labelColumns() (labels []*column) {
	for k := range t.plan.labels {
		if l := &t.plan.labels[k]; l.column != nil {
			labels = append(labels, newColumn(l.column, t.rows.len()+1))
		}
	}
	return labels
}

// settle brings the rows into the order of their indexes and drops those without a value.
func (t *table) settle(labels []*column) {
	order := t.rows.order(func(row int) bool {
		for _, c := range t.values {
			if row < len(c.got) && c.got[row] {
				return true
			}
		}
		return false
	})
	if order == nil {
		return
	}
	n := t.rows.len()
	for _, c := range t.values {
		c.pick(n, order)
	}
	for _, c := range labels {
		c.pick(n, order)
	}
	t.rows.pick(order)
}

// align gives columns that were walked without adding rows as many cells as there are rows.
func (t *table) align(columns []*column) {
	for _, c := range columns {
		c.grow(t.rows.len())
	}
}

// index makes the labels of the rows.
func (s *session) index(ctx context.Context, t *table, labels []*column, whole bool) []event.IndexColumn {
	n := t.rows.len()
	out := make([]event.IndexColumn, 0, len(t.plan.labels))
	indexes := make([]string, n)
	for i := range n {
		indexes[i] = string(appendDotted(nil, t.rows.index(i)))
	}
	t.align(labels)
	at := 0
	for k := range t.plan.labels {
		l := &t.plan.labels[k]
		if l.column == nil {
			out = append(out, event.IndexColumn{Name: l.name, Values: indexes})
			continue
		}
		values := labels[at].texts[:n:n]
		at++
		if l.instead != nil && whole && anyEmpty(values) {
			instead := newColumn(l.instead, n)
			s.walk(ctx, &walk{rows: &t.rows, maxRows: t.plan.maxRows, expect: n, fixed: true}, nil, []*column{instead})
			instead.grow(n)
			for i := range values {
				if values[i] == "" {
					values[i] = instead.texts[i]
				}
			}
		}
		if !l.optional {
			for i := range values {
				if values[i] == "" {
					values[i] = indexes[i]
				}
			}
		}
		out = append(out, event.IndexColumn{Name: l.name, Values: values})
	}
	return out
}

func anyEmpty(values []string) bool {
	for _, v := range values {
		if v == "" {
			return true
		}
	}
	return false
}
