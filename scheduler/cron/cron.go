// Package cron reads cron expressions and says when they are due.
//
// In: the five fields of crontab(5), or @hourly, @daily, @weekly, @monthly, @yearly, with CRON_TZ=Zone before them where
// the zone matters (else UTC). Out: the instants at which they are due.
// It promises an error, never a panic, for what does not parse or is never due, and that a day on which clocks are put
// forward or back has each fixed time exactly once.
// It never reads a clock.
package cron

import (
	"errors"
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // Zones must be known in containers without them too.

	"github.com/robfig/cron/v3"
)

// Schedule is a parsed expression.
type Schedule struct {
	zone *time.Location
	// wall is evaluated on the clock on the wall as if that were UTC: UTC knows no changes of the clock. It serves
	// expressions that name hours.
	wall cron.Schedule
	// real is evaluated in the zone itself. It serves expressions for every hour, which mean intervals.
	real cron.Schedule
}

// Check says what is wrong with an expression.
func Check(expression string) error {
	_, err := Parse(expression)
	return err
}

// Parse reads an expression.
func Parse(expression string) (s *Schedule, err error) {
	defer func() {
		// The parser indexes its input freely.
		if r := recover(); r != nil {
			s, err = nil, errors.New("it is not a cron expression")
		}
	}()
	zone, fields := time.UTC, strings.TrimSpace(expression)
	for _, prefix := range []string{"CRON_TZ=", "TZ="} {
		rest, ok := strings.CutPrefix(fields, prefix)
		if !ok {
			continue
		}
		name, after, _ := strings.Cut(rest, " ")
		if zone, err = time.LoadLocation(name); err != nil || name == "" {
			return nil, fmt.Errorf("there is no time zone %q", name)
		}
		fields = strings.TrimSpace(after)
		break
	}
	switch {
	case fields == "":
		return nil, errors.New("the five fields are missing")
	case strings.Contains(fields, "="):
		return nil, errors.New("only one time zone can be given, before the fields")
	case strings.HasPrefix(fields, "@every"):
		return nil, errors.New("intervals are given by every: instead")
	}
	parsed, err := cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor).Parse(fields)
	if err != nil {
		return nil, err
	}
	spec, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return nil, errors.New("it is not a cron expression")
	}
	s = &Schedule{zone: zone}
	wall, real := *spec, *spec
	wall.Location, real.Location = time.UTC, zone
	s.wall = &wall
	const everyHour = 1<<24 - 1
	if spec.Hour&everyHour == everyHour {
		s.real = &real
	}
	// A leap year begins within the five years that are looked through.
	if s.Next(time.Date(2023, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return nil, errors.New("it is never due, no year has such a day")
	}
	return s, nil
}

// Next is the first instant after t at which the expression is due, in UTC; the zero time when there is none within five
// years. A time of day that does not exist, because clocks are put forward, is due at the instant they are; one that is
// there twice, because they are put back, is due the first time only. Expressions for every hour follow real time.
func (s *Schedule) Next(t time.Time) time.Time {
	if s.real != nil {
		next := s.real.Next(t.In(s.zone))
		if next.IsZero() {
			return time.Time{}
		}
		return next.UTC()
	}
	wall := onTheWall(t.In(s.zone))
	for {
		wall = s.wall.Next(wall)
		if wall.IsZero() {
			return time.Time{}
		}
		if next := instant(wall, s.zone); next.After(t) {
			return next
		}
	}
}

// onTheWall gives what the clock shows at t, as a time in UTC.
func onTheWall(t time.Time) time.Time {
	_, offset := t.Zone()
	return time.Unix(t.Unix()+int64(offset), 0).UTC()
}

// instant is when the clock of the zone shows the wall time for the first time, or when it jumps over it.
func instant(wall time.Time, zone *time.Location) time.Time {
	const day = 24 * time.Hour
	_, before := wall.Add(-day).In(zone).Zone()
	_, after := wall.Add(day).In(zone).Zone()
	var first time.Time
	for _, offset := range []int{before, after} {
		at := wall.Add(-time.Duration(offset) * time.Second)
		if onTheWall(at.In(zone)).Equal(wall) && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	if !first.IsZero() {
		return first
	}
	jump, _ := wall.Add(-time.Duration(before) * time.Second).In(zone).ZoneBounds()
	return jump.UTC()
}
