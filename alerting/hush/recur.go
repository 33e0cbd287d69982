package hush

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/teambition/rrule-go"

	"kemi.dev/kemi/internal/conf"
)

// Bounds of a recurrence rule: within them every question is answered in microseconds, and nothing can make the
// calendar run away.
const (
	maxRule     = 1000   // Bytes.
	maxInterval = 1000   // Days, weeks, months, years or hours.
	maxCount    = 10_000 // Times.
	maxDaily    = 288    // Times a day: every five minutes.
	maxLong     = 24     // Times a day of what is counted by months or years, all of which are listed at once.
)

// calendar gives the wall times at which a window begins.
type calendar struct {
	option rrule.ROption // Dtstart is a wall time.
	until  time.Time     // The last instant at which it may begin; zero is no end.
}

// ruleKeys are the parts of a rule that are understood (RFC 5545, 3.3.10).
func ruleKeys() []string {
	return []string{
		"FREQ", "INTERVAL", "COUNT", "UNTIL", "WKST", "BYDAY", "BYMONTH", "BYMONTHDAY", "BYYEARDAY", "BYWEEKNO", "BYHOUR", "BYMINUTE", "BYSETPOS",
	}
}

// parseRule reads a recurrence rule that begins at an instant and recurs by the clocks of a zone.
func parseRule(text string, starts time.Time, zone *time.Location) (*calendar, error) {
	if len(text) > maxRule {
		return nil, fmt.Errorf("the rule has %d bytes: use at most %d", len(text), maxRule)
	}
	text = strings.ToUpper(strings.TrimSpace(text))
	text = strings.TrimSuffix(strings.TrimPrefix(text, "RRULE:"), ";")
	var kept []string
	var until string
	parts := map[string]string{}
	for part := range strings.SplitSeq(text, ";") {
		key, value, ok := strings.Cut(part, "=")
		if !ok || value == "" {
			return nil, fmt.Errorf("%s is no part of a rule: write KEY=VALUE, such as FREQ=WEEKLY;BYDAY=SU", shortQuote(part))
		}
		if err := knownPart(key); err != nil {
			return nil, err
		}
		if _, twice := parts[key]; twice {
			return nil, fmt.Errorf("%s is there twice: leave one out", key)
		}
		parts[key] = value
		if key == "UNTIL" {
			until = value
			continue
		}
		kept = append(kept, part)
	}
	option, err := rrule.StrToROption(strings.Join(kept, ";"))
	if err != nil {
		return nil, fmt.Errorf("%w: write it like FREQ=WEEKLY;BYDAY=SU (RFC 5545, 3.3.10)", err)
	}
	if err := bounds(option, parts); err != nil {
		return nil, err
	}
	c := &calendar{option: *option}
	c.option.Dtstart = wallOf(starts, zone).Truncate(time.Second)
	spell(&c.option)
	if until != "" {
		if c.until, err = parseUntil(until, zone); err != nil {
			return nil, err
		}
	}
	// The library looks for a first time up to the year 9999. What is asked in the last of the centuries of which each
	// four are alike is answered twenty times as fast, when the answer is that there is none.
	late := *option
	late.Dtstart = c.option.Dtstart.AddDate((9600-c.option.Dtstart.Year())/400*400, 0, 0)
	r, err := rrule.NewRRule(late)
	if err != nil {
		return nil, fmt.Errorf("%w: write it like FREQ=WEEKLY;BYDAY=SU (RFC 5545, 3.3.10)", err)
	}
	if _, ever := r.Iterator()(); !ever {
		return nil, errors.New("it names no day that there is: correct its days and months")
	}
	return c, nil
}

// spell says what a rule takes from its start, the day of the month or year, so that it stays when the start is moved.
func spell(o *rrule.ROption) {
	if o.Freq > rrule.MONTHLY || len(o.Byweekno)+len(o.Byyearday)+len(o.Bymonthday)+len(o.Byweekday) > 0 {
		return
	}
	o.Bymonthday = []int{o.Dtstart.Day()}
	if o.Freq == rrule.YEARLY && len(o.Bymonth) == 0 {
		o.Bymonth = []int{int(o.Dtstart.Month())}
	}
}

func knownPart(key string) error {
	switch key {
	case "DTSTART", "TZID":
		return fmt.Errorf("%s does not belong into the rule: give the start and the timezone of the window instead", key)
	case "BYSECOND":
		return errors.New("BYSECOND is not supported: windows begin at whole minutes, use BYMINUTE")
	}
	if !slices.Contains(ruleKeys(), key) {
		if near := conf.Nearest(key, ruleKeys()); near != "" {
			return fmt.Errorf("there is no part %s: did you mean %s?", shortQuote(key), near)
		}
		return fmt.Errorf("there is no part %s: the parts are %s", shortQuote(key), strings.Join(ruleKeys(), ", "))
	}
	return nil
}

