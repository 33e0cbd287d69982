package influxdb

import (
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/influxdata/line-protocol/v2/lineprotocol"

	"kemi.dev/kemi/bus/event"
)

// Poll is the measurement that says of every poll whether the target answered (up, 1 or 0), how long it took
// (duration_seconds) and the status in words.
const Poll = "kemi_poll"

// encoder turns readings into line protocol. It is for one goroutine.
type encoder struct {
	enc  lineprotocol.Encoder
	base []event.Label // the tags of the reading
	tags []event.Label // the tags of the line
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
	e.base = e.base[:0]
	for _, l := range r.Labels {
		if l := clean(l); l.Name != "" && l.Value != "" {
			e.base = append(e.base, l)
		}
	}
	e.line(Poll, nil, 0, event.Label{Name: "check", Value: r.Check})
	e.number("up", up)
	e.number("duration_seconds", r.Duration.Seconds())
	e.text("status", string(r.Status))
	e.enc.EndLine(at)
	lines, values = 1, 2
	for i := range r.Tables { // Also those of a poll that failed: why it failed may be in them.
		l, v := e.table(&r.Tables[i], at)
		lines, values = lines+l, values+v
	}
	return lines, values, e.enc.Err()
}

// table appends one line for every row that has a value.
func (e *encoder) table(t *event.Table, at time.Time) (lines, values int) {
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
				e.line(t.Name, t.Index, row, event.Label{})
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
func (e *encoder) line(measurement string, index []event.IndexColumn, row int, more event.Label) {
	e.tags = append(e.tags[:0], e.base...)
	e.tag(more)
	for i := range index {
		e.tag(event.Label{Name: index[i].Name, Value: index[i].Values[row]})
	}
	slices.SortFunc(e.tags, func(a, b event.Label) int { return strings.Compare(a.Name, b.Name) })
	if measurement == "" || measurement[0] == '#' {
		measurement = "kemi" + measurement // A line that begins with # is a comment, gone without a word.
	}
	e.enc.StartLine(cleanText(measurement))
	for i, l := range e.tags {
		if i == 0 || l.Name != e.tags[i-1].Name {
			e.enc.AddTag(l.Name, l.Value)
		}
	}
}

func (e *encoder) tag(l event.Label) {
	if l = clean(l); l.Name == "" || l.Value == "" {
		return
	}
	for slices.ContainsFunc(e.base, func(b event.Label) bool { return b.Name == l.Name }) {
		l.Name = "exported_" + l.Name
	}
	e.tags = append(e.tags, l)
}

func (e *encoder) number(name string, v float64) {
	if f, ok := lineprotocol.FloatValue(v); ok {
		e.enc.AddField(cleanText(name), f)
	}
}

func (e *encoder) text(name, v string) {
	if s, ok := lineprotocol.StringValue(strings.ToValidUTF8(v, "\uFFFD")); ok {
		e.enc.AddField(cleanText(name), s)
	}
}

// clean makes both halves of a label fit for line protocol.
func clean(l event.Label) event.Label {
	return event.Label{Name: cleanText(l.Name), Value: cleanText(l.Value)}
}

// cleanText makes a name or a tag's value fit for line protocol, which has no way to write a line end in them, nor a
// backslash at the end.
func cleanText(s string) string {
	if !dirty(s) {
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

func dirty(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == 0x7f || c >= utf8.RuneSelf {
			return true
		}
	}
	return strings.HasSuffix(s, `\`)
}
