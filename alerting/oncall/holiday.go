package oncall

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"

	ics "github.com/arran4/golang-ical"

	"kemi.dev/kemi/internal/conf"
)

// Bounds of a calendar of holidays: real ones have some hundred events.
const (
	maxCalendar    = 4 << 20 // Bytes.
	maxOccurrences = 50_000
)

// read reads the calendar; floating and whole-day events are in the schedule's timezone.
func (h *Holidays) read(loc *time.Location) ([]span, conf.Problems) {
	text, what, do := h.ReadFile(h.File)
	if what != "" {
		return nil, conf.Problems{h.Problem("read the holidays: "+what, do)}
	}
	days, err := parseHolidays(text, loc)
	if err != nil {
		return nil, conf.Problems{h.Problem("read the holidays: "+h.Path(h.File)+": "+err.Error(), "name an iCalendar file (RFC 5545), as calendar programs export it")}
	}
	return days, nil
}

// parseHolidays returns when the events of an iCalendar file are. Cancelled ones are left out; that an event leaves its
// time free (TRANSP) means nothing, because published calendars of holidays say so of all of them. What recurs is known
// up to the end of the year 2099.
func parseHolidays(text []byte, loc *time.Location) ([]span, error) {
	if len(text) > maxCalendar {
		return nil, fmt.Errorf("the calendar is larger than %d MB", maxCalendar>>20)
	}
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	if !bytes.HasSuffix(bytes.ToUpper(bytes.TrimSpace(text)), []byte("END:VCALENDAR")) {
		return nil, errors.New("it is not a calendar, or its end is missing")
	}
	calendar, err := ics.ParseCalendar(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("parse calendar: %w", err)
	}
	moved := map[string][]wall{} // Occurrences that have an event of their own, by event.
	for _, e := range calendar.Events() {
		if p := e.GetProperty(ics.ComponentPropertyRecurrenceId); p != nil {
			at, err := parseMoment(p.BaseProperty, loc)
			if err != nil {
				return nil, fmt.Errorf("event %s: RECURRENCE-ID: %w", nameOf(e), err)
			}
			moved[e.Id()] = append(moved[e.Id()], at.wall)
		}
	}
	var all []span
	for _, e := range calendar.Events() {
		if p := e.GetProperty(ics.ComponentPropertyStatus); p != nil && strings.EqualFold(p.Value, string(ics.ObjectStatusCancelled)) {
			continue
		}
		without := moved[e.Id()]
		if e.GetProperty(ics.ComponentPropertyRecurrenceId) != nil {
			without = nil
		}
		spans, err := occurrences(e, loc, without)
		if err != nil {
			return nil, fmt.Errorf("event %s: %w", nameOf(e), err)
		}
		if all = append(all, spans...); len(all) > maxOccurrences {
			return nil, fmt.Errorf("the events happen more than %d times", maxOccurrences)
		}
	}
	if len(all) == 0 {
		return nil, errors.New("there is no event in it")
	}
	return apart(all), nil
}

// occurrences returns when an event is.
func occurrences(e *ics.VEvent, loc *time.Location, without []wall) ([]span, error) {
	start := e.GetProperty(ics.ComponentPropertyDtStart)
	if start == nil {
		return nil, errors.New("it has no DTSTART")
	}
	from, err := parseMoment(start.BaseProperty, loc)
	if err != nil {
		return nil, fmt.Errorf("DTSTART: %w", err)
	}
	length, err := lengthOf(e, from, loc)
	if err != nil {
		return nil, err
	}
	starts, err := recur(e, from, loc, without)
	if err != nil {
		return nil, err
	}
	var name string
	if p := e.GetProperty(ics.ComponentPropertySummary); p != nil {
		name = shorten(ics.FromText(p.Value))
	}
	out := make([]span, 0, len(starts))
	for _, w := range starts {
		out = append(out, span{reach(from.loc, w), reach(from.loc, w+length), name})
	}
	return out, nil
}

// lengthOf is how long an event lasts on the clock on the wall.
func lengthOf(e *ics.VEvent, from moment, loc *time.Location) (wall, error) {
	var length wall
	switch end, dur := e.GetProperty(ics.ComponentPropertyDtEnd), e.GetProperty(ics.ComponentPropertyDuration); {
	case end != nil:
		to, err := parseMoment(end.BaseProperty, loc)
		if err != nil {
			return 0, fmt.Errorf("DTEND: %w", err)
		}
		length = shown(from.loc, reach(to.loc, to.wall)) - from.wall
		if to.loc.String() == from.loc.String() {
			length = to.wall - from.wall
		}
	case dur != nil:
		seconds, err := parseLength(dur.Value)
		if err != nil {
			return 0, fmt.Errorf("DURATION: %w", err)
		}
		length = seconds
	case from.date:
		length = day
	}
	if length < 0 {
		return 0, errors.New("it ends before it starts")
	}
	if length > 366*day {
		return 0, errors.New("it lasts longer than a year")
	}
	return length, nil
}

// nameOf names an event for people.
func nameOf(e *ics.VEvent) string {
	for _, property := range []ics.ComponentProperty{ics.ComponentPropertySummary, ics.ComponentPropertyUniqueId} {
		if p := e.GetProperty(property); p != nil && strings.TrimSpace(p.Value) != "" {
			return fmt.Sprintf("%q", shorten(ics.FromText(p.Value)))
		}
	}
	return "without a name"
}

// shorten makes one line of at most 80 characters.
func shorten(s string) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "?")), " ")
	if runes := []rune(s); len(runes) > 80 {
		return string(runes[:79]) + "…"
	}
	return s
}