// bounds refuses what RFC 5545 does, what nobody means and what would never end.
func bounds(o *rrule.ROption, parts map[string]string) error {
	has := func(key string) bool { _, ok := parts[key]; return ok }
	switch {
	case o.Freq > rrule.HOURLY:
		return fmt.Errorf("FREQ=%s is not supported: use HOURLY or longer, or a window without an end", parts["FREQ"])
	case has("INTERVAL") && (o.Interval < 1 || o.Interval > maxInterval):
		return fmt.Errorf("INTERVAL is out of range: use 1 to %d", maxInterval)
	case has("COUNT") && (o.Count < 1 || o.Count > maxCount):
		return fmt.Errorf("COUNT is out of range: use 1 to %d", maxCount)
	case has("COUNT") && has("UNTIL"):
		return errors.New("COUNT and UNTIL exclude each other: leave one out")
	case o.Freq == rrule.HOURLY && has("BYHOUR"):
		return errors.New("BYHOUR does not go with FREQ=HOURLY: use FREQ=DAILY;BYHOUR=…")
	case o.Freq <= rrule.MONTHLY && max(1, len(o.Byhour))*max(1, len(o.Byminute)) > maxLong:
		return fmt.Errorf("it begins more than %d times a day: use fewer hours or minutes, or FREQ=DAILY with BYMONTH and BYMONTHDAY", maxLong)
	case max(1, len(o.Byhour))*max(1, len(o.Byminute)) > maxDaily:
		return fmt.Errorf("it begins more than %d times a day: use fewer hours or minutes", maxDaily)
	case o.Freq != rrule.YEARLY && has("BYWEEKNO"):
		return errors.New("BYWEEKNO goes with FREQ=YEARLY alone (RFC 5545, 3.3.10): use BYDAY or BYMONTHDAY")
	case o.Freq != rrule.YEARLY && has("BYYEARDAY"):
		return errors.New("BYYEARDAY goes with FREQ=YEARLY alone: use BYMONTHDAY")
	case o.Freq == rrule.HOURLY && has("BYMONTHDAY"):
		return errors.New("BYMONTHDAY does not go with FREQ=HOURLY: use FREQ=DAILY;BYHOUR=…")
	case o.Freq >= rrule.DAILY && has("BYSETPOS"):
		return errors.New("BYSETPOS goes with FREQ=WEEKLY or longer: use BYHOUR and BYMINUTE")
	case o.Freq == rrule.WEEKLY && has("BYMONTHDAY"):
		return errors.New("BYMONTHDAY does not go with FREQ=WEEKLY (RFC 5545, 3.3.10): use FREQ=MONTHLY")
	}
	zero := func(all []int) bool { return slices.Contains(all, 0) }
	if zero(o.Bymonthday) || zero(o.Byyearday) || zero(o.Byweekno) || zero(o.Bymonth) || zero(o.Bysetpos) {
		return errors.New("0 is no day, week, month or position: count from 1, or from -1 at the end")
	}
	return weekdays(o, has("BYWEEKNO"))
}

// weekdays judges ordinals such as 2TU, the second Tuesday.
func weekdays(o *rrule.ROption, byWeek bool) error {
	most := 5
	if o.Freq == rrule.YEARLY && len(o.Bymonth) == 0 {
		most = 53
	}
	for _, day := range o.Byweekday {
		n := day.N()
		switch {
		case n == 0:
		case o.Freq != rrule.MONTHLY && o.Freq != rrule.YEARLY || byWeek:
			return fmt.Errorf("BYDAY=%s counts the weeks of a month or year: use FREQ=MONTHLY, or the day alone", day)
		case n > most || n < -most:
			return fmt.Errorf("BYDAY=%s: there are at most %d of a weekday there", day, most)
		}
	}
	return nil
}

// parseUntil reads the last instant at which a window may begin. A day alone is meant with all of it.
func parseUntil(text string, zone *time.Location) (time.Time, error) {
	if t, err := time.Parse(rrule.DateTimeFormat, text); err == nil {
		return t, nil
	}
	if t, err := time.Parse(rrule.LocalDateTimeFormat, text); err == nil {
		return instant(t, zone), nil
	}
	t, err := time.Parse(rrule.DateFormat, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("UNTIL=%s is no time: write 20261231T235959Z or 20261231", short(text))
	}
	return instant(t.AddDate(0, 0, 1), zone).Add(-time.Nanosecond), nil
}

// walls iterates over the wall times at which windows begin, from some time before a wall time on. Without a count the
// rule is begun anew close to there, a whole number of its intervals later, which costs the same however old it is.
func (c *calendar) walls(from time.Time) func() (time.Time, bool) {
	o := c.option
	if o.Count == 0 {
		o.Dtstart = closer(o, from)
	}
	r, err := rrule.NewRRule(o)
	if err != nil { // parseRule made one of the same parts.
		return func() (time.Time, bool) { return time.Time{}, false }
	}
	return r.Iterator()
}

// closer is a later start with which a rule gives the same times from an instant on: a whole number of its intervals
// later, and at least one before the instant, because the first may be cut short.
func closer(o rrule.ROption, from time.Time) time.Time {
	start, every := o.Dtstart, max(1, o.Interval)
	var step time.Duration
	switch o.Freq {
	case rrule.HOURLY:
		step = time.Hour
	case rrule.DAILY:
		step = 24 * time.Hour
	case rrule.WEEKLY:
		step = 7 * 24 * time.Hour
	default:
		if o.Freq == rrule.YEARLY {
			every *= 12
		}
		months := 12*(from.Year()-start.Year()) + int(from.Month()) - int(start.Month())
		if n := months/every - 1; n > 0 {
			return time.Date(start.Year(), start.Month()+time.Month(n*every), 1, start.Hour(), start.Minute(), start.Second(), 0, time.UTC)
		}
		return start
	}
	step *= time.Duration(every)
	if n := int64(from.Sub(start)/step) - 1; n > 0 {
		return start.Add(time.Duration(n) * step)
	}
	return start
}
