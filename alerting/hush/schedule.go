package hush

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"kemi.dev/kemi/bus/event"
)

// shift is more than the clocks of a zone have ever been put forward or back at once: a day, for the Pacific islands
// that crossed the date line.
const shift = 26 * time.Hour

// maxRun bounds how far windows that follow each other without a gap are taken for one, in times that one lasts.
const maxRun = 8

// span is a stretch of time in which one answer holds.
type span struct {
	on   bool
	from time.Time // Zero is the beginning of time.
	to   time.Time // Zero is its end.
}

func (s *span) covers(t time.Time) bool {
	return !t.Before(s.from) && (s.to.IsZero() || t.Before(s.to))
}

// schedule says when a silence is in force.
type schedule struct {
	starts, ends time.Time
	calendar     *calendar // Nil when it does not recur.
	lasts        time.Duration
	zone         *time.Location
}

// newSchedule reads the times of a silence.
func newSchedule(s *event.Silence) (*schedule, error) {
	c := &schedule{starts: s.StartsAt, ends: s.EndsAt, zone: time.UTC}
	var err error
	if c.zone, err = zoneOf(s.Timezone); err != nil {
		return nil, err
	}
	if s.Recurs == "" {
		if s.EndsAt.IsZero() {
			return nil, errors.New("it has no end: give ends_at, so that it is not forgotten")
		}
		return c, nil
	}
	if s.LastsSeconds <= 0 || s.LastsSeconds > maxLasts {
		return nil, fmt.Errorf("how long it lasts each time is missing or out of range: give lasts_seconds, 1 to %d", int64(maxLasts))
	}
	c.lasts = time.Duration(s.LastsSeconds) * time.Second
	if year := s.StartsAt.Year(); year < 1970 || year > 9000 {
		return nil, errors.New("what recurs needs a start: give starts_at, when it begins for the first time, in 1970 or later")
	}
	c.starts = s.StartsAt.Truncate(time.Second) // As exact as the calendar is.
	if c.calendar, err = parseRule(s.Recurs, s.StartsAt, c.zone); err != nil {
		return nil, fmt.Errorf("recurrence rule %s: %w", shortQuote(s.Recurs), err)
	}
	return c, nil
}

// maxLasts is a year, in seconds.
const maxLasts = 366 * 24 * 60 * 60

// zoneOf finds a timezone; "" is UTC.
func zoneOf(name string) (*time.Location, error) {
	if name == "Local" { // Would be another one on each machine.
		return nil, errors.New("timezone \"Local\" is not known everywhere: use its IANA name, such as Asia/Seoul")
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("there is no timezone %s: use an IANA name, such as Asia/Seoul", shortQuote(name))
	}
	return zone, nil
}

// at returns the answer at an instant together with the time for which it holds.
func (c *schedule) at(now time.Time) span {
	switch {
	case !c.ends.IsZero() && !now.Before(c.ends):
		return span{from: c.ends}
	case now.Before(c.starts):
		if c.calendar == nil {
			return span{to: c.startsUnlessOver()}
		}
		return c.off(span{}, c.starts)
	case c.calendar == nil:
		return span{on: true, from: c.starts, to: c.ends}
	}
	return c.recurring(now)
}

// startsUnlessOver is when a silence that does not recur comes into force; never, when it is over by then.
func (c *schedule) startsUnlessOver() time.Time {
	if !c.ends.IsZero() && !c.starts.Before(c.ends) {
		return time.Time{}
	}
	return c.starts
}

// recurring is at for a time at which windows may begin.
func (c *schedule) recurring(now time.Time) span {
	// Whatever began up to now and is not over: the last of them decides when it will be.
	begun := c.between(now.Add(-c.lasts).Add(time.Nanosecond), now.Add(time.Nanosecond))
	if len(begun) == 0 {
		return c.off(span{from: now}, now)
	}
	out := span{on: true, from: begun[len(begun)-1], to: begun[len(begun)-1].Add(c.lasts)}
	for range maxRun {
		more := c.between(out.to.Add(-c.lasts).Add(time.Nanosecond), out.to.Add(time.Nanosecond))
		if len(more) == 0 {
			break
		}
		out.to = more[len(more)-1].Add(c.lasts)
	}
	if !c.ends.IsZero() && out.to.After(c.ends) {
		out.to = c.ends
	}
	return out
}

// off completes a span in which nothing is in force by the next beginning, at or after an instant.
func (c *schedule) off(s span, from time.Time) span {
	s.to = c.next(from.Add(-time.Nanosecond))
	return s
}

// last is the last instant at which a window may begin; zero is no end.
func (c *schedule) last() time.Time {
	last := c.calendar.until
	if !c.ends.IsZero() && (last.IsZero() || !c.ends.After(last)) {
		last = c.ends.Add(-time.Nanosecond)
	}
	return last
}

// between lists when windows begin, from an instant to before another, sorted.
func (c *schedule) between(from, to time.Time) []time.Time {
	var out []time.Time
	last := c.last()
	next := c.calendar.walls(wallOf(from, c.zone).Add(-shift))
	for end := wallOf(to, c.zone).Add(shift); ; {
		wall, ok := next()
		if !ok || wall.After(end) {
			break
		}
		t := instant(wall, c.zone)
		if !t.Before(from) && t.Before(to) && !t.Before(c.starts) && (last.IsZero() || !t.After(last)) {
			out = append(out, t)
		}
	}
	slices.SortFunc(out, time.Time.Compare)
	return out
}

// next is the first instant after another at which a window begins; zero when there is none.
func (c *schedule) next(after time.Time) time.Time {
	var best, end time.Time
	last := c.last()
	next := c.calendar.walls(wallOf(after, c.zone).Add(-shift))
	for {
		wall, ok := next()
		if !ok || !end.IsZero() && wall.After(end) {
			return best
		}
		t := instant(wall, c.zone)
		if !last.IsZero() && t.After(last.Add(2*shift)) {
			return best
		}
		if !t.After(after) || t.Before(c.starts) || !last.IsZero() && t.After(last) {
			continue
		}
		if best.IsZero() || t.Before(best) {
			best, end = t, wall.Add(shift)
		}
	}
}
