package oncall

import (
	"math"
	"time"
)

// reach returns the first instant at which the clock on the wall shows w or a later time.
func reach(loc *time.Location, w wall) time.Time {
	// No zone is, or was, more than 16 hours from UTC, so 40 hours before is before any clock showed w, even where a
	// whole day was lived twice.
	t := time.Unix(int64(w)-40*hour, 0).In(loc)
	for {
		_, offset := t.Zone()
		_, end := t.ZoneBounds()
		if !end.IsZero() && !end.After(t) {
			end = t.Add(time.Hour) // On the last day of leap years Go says that the zone ended already.
		}
		first := max(int64(w)-int64(offset), t.Unix()) // At the jump itself, if the clock jumps past w.
		if end.IsZero() || first < end.Unix() {
			return time.Unix(first, 0).In(loc)
		}
		t = end
	}
}

// clock is a clock on the wall near one instant. It knows how far it is from UTC and until when, so that times that are
// not within two days of a jump cost nothing to convert.
type clock struct {
	loc        *time.Location
	offset     int64
	calm, jump int64 // In Unix seconds, between which reach(loc, w) is w less the offset.
}

func clockAt(loc *time.Location, t time.Time) clock {
	t = t.In(loc)
	_, offset := t.Zone()
	start, end := t.ZoneBounds()
	c := clock{loc: loc, offset: int64(offset), calm: math.MinInt64, jump: math.MaxInt64}
	if !start.IsZero() {
		c.calm = start.Unix() + 40*hour
	}
	if !end.IsZero() {
		c.jump = end.Unix()
	}
	return c
}

func (c clock) reach(w wall) time.Time {
	if t := int64(w) - c.offset; t >= c.calm && t < c.jump {
		return time.Unix(t, 0)
	}
	return reach(c.loc, w)
}

// shown returns what the clock shows at t, which is near.
func (c clock) shown(t time.Time) wall { return wall(t.Unix() + c.offset) }

// shown returns what the clock on the wall shows at t.
func shown(loc *time.Location, t time.Time) wall {
	_, offset := t.In(loc).Zone()
	return wall(t.Unix() + int64(offset))
}

// find returns which of ever later local times was the last to be reached at t, when that was and when the next is. guess
// is the one that a clock that never jumps would say; at gives them by number, rising. It looks at two of them, and at
// some more within hours of a jump.
func (c clock) find(t time.Time, guess int64, at func(int64) wall) (n int64, from, to time.Time) {
	n, from = guess, c.reach(at(guess))
	for from.After(t) {
		n--
		from = c.reach(at(n))
	}
	to = c.reach(at(n + 1))
	for !to.After(t) {
		n, from = n+1, to
		to = c.reach(at(n + 1))
	}
	return n, from, to
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
