package event

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"kemi.dev/kemi/bus/event/eventpb"
)

// Status is the one outcome of a job.
type Status string

// The outcomes. Any of them but StatusLate may carry values: what a poll found before it failed, too.
const (
	StatusOK Status = "ok"
	// StatusPartial means that some of what was asked is missing: a table cut short, a column in error.
	StatusPartial Status = "partial"
	StatusTimeout Status = "timeout"
	// StatusRefused means that the target answers, but not there: connection refused, port unreachable.
	StatusRefused     Status = "refused"
	StatusUnreachable Status = "unreachable"
	StatusAuth        Status = "auth"
	// StatusNoSuch means that the target is well but has not what was asked for.
	StatusNoSuch Status = "no-such"
	StatusError  Status = "error"
	// StatusLate means that the job was past its deadline when a poller took it: nothing was asked.
	StatusLate Status = "late"
)

// Up reports whether the target answered.
func (s Status) Up() bool { return s == StatusOK || s == StatusPartial || s == StatusNoSuch }

// Asked reports whether the target was asked at all: a late job says nothing about it.
func (s Status) Asked() bool { return s != StatusLate }

// Reading is what one Job found. Failure is data.
type Reading struct {
	// JobID is the identity of the job, and of the reading: a job has one outcome.
	JobID               string
	Target, Check, Kind string
	Status              Status
	// Message says what went wrong, for people; empty when Status is ok.
	Message string
	Cause   Cause
	AskedBy string
	Slot    time.Time
	// Started and Duration are the poll's, without the time the job waited.
	Started  time.Time
	Duration time.Duration
	Interval time.Duration
	// Labels are the target's effective labels.
	Labels Labels
	// Booted is when the device's counters began at zero; the zero time when not known.
	Booted time.Time
	Tables []Table
}

// Table is what was read, by column: Rows cells in each index and value column.
type Table struct {
	Name  string
	Rows  int
	Index []IndexColumn
	// Columns hold the values.
	Columns []Column
	// Truncated says that the device has more rows than were read.
	Truncated bool
}

// IndexColumn is one label of the rows.
type IndexColumn struct {
	Name   string
	Values []string
}

// ColumnKind says what the cells of a column are.
type ColumnKind string

// The kinds of column.
const (
	// Counter cells only grow until they wrap or the device restarts.
	Counter ColumnKind = "counter"
	Gauge   ColumnKind = "gauge"
	Text    ColumnKind = "text"
)

// Column is one value of every row. Of Counters, Gauges and Texts the one that Kind names has a cell for every
// row; Missing lists, ascending, the rows that have no value.
type Column struct {
	Name string
	Kind ColumnKind
	// Unit of the values, in base units: "bytes", "seconds", "celsius"; may be empty.
	Unit     string
	Counters []uint64
	Gauges   []float64
	Texts    []string
	Missing  []uint32
}

// Topic implements Event.
func (r *Reading) Topic() Topic { return topicReadings }

// Identity implements Event: the job's.
func (r *Reading) Identity() string { return r.JobID }

// Key implements Event.
func (r *Reading) Key() string { return r.Target }

// Route implements Event.
func (r *Reading) Route() string { return r.Target }

// ReadingFor starts the reading of a job.
func ReadingFor(j *Job) *Reading {
	return &Reading{
		JobID: j.Identity(), Target: j.Target, Check: j.Check, Kind: j.Kind, Cause: j.Cause, AskedBy: j.AskedBy,
		Slot: j.Slot, Interval: j.Interval, Labels: j.Labels,
	}
}

// Values counts the values in the tables, missing ones not.
func (r *Reading) Values() int {
	n := 0
	for i := range r.Tables {
		for c := range r.Tables[i].Columns {
			n += r.Tables[i].Rows - len(r.Tables[i].Columns[c].Missing)
		}
	}
	return n
}

