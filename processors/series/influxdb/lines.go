package influxdb

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/influxdata/line-protocol/v2/lineprotocol"

	"kemi.dev/kemi/bus/event"
)

// Poll is the measurement that says of every poll whether the target answered (up, 1 or 0), how long it took
// (duration_seconds) and the status in words.
const Poll = "kemi_poll"

// encoder turns readings into line protocol. It is for one goroutine.
type encoder struct {
	enc  lineprotocol.Encoder
	tags []event.Label
}

func newEncoder() *encoder {
	e := &encoder{}
	e.enc.SetPrecision(lineprotocol.Millisecond)
	return e
}

// reset begins a new request.
func (e *encoder) reset() {
	e.enc.Reset()
}

// add appends the lines of a reading and returns how many lines and samples they are. All numbers are floats, counters
// too: in InfluxDB the type of a field can never change, and what a device calls a counter today may be a gauge after its
// next upgrade.
func (e *encoder) add(r *event.Reading) (lines, values int, err error) {
	if !r.Status.Asked() {
		return 0, 0, nil
	}
	at := r.Started
	if at.IsZero() {
		at = r.Slot
	}
	up := 0.0
	if r.Status.Up() {
		up = 1
	}
	e.line(Poll, r.Labels, nil, 0, event.Label{Name: "check", Value: r.Check})
	e.number("up", up)
	e.number("duration_seconds", r.Duration.Seconds())
	e.text("status", string(r.Status))
	e.enc.EndLine(at)
	lines, values = 1, 2
	if r.Status.Up() {
		for i := range r.Tables {
			l, v := e.table(r, &r.Tables[i], at)
			lines, values = lines+l, values+v
		}
	}
	return lines, values, e.enc.Err()
}

// table appends one line for every row that has a value.
func (e *encoder) table(r *event.Reading, t *event.Table, at time.Time) (lines, values int) {
	missing := make([][]uint32, len(t.Columns))
	for i := range t.Columns {
		missing[i] = t.Columns[i].Missing
	}
	for row := range t.Rows {
		started := false
		for i := range t.Columns {
			c := &t.Columns[i]
			if m := missing[i]; len(m) > 0 && int(m[0]) == row {
				missing[i] = m[1:]
				continue
			}
			v, isNumber := c.Float(row)
			if isNumber && (math.IsNaN(v) || math.IsInf(v, 0)) || c.Name == "" {
				continue // Line protocol has no way to say it.
			}
			if !started {
				e.line(t.Name, r.Labels, t.Index, row, event.Label{})
				started = true
				lines++
			}
			if isNumber {
				e.number(c.Name, v)
				values++
			} else {
				e.text(c.Name, c.Texts[row])
			}
		}
		if started {
			e.enc.EndLine(at)
		}
	}
	return lines, values
}

// line begins a line: the tags are the target's labels, the row's and one more, sorted. As in the other stores, of a
// label of the target and one of the row that have the same name, the target's stays and the row's is exported_NAME.
func (e *encoder) line(measurement string, target event.Labels, index []event.IndexColumn, row int, more event.Label) {
	e.tags = e.tags[:0]
	e.tags = append(e.tags, target...)
	if more.Name != "" {
		e.tag(more, target)
	}
	for i := range index {
		e.tag(event.Label{Name: index[i].Name, Value: index[i].Values[row]}, target)
	}
	slices.SortFunc(e.tags, func(a, b event.Label) int { return strings.Compare(a.Name, b.Name) })
	if measurement == "" {
		measurement = "kemi"
	}
	e.enc.StartLine(clean(measurement))
	last := ""
	for _, l := range e.tags {
		if l.Value == "" || l.Name == "" || l.Name == last {
			continue
		}
		last = l.Name
		e.enc.AddTag(clean(l.Name), clean(l.Value))
	}
}

func (e *encoder) tag(l event.Label, target event.Labels) {
	for target.Get(l.Name) != "" {
		l.Name = "exported_" + l.Name
	}
	e.tags = append(e.tags, l)
}

func (e *encoder) number(name string, v float64) {
	if f, ok := lineprotocol.FloatValue(v); ok {
		e.enc.AddField(clean(name), f)
	}
}

func (e *encoder) text(name, v string) {
	if s, ok := lineprotocol.StringValue(strings.ToValidUTF8(v, "\uFFFD")); ok {
		e.enc.AddField(clean(name), s)
	}
}

// clean makes a name or a tag's value fit for line protocol, which has no way to write a line end in them, nor a
// backslash at the end.
func clean(s string) string {
	if !strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c == '\uFFFD' || c == 0x7f }) && !strings.HasSuffix(s, `\`) {
		return s
	}
	s = strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(s, "\uFFFD"))
	if strings.HasSuffix(s, `\`) {
		s += " "
	}
	return s
}
