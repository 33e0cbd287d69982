package sample

import (
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"kemi.dev/kemi/bus/event"
)

// layout is what is remembered of one check: the shape of its last reading that carried tables, and its series.
type layout struct {
	target       event.Labels
	tables       []tableLayout
	up, duration *Series

	last     []*Series     // the series of the newest reading
	newest   int64         // time of the newest reading, Unix milliseconds
	valuesAt int64         // time of the newest reading with values
	seenAt   int64         // like newest, for Sweep
	interval time.Duration // of the check
}

type tableLayout struct {
	name    string
	index   []event.IndexColumn
	columns []columnLayout
	rows    int
	// cells has the series of each row of each numeric column, by column; nil where no value was seen yet.
	cells []*Series
}

type columnLayout struct {
	name string
	kind event.ColumnKind
}

// fits reports whether the reading has the shape of the layout, so that the layout's series are the reading's.
func (l *layout) fits(r *event.Reading) bool {
	if l.up == nil || !slices.Equal(l.target, r.Labels) {
		return false
	}
	if !hasValues(r) {
		return true // It has no tables to compare; the layout waits for the device to come back.
	}
	if len(l.tables) != len(r.Tables) {
		return false
	}
	for i := range r.Tables {
		if !l.tables[i].fits(&r.Tables[i]) {
			return false
		}
	}
	return true
}

func (l *tableLayout) fits(t *event.Table) bool {
	if l.name != t.Name || l.rows != t.Rows || len(l.index) != len(t.Index) || len(l.columns) != len(t.Columns) {
		return false
	}
	for i := range t.Index {
		if l.index[i].Name != t.Index[i].Name || !slices.Equal(l.index[i].Values, t.Index[i].Values) {
			return false
		}
	}
	cells := l.cells
	for i := range t.Columns {
		c := &t.Columns[i]
		if l.columns[i].kind != c.Kind || l.columns[i].name != c.Name {
			return false
		}
		if c.Kind == event.Text {
			continue
		}
		if len(c.Missing) == 0 {
			if slices.Contains(cells[:t.Rows], nil) {
				return false
			}
		} else {
			for row := range c.Present(t.Rows) {
				if cells[row] == nil {
					return false
				}
			}
		}
		cells = cells[t.Rows:]
	}
	return true
}

// rebuild takes on the shape of the reading; series that were there before stay the same objects.
func (l *layout) rebuild(r *event.Reading, m *maker) {
	m.begin(l, r.Labels)
	relabelled := l.up == nil || !slices.Equal(l.target, r.Labels)
	l.target = r.Labels
	if relabelled {
		l.up = m.series(Up, false, []label{{"check", r.Check}}, true)
		l.duration = m.series(PollDuration, false, []label{{"check", r.Check}}, true)
	}
	if !hasValues(r) {
		if relabelled {
			l.tables = nil
		}
		return
	}
	tables := make([]tableLayout, len(r.Tables))
	for i := range r.Tables {
		tables[i] = m.table(&r.Tables[i])
	}
	l.tables = tables
}

// label is a row's label before it is sorted among the target's.
type label struct{ name, value string }

// maker makes series; it holds what is needed on the way.
type maker struct {
	target  event.Labels
	known   map[uint64]*Series
	builder labels.ScratchBuilder
	row     []label
}

// begin collects the series that a layout has, for reuse.
func (m *maker) begin(l *layout, target event.Labels) {
	m.target = target
	m.known = map[uint64]*Series{}
	if l.up != nil {
		m.known[l.up.Hash], m.known[l.duration.Hash] = l.up, l.duration
	}
	for i := range l.tables {
		for _, s := range l.tables[i].cells {
			if s != nil {
				m.known[s.Hash] = s
			}
		}
	}
}

func (m *maker) table(t *event.Table) tableLayout {
	out := tableLayout{name: t.Name, index: t.Index, rows: t.Rows, columns: make([]columnLayout, len(t.Columns))}
	numeric := 0
	for i := range t.Columns {
		out.columns[i] = columnLayout{t.Columns[i].Name, t.Columns[i].Kind}
		if t.Columns[i].Kind != event.Text {
			numeric++
		}
	}
	out.cells = make([]*Series, numeric*t.Rows)
	cells := out.cells
	for i := range t.Columns {
		c := &t.Columns[i]
		if c.Kind == event.Text {
			continue
		}
		missing := c.Missing
		for row := range t.Rows {
			present := len(missing) == 0 || int(missing[0]) != row
			if !present {
				missing = missing[1:]
			}
			m.row = m.row[:0]
			for k := range t.Index {
				m.row = append(m.row, label{t.Index[k].Name, t.Index[k].Values[row]})
			}
			cells[row] = m.series(c.Name, c.Kind == event.Counter, m.row, present)
		}
		cells = cells[t.Rows:]
	}
	return out
}

// series returns the series of a name and a row's labels: the known one, or a new one if there is a value for it.
func (m *maker) series(name string, counter bool, row []label, create bool) *Series {
	m.builder.Reset()
	m.builder.Add(model.MetricNameLabel, valid(name))
	for _, l := range m.target {
		if l.Value != "" && l.Name != model.MetricNameLabel {
			m.builder.Add(l.Name, valid(l.Value))
		}
	}
	for i, l := range row {
		if l.value == "" || l.name == "" || taken(row[:i], l.name) {
			continue
		}
		n := valid(l.name)
		for n == model.MetricNameLabel || m.target.Get(n) != "" || (n != l.name && taken(row, n)) {
			n = "exported_" + n
		}
		m.builder.Add(n, valid(l.value))
	}
	m.builder.Sort()
	ls := m.builder.Labels()
	hash := ls.Hash()
	if s := m.known[hash]; s != nil && s.Counter == counter && labels.Equal(s.Labels, ls) {
		return s
	}
	if !create {
		return nil
	}
	s := &Series{Labels: ls, Hash: hash, Name: name, Counter: counter}
	m.known[hash] = s
	return s
}

func taken(row []label, name string) bool {
	return slices.ContainsFunc(row, func(l label) bool { return l.name == name && l.value != "" })
}

// valid makes text fit for labels, which are UTF-8: devices say what they like.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
