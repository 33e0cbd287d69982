package event

import (
	"encoding/json"
	"math"
	"time"
)

// The reading as people and scripts see it: rows instead of columns.
type readingJSON struct {
	Target     string            `json:"target"`
	Check      string            `json:"check,omitempty"`
	Kind       string            `json:"kind,omitempty"`
	Status     Status            `json:"status"`
	Message    string            `json:"message,omitempty"`
	JobID      string            `json:"job_id,omitempty"`
	Cause      Cause             `json:"cause,omitempty"`
	AskedBy    string            `json:"asked_by,omitempty"`
	Slot       time.Time         `json:"slot,omitzero"`
	Started    time.Time         `json:"started,omitzero"`
	DurationMS float64           `json:"duration_ms"`
	IntervalMS int64             `json:"interval_ms,omitempty"`
	Booted     time.Time         `json:"booted,omitzero"`
	Labels     map[string]string `json:"labels,omitempty"`
	Tables     []tableJSON       `json:"tables"`
}

type tableJSON struct {
	Name      string            `json:"name"`
	Truncated bool              `json:"truncated,omitempty"`
	Units     map[string]string `json:"units,omitempty"`
	Rows      []rowJSON         `json:"rows"`
}

type rowJSON struct {
	Labels map[string]string `json:"labels"`
	Values map[string]any    `json:"values"`
}

// MarshalJSON writes the reading by rows. Counters are whole numbers; a gauge that is no number is null.
func (r *Reading) MarshalJSON() ([]byte, error) {
	out := readingJSON{
		Target: r.Target, Check: r.Check, Kind: r.Kind, Status: r.Status, Message: r.Message, JobID: r.JobID,
		Cause: r.Cause, AskedBy: r.AskedBy, Slot: r.Slot, Started: r.Started,
		DurationMS: float64(r.Duration.Microseconds()) / 1000, IntervalMS: r.Interval.Milliseconds(),
		Booted: r.Booted, Labels: r.Labels.Map(), Tables: make([]tableJSON, 0, len(r.Tables)),
	}
	for i := range r.Tables {
		out.Tables = append(out.Tables, r.Tables[i].asJSON())
	}
	return json.Marshal(out)
}

func (t *Table) asJSON() tableJSON {
	out := tableJSON{Name: t.Name, Truncated: t.Truncated, Units: map[string]string{}, Rows: make([]rowJSON, t.Rows)}
	for row := range out.Rows {
		out.Rows[row] = rowJSON{Labels: make(map[string]string, len(t.Index)), Values: make(map[string]any, len(t.Columns))}
		for _, ix := range t.Index {
			out.Rows[row].Labels[ix.Name] = ix.Values[row]
		}
	}
	for i := range t.Columns {
		c := &t.Columns[i]
		if c.Unit != "" {
			out.Units[c.Name] = c.Unit
		}
		for row := range c.Present(t.Rows) {
			out.Rows[row].Values[c.Name] = c.cell(row)
		}
	}
	return out
}

func (c *Column) cell(row int) any {
	switch c.Kind {
	case Counter:
		return c.Counters[row]
	case Gauge:
		if v := c.Gauges[row]; !math.IsNaN(v) && !math.IsInf(v, 0) {
			return v
		}
		return nil
	default:
		return c.Texts[row]
	}
}

// Present iterates the rows that have a value.
func (c *Column) Present(rows int) func(yield func(row int) bool) {
	return func(yield func(int) bool) {
		missing := c.Missing
		for row := range rows {
			if len(missing) > 0 && int(missing[0]) == row {
				missing = missing[1:]
				continue
			}
			if !yield(row) {
				return
			}
		}
	}
}

// Float returns the numeric cell of a row; ok is false for text.
func (c *Column) Float(row int) (v float64, ok bool) {
	switch c.Kind {
	case Counter:
		return float64(c.Counters[row]), true
	case Gauge:
		return c.Gauges[row], true
	default:
		return 0, false
	}
}

// MarshalJSON writes the job as people and scripts see it.
func (j *Job) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		ID         string            `json:"id"`
		Target     string            `json:"target"`
		Class      string            `json:"class,omitempty"`
		Address    string            `json:"address,omitempty"`
		Team       string            `json:"team,omitempty"`
		Labels     map[string]string `json:"labels,omitempty"`
		Check      string            `json:"check"`
		Kind       string            `json:"kind"`
		Profile    string            `json:"profile,omitempty"`
		Credential string            `json:"credential,omitempty"`
		Spec       json.RawMessage   `json:"spec,omitempty"`
		Slot       time.Time         `json:"slot"`
		Deadline   time.Time         `json:"deadline"`
		IntervalMS int64             `json:"interval_ms,omitempty"`
		Cause      Cause             `json:"cause"`
		AskedBy    string            `json:"asked_by,omitempty"`
		Zone       string            `json:"zone,omitempty"`
	}{
		j.Identity(), j.Target, j.Class, j.Address, j.Team, j.Labels.Map(), j.Check, j.Kind, j.Profile, j.Credential,
		j.Spec, j.Slot, j.Deadline, j.Interval.Milliseconds(), j.Cause, j.AskedBy, j.Zone,
	})
}
