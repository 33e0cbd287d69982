package snmp

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"kemi.dev/kemi/bus/event"
)

// maxPoll is how many octets a poll reads, far more than a reading can hold.
const maxPoll = 8 << 20

// session is one poll of one target.
type session struct {
	x    *exchange
	m    *memory
	plan *plan
	now  time.Time
	// fresh says to believe nothing that was read before.
	fresh bool
	// probing says that the first request is to be small and sent once; retries are those from then on.
	probing bool
	retries int

	answers  int
	octets   int      // of the answers
	lost     *failure // what ended the poll before it had everything
	faults   []fault
	denied   bool // something was refused for lack of rights
	smaller  bool // a request had to be made smaller to be answered: those that follow begin small
	restarts bool
}

// fault is something that went wrong in a poll that has values all the same.
type fault struct {
	what []string // it went wrong with
	why  string
}

// read asks for everything and fills the reading; a failure means that there is nothing to fill in.
func (s *session) read(ctx context.Context, r *event.Reading) *failure {
	singles := make([][]*scalar, len(s.plan.singles))
	var pending []*scalar
	for i := range s.plan.singles {
		specs := s.plan.singles[i].columns
		own := make([]scalar, len(specs))
		for k := range specs {
			own[k] = scalar{column: *newColumn(&specs[k], 1)}
			pending = append(pending, &own[k])
			singles[i] = append(singles[i], &own[k])
		}
	}
	tables := make([]*table, len(s.plan.tables))
	for i := range s.plan.tables {
		if s.lost != nil {
			break
		}
		tables[i] = s.table(ctx, i, pending)
		pending = nil // They went along with the first.
	}
	if len(s.plan.tables) == 0 {
		s.walk(ctx, &walk{rows: &rows{}}, pending, nil)
	}
	if s.answers == 0 && s.lost != nil {
		s.m.giveUp(s.probing)
		return s.lost
	}
	s.m.learn(s.smaller)
	r.Booted = s.m.boot
	values := 0
	for i := range singles {
		if t, ok := s.single(s.plan.singles[i].table, singles[i]); ok {
			r.Tables = append(r.Tables, t)
			values++
		}
	}
	for _, t := range tables {
		if t != nil && t.rows.len() > 0 {
			r.Tables = append(r.Tables, t.event)
			values++
		}
	}
	s.conclude(r, values)
	return nil
}

// conclude says how the poll went as a whole.
func (s *session) conclude(r *event.Reading, values int) {
	if s.lost != nil {
		s.faults = append(s.faults, fault{why: s.lost.text})
	}
	r.Message = s.message()
	switch {
	case values == 0 && s.denied:
		r.Status = event.StatusAuth
	case values == 0 && s.lost != nil:
		r.Status = s.lost.status
	case values == 0 && len(s.faults) > 0:
		r.Status = event.StatusError
	case values == 0:
		r.Status = event.StatusNoSuch
		r.Message = "the target answers and has nothing of what profile " + s.plan.name + " reads"
	case len(s.faults) > 0:
		r.Status = event.StatusPartial
	default:
		r.Status = event.StatusOK
	}
}

// walk runs a walk to its end; false means that the target stopped answering.
func (s *session) walk(ctx context.Context, w *walk, scalars []*scalar, columns []*column) bool {
	w.limits = &s.m.limits
	w.start(scalars, columns)
	defer s.noteBoot(scalars)
	s.x.shrink = func(r *request) bool {
		if !w.shrink(r) {
			return false
		}
		s.smaller = true
		return true
	}
	var req request
	for w.next(&req) {
		if s.smaller || s.answers == 0 && (s.probing || s.m.unheard > 0) {
			w.shrink(&req)
		}
		a, size, err := s.x.ask(ctx, &req)
		if err == nil {
			err = w.take(a, size)
		}
		if s.octets += size; err == nil && s.octets > maxPoll {
			err = &failure{event.StatusError, fmt.Sprintf("the target's answers come to more than %d MiB", maxPoll>>20)}
			s.answers++
		}
		if err != nil {
			var f *failure
			if !errors.As(err, &f) {
				f = classify(err)
			}
			s.lost, w.truncated = f, true
			return false
		}
		if a.status == statusNoAccess || a.status == statusAuthorizationError {
			s.denied = true
		}
		if s.answers++; s.answers == 1 && s.probing {
			s.x.retries = s.retries
		}
	}
	return true
}

// giveUp notes that a target said nothing at all.
func (m *memory) giveUp(probing bool) {
	if !probing && m.unheard < 2 {
		m.unheard++ // Perhaps the first request was too large for it.
	}
}

// learn notes whether requests had to be made smaller to be heard. Once is a lost packet, twice in a row is not.
func (m *memory) learn(smaller bool) {
	if !smaller {
		m.unheard = 0
		return
	}
	if m.unheard++; m.unheard >= 2 {
		m.limits.answer = smallAnswer
	}
}

// noteBoot works out when the device started, if its uptime is among the scalars.
func (s *session) noteBoot(scalars []*scalar) {
	for _, c := range scalars {
		if c.spec.name != "sysUpTime" || c.count == 0 || c.spec.kind != event.Gauge {
			continue
		}
		uptime := time.Duration(c.gauges[0] * float64(time.Second))
		known := s.m.boot
		s.m.boot = booted(known, time.Now(), uptime)
		s.restarts = !known.IsZero() && !s.m.boot.Equal(known)
	}
}

// single makes the table of a profile's scalars; ok is false when the target has none of them.
func (s *session) single(name string, scalars []*scalar) (t event.Table, ok bool) {
	t = event.Table{Name: name, Rows: 1, Columns: make([]event.Column, 0, len(scalars))}
	for _, c := range scalars {
		s.note(name, &c.column)
		if c.count > 0 {
			t.Columns = append(t.Columns, c.event(1))
		}
	}
	return t, len(t.Columns) > 0
}

// note puts what went wrong with a column into the message.
func (s *session) note(table string, c *column) {
	why := c.failed
	if why == "" && c.unusable > 0 {
		why = fmt.Sprintf("%d values are no %s", c.unusable, c.spec.kind)
	}
	if why == "" && c.cut > 0 {
		why = fmt.Sprintf("%d values were cut after %d octets", c.cut, maxText)
	}
	if why == "" {
		return
	}
	what := table + " " + c.spec.name
	for i := range s.faults {
		if s.faults[i].why == why {
			s.faults[i].what = append(s.faults[i].what, what)
			return
		}
	}
	s.faults = append(s.faults, fault{[]string{what}, why})
}

// message says what went wrong, shortly.
func (s *session) message() string {
	const most = 3
	var parts []string
	for i, f := range s.faults {
		if i == most {
			parts = append(parts, fmt.Sprintf("and %d more kinds of fault", len(s.faults)-most))
			break
		}
		what := f.what
		if n := len(what); n > most {
			what = append(what[:most:most], fmt.Sprintf("%d more", n-most))
		}
		if len(what) > 0 {
			parts = append(parts, strings.Join(what, ", ")+": "+f.why)
		} else {
			parts = append(parts, f.why)
		}
	}
	return strings.Join(parts, "; ")
}
