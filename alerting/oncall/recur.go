package oncall

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	ics "github.com/arran4/golang-ical"
	"github.com/teambition/rrule-go"
)

// moment is a value of DTSTART and its like (RFC 5545, 3.3.4 and 3.3.5).
type moment struct {
	wall wall
	loc  *time.Location
	date bool // A whole day.
}

// lastYear is the last of which occurrences are known.
const lastYear = 2099

// parseMoment reads a date or a date with time; loc is for those that name no timezone.
func parseMoment(p ics.BaseProperty, loc *time.Location) (moment, error) {
	if ids := p.ICalParameters["TZID"]; len(ids) == 1 {
		named, err := zone(strings.TrimPrefix(ids[0], "/"))
		if err != nil {
			return moment{}, fmt.Errorf("there is no timezone %q in the IANA list", shorten(ids[0]))
		}
		loc = named
	}
	return momentOf(p.Value, loc)
}

func momentOf(value string, loc *time.Location) (moment, error) {
	layouts := map[int]string{8: rrule.DateFormat, 15: rrule.LocalDateTimeFormat, 16: rrule.DateTimeFormat}
	t, err := time.Parse(layouts[len(value)], value)
	if err != nil || t.Year() < 1900 || t.Year() > lastYear {
		return moment{}, fmt.Errorf("%q is not a date between 1900 and %d", shorten(value), lastYear)
	}
	if len(value) == 16 {
		loc = time.UTC
	}
	return moment{wall(t.Unix()), loc, len(value) == 8}, nil
}

// recur returns the beginnings of an event: RRULE and RDATE, without EXDATE and what was moved.
func recur(e *ics.VEvent, from moment, loc *time.Location, without []wall) ([]wall, error) {
	starts := []wall{from.wall}
	if p := e.GetProperty(ics.ComponentPropertyRrule); p != nil {
		if len(e.GetProperties(ics.ComponentPropertyRrule)) > 1 {
			return nil, errors.New("it has several RRULEs")
		}
		var err error
		if starts, err = expand(p.Value, from); err != nil {
			return nil, fmt.Errorf("RRULE %s: %w", shorten(p.Value), err)
		}
	}
	list := func(property ics.ComponentProperty) (all []wall, err error) {
		for _, p := range e.GetProperties(property) {
			for value := range strings.SplitSeq(p.Value, ",") {
				value, _, _ = strings.Cut(value, "/") // Of a period its beginning.
				one := p.BaseProperty
				one.Value = value
				m, err := parseMoment(one, loc)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", property, err)
				}
				if m.loc.String() != from.loc.String() && !m.date {
					m.wall = shown(from.loc, reach(m.loc, m.wall))
				}
				all = append(all, m.wall)
			}
		}
		return all, nil
	}
	more, err := list(ics.ComponentPropertyRdate)
	if err != nil {
		return nil, err
	}
	not, err := list(ics.ComponentPropertyExdate)
	if err != nil {
		return nil, err
	}
	not = append(not, without...)
	starts = append(starts, more...)
	slices.Sort(starts)
	slices.Sort(not)
	return slices.DeleteFunc(slices.Compact(starts), func(w wall) bool {
		_, found := slices.BinarySearch(not, w)
		return found
	}), nil
}

// expand writes a recurrence out, in local time: the library is told that everything is in UTC, where no clock jumps.
func expand(rule string, from moment) ([]wall, error) {
	o, err := rrule.StrToROption(strings.ToUpper(rule))
	if err != nil {
		return nil, err
	}
	byTime := len(o.Byhour) + len(o.Byminute) + len(o.Bysecond)
	byDay := len(o.Bymonth) + len(o.Bymonthday) + len(o.Byyearday) + len(o.Byweekno) + len(o.Byweekday) + len(o.Bysetpos) + len(o.Byeaster)
	switch {
	case o.Freq > rrule.DAILY || byTime > 0:
		return nil, errors.New("holidays recur by day, week, month or year")
	case o.Freq == rrule.DAILY && byDay > 0:
		return nil, errors.New("write FREQ=WEEKLY, MONTHLY or YEARLY instead of a daily rule that leaves days out")
	case o.Interval > 1000 || o.Count < 0:
		return nil, errors.New("INTERVAL or COUNT is out of range")
	}
	o.Dtstart = time.Unix(int64(from.wall), 0).UTC()
	last := time.Date(lastYear+1, 1, 1, 0, 0, 0, 0, time.UTC)
	if !o.Until.IsZero() && strings.HasSuffix(untilOf(rule), "Z") && !from.date {
		o.Until = time.Unix(int64(shown(from.loc, o.Until)), 0).UTC()
	}
	if o.Until.IsZero() || o.Until.After(last) {
		o.Until = last
	}
	r, err := rrule.NewRRule(*o)
	if err != nil {
		return nil, err
	}
	var all []wall
	for next := r.Iterator(); ; {
		t, ok := next()
		if !ok || t.After(o.Until) {
			return all, nil
		}
		if all = append(all, wall(t.Unix())); len(all) > maxOccurrences {
			return nil, fmt.Errorf("it happens more than %d times", maxOccurrences)
		}
	}
}

func untilOf(rule string) string {
	for part := range strings.SplitSeq(strings.ToUpper(rule), ";") {
		if value, ok := strings.CutPrefix(part, "UNTIL="); ok {
			return value
		}
	}
	return ""
}

var lengthForm = regexp.MustCompile(`^\+?P(?:(\d{1,4})W|(?:(\d{1,4})D)?(?:T(?:(\d{1,5})H)?(?:(\d{1,6})M)?(?:(\d{1,8})S)?)?)$`)

// parseLength reads a duration (RFC 5545, 3.3.6), in seconds.
func parseLength(s string) (wall, error) {
	parts := lengthForm.FindStringSubmatch(s)
	if parts == nil || strings.HasSuffix(s, "P") || strings.HasSuffix(s, "T") {
		return 0, fmt.Errorf("%q is not a duration such as P1D", shorten(s))
	}
	var total wall
	for i, scale := range []wall{week, day, hour, minute, 1} {
		if n, err := strconv.Atoi(parts[i+1]); err == nil {
			total += wall(n) * scale
		}
	}
	return total, nil
}