// Encode implements Event. Column slices are shared with the message, not copied.
func (r *Reading) Encode() ([]byte, error) {
	names, values := splitLabels(r.Labels)
	p := &eventpb.Reading{
		JobId: r.JobID, Target: r.Target, Check: r.Check, Kind: r.Kind, Status: string(r.Status), Message: r.Message,
		Cause: string(r.Cause), AskedBy: r.AskedBy, SlotUnixMs: millis(r.Slot), StartedUnixUs: micros(r.Started),
		DurationUs: r.Duration.Microseconds(), IntervalMs: r.Interval.Milliseconds(),
		LabelNames: names, LabelValues: values, BootUnixMs: millis(r.Booted),
		Tables: make([]*eventpb.Table, len(r.Tables)),
	}
	for i := range r.Tables {
		t := &r.Tables[i]
		if err := t.validate(); err != nil {
			return nil, fmt.Errorf("encode reading of %s: %w", r.Target, err)
		}
		pt := &eventpb.Table{
			Name: t.Name, Rows: uint32(t.Rows), Truncated: t.Truncated,
			Index: make([]*eventpb.Labels, len(t.Index)), Columns: make([]*eventpb.Column, len(t.Columns)),
		}
		for k, ix := range t.Index {
			pt.Index[k] = &eventpb.Labels{Name: ix.Name, Values: ix.Values}
		}
		for k := range t.Columns {
			c := &t.Columns[k]
			pt.Columns[k] = &eventpb.Column{
				Name: c.Name, Kind: string(c.Kind), Unit: c.Unit,
				Counters: c.Counters, Gauges: c.Gauges, Texts: c.Texts, Missing: c.Missing,
			}
		}
		p.Tables[i] = pt
	}
	return proto.Marshal(p)
}

// Decode implements Word. A reading whose tables do not add up is refused whole.
func (r *Reading) Decode(data []byte) error {
	var p eventpb.Reading
	if err := proto.Unmarshal(data, &p); err != nil {
		return malformed(topicReadings.Word, err)
	}
	labels, err := joinLabels(p.LabelNames, p.LabelValues)
	if err != nil {
		return malformed(topicReadings.Word, err)
	}
	if p.JobId == "" || p.Target == "" || p.Status == "" {
		return malformed(topicReadings.Word, errors.New("job, target or status is missing"))
	}
	*r = Reading{
		JobID: p.JobId, Target: p.Target, Check: p.Check, Kind: p.Kind, Status: Status(p.Status), Message: p.Message,
		Cause: Cause(p.Cause), AskedBy: p.AskedBy, Slot: fromMillis(p.SlotUnixMs), Started: fromMicros(p.StartedUnixUs),
		Duration: time.Duration(p.DurationUs) * time.Microsecond, Interval: time.Duration(p.IntervalMs) * time.Millisecond,
		Labels: labels, Booted: fromMillis(p.BootUnixMs),
		Tables: make([]Table, len(p.Tables)),
	}
	for i, pt := range p.Tables {
		t := Table{
			Name: pt.Name, Rows: int(pt.Rows), Truncated: pt.Truncated,
			Index: make([]IndexColumn, len(pt.Index)), Columns: make([]Column, len(pt.Columns)),
		}
		for k, ix := range pt.Index {
			t.Index[k] = IndexColumn{Name: ix.Name, Values: ix.Values}
		}
		for k, c := range pt.Columns {
			t.Columns[k] = Column{
				Name: c.Name, Kind: ColumnKind(c.Kind), Unit: c.Unit,
				Counters: c.Counters, Gauges: c.Gauges, Texts: c.Texts, Missing: c.Missing,
			}
		}
		if err := t.validate(); err != nil {
			return malformed(topicReadings.Word, err)
		}
		r.Tables[i] = t
	}
	return nil
}

// validate holds a table to its shape: equally many cells everywhere, missing rows ascending and within.
func (t *Table) validate() error {
	for _, ix := range t.Index {
		if len(ix.Values) != t.Rows {
			return fmt.Errorf("table %s: index %s has %d cells for %d rows", t.Name, ix.Name, len(ix.Values), t.Rows)
		}
	}
	for i := range t.Columns {
		c := &t.Columns[i]
		var cells, others int
		switch c.Kind {
		case Counter:
			cells, others = len(c.Counters), len(c.Gauges)+len(c.Texts)
		case Gauge:
			cells, others = len(c.Gauges), len(c.Counters)+len(c.Texts)
		case Text:
			cells, others = len(c.Texts), len(c.Counters)+len(c.Gauges)
		default:
			return fmt.Errorf("table %s: column %s is of unknown kind %q", t.Name, c.Name, c.Kind)
		}
		if cells != t.Rows || others != 0 {
			return fmt.Errorf("table %s: column %s has %d+%d cells for %d rows", t.Name, c.Name, cells, others, t.Rows)
		}
		last := -1
		for _, m := range c.Missing {
			if int(m) <= last || int(m) >= t.Rows {
				return fmt.Errorf("table %s: column %s names row %d as missing out of order or range", t.Name, c.Name, m)
			}
			last = int(m)
		}
	}
	return nil
}

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}
