package oncall

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"kemi.dev/kemi/internal/conf"
)

const (
	minute = 60
	hour   = 60 * minute
	day    = 24 * hour
	week   = 7 * day
)

// Local is a date and a time of day as a clock on the wall shows them; which instant that is depends on the timezone. The
// zero Local stands for "not given".
type Local struct {
	at    wall
	given bool
}

// wall is a reading of a clock on the wall: seconds since 1970-01-01 00:00, as if there were no timezones.
type wall int64

// ParseLocal reads "2026-01-05 09:00", with a T for the space or with seconds if you like, or "2026-01-05" for midnight.
func ParseLocal(s string) (Local, error) {
	for _, layout := range []string{"2006-01-02 15:04", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02T15:04:05", time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return Local{at: wall(t.Unix()), given: true}, nil
		}
	}
	return Local{}, errors.New(`it is not a local date and time such as "2026-01-05 09:00"`)
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (l *Local) UnmarshalText(text []byte) (err error) {
	*l, err = ParseLocal(string(text))
	return err
}

// IsZero reports whether it was not given.
func (l Local) IsZero() bool { return !l.given }

// String returns it as "2026-01-05 09:00".
func (l Local) String() string {
	if !l.given {
		return ""
	}
	return time.Unix(int64(l.at), 0).UTC().Format("2006-01-02 15:04")
}

// Every is the length of a turn, as the clock on the wall counts it: a day has 24 hours also when the clocks change.
type Every time.Duration

// Bounds of Every.
const (
	minEvery = Every(time.Hour)
	maxEvery = Every(3660 * 24 * time.Hour)
)

// UnmarshalText implements encoding.TextUnmarshaler.
func (e *Every) UnmarshalText(text []byte) error {
	words := strings.Fields(strings.ToLower(string(text)))
	unit := map[string]Every{"day": day, "days": day, "week": week, "weeks": week, "hour": hour, "hours": hour}
	switch {
	case len(words) == 1 && unit[words[0]] != 0:
		*e = unit[words[0]] * Every(time.Second)
	case len(words) == 2 && unit[words[1]] != 0:
		n, err := strconv.Atoi(words[0])
		if err != nil || n < 1 || n > 100000 {
			return errors.New(`it is not a length such as "2 weeks"`)
		}
		*e = Every(n) * unit[words[1]] * Every(time.Second)
	default:
		d, err := conf.ParseDuration(string(text))
		if err != nil {
			return errors.New(`it is not day, week, "3 days", "2 weeks" or a duration such as 12h`)
		}
		*e = Every(d)
	}
	if *e < minEvery || *e > maxEvery || time.Duration(*e)%time.Minute != 0 {
		return errors.New("it is not a number of whole minutes between an hour and ten years")
	}
	return nil
}

// String returns it as people say it.
func (e Every) String() string {
	switch d := int64(time.Duration(e) / time.Second); {
	case d == week:
		return "week"
	case d == day:
		return "day"
	case d > 0 && d%week == 0:
		return strconv.FormatInt(d/week, 10) + " weeks"
	case d > 0 && d%day == 0:
		return strconv.FormatInt(d/day, 10) + " days"
	case d > 0 && d%hour == 0:
		return strconv.FormatInt(d/hour, 10) + "h"
	default:
		return time.Duration(e).String()
	}
}

// TimeOfDay is a time of day in minutes since midnight, from "00:00" to "24:00".
type TimeOfDay struct {
	minutes int
	given   bool
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (c *TimeOfDay) UnmarshalText(text []byte) error {
	hours, minutes, ok := strings.Cut(string(text), ":")
	h, err1 := strconv.Atoi(hours)
	m, err2 := strconv.Atoi(minutes)
	if !ok || err1 != nil || err2 != nil || len(minutes) != 2 || len(hours) > 2 || h < 0 || m < 0 || m > 59 || h*60+m > 24*60 {
		return errors.New(`it is not a time of day such as "09:00"`)
	}
	*c = TimeOfDay{h*60 + m, true}
	return nil
}

// String returns it as "09:00".
func (c TimeOfDay) String() string { return fmt.Sprintf("%02d:%02d", c.minutes/60, c.minutes%60) }

// Days are days of the week, one bit each from Monday on.
type Days uint8

// UnmarshalConf implements conf.Unmarshaler: "mon", "mon-fri", "sat, sun", "fri-mon", or a list of such.
func (d *Days) UnmarshalConf(n conf.Node) conf.Problems {
	*d = 0
	items := n.Items()
	if n.Kind() != conf.List {
		items = []conf.Node{n}
	}
	var problems conf.Problems
	for _, item := range items {
		if err := d.add(item.Text()); err != nil {
			problems = append(problems, item.Problem(err.Error(), "write it like mon-fri or [sat, sun]"))
		}
	}
	if len(problems) > 0 {
		return problems
	}
	if *d == 0 {
		return conf.Problems{n.Problem("there is no day in days", "write it like mon-fri, or leave it out for every day")}
	}
	return nil
}

func (d *Days) add(text string) error {
	for part := range strings.SplitSeq(strings.ToLower(text), ",") {
		first, last, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			last = first
		}
		from, to := dayNumber(first), dayNumber(last)
		if from < 0 || to < 0 {
			return fmt.Errorf("%q is not a day of the week", strings.TrimSpace(part))
		}
		for i := from; ; i = (i + 1) % 7 {
			*d |= 1 << i
			if i == to {
				break
			}
		}
	}
	return nil
}

// dayNumber counts from Monday, 0; it takes any beginning of the English name from three letters on. -1 is no day.
func dayNumber(s string) int {
	s = strings.TrimSpace(s)
	for i, full := range []string{"monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"} {
		if len(s) >= 3 && strings.HasPrefix(full, s) {
			return i
		}
	}
	return -1
}

// zone finds a timezone by its IANA name; empty is UTC. The machine's own zone has no name here, because a schedule must
// mean the same everywhere.
func zone(name string) (*time.Location, error) {
	switch name {
	case "":
		return time.UTC, nil
	case "Local":
		return nil, errors.New("the machine's own timezone is not a name")
	}
	return time.LoadLocation(name)
}
