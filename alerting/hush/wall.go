package hush

import "time"

// A wall time is what a clock on the wall shows, as a time.Time in UTC: the calendar is counted in it, so that a window
// begins at two o'clock whatever the offset of the day.

// wallOf returns what the clocks of a zone show at an instant.
func wallOf(t time.Time, zone *time.Location) time.Time {
	t = t.In(zone)
	_, offset := t.Zone()
	return t.Add(time.Duration(offset) * time.Second).UTC()
}

// instant returns when the clocks of a zone show a wall time: of one that comes twice the first, and one that is left
// out as if the clocks had not been put forward yet (RFC 5545, 3.3.5). time.Date decides both by the side of the world.
func instant(wall time.Time, zone *time.Location) time.Time {
	year, month, day := wall.Date()
	t := time.Date(year, month, day, wall.Hour(), wall.Minute(), wall.Second(), wall.Nanosecond(), zone)
	start, end := t.ZoneBounds()
	shown := wallOf(t, zone)
	switch {
	case shown.Before(wall): // Left out, taken by the offset after: clocks are put forward at the end of this one.
		return at(wall, end.Add(-time.Second), zone)
	case shown.After(wall): // Left out, taken by the offset before, as it should be.
	case !start.IsZero():
		if first := at(wall, start.Add(-time.Second), zone); first.Before(start) && wallOf(first, zone).Equal(wall) {
			return first
		}
	}
	return t
}

// at returns the instant of a wall time by the offset that a zone has at another instant.
func at(wall, offsetOf time.Time, zone *time.Location) time.Time {
	_, offset := offsetOf.In(zone).Zone()
	return wall.Add(-time.Duration(offset) * time.Second).In(zone)
}
