package hush

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/teambition/rrule-go"
	"pgregory.net/rapid"

	"kemi.dev/kemi/bus/event"
)

// zones put their clocks forward and back on both halves of the world, by an hour and by half of one, at night and at
// midnight, or never; one crossed the date line.
func zones() []string {
	return []string{"UTC", "Asia/Seoul", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Havana", "Pacific/Apia", "Asia/Kolkata"}
}

func mustZone(t testing.TB, name string) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

func utc(text string) time.Time {
	t, err := time.Parse("2006-01-02 15:04", text)
	if err != nil {
		panic(err)
	}
	return t
}

// slowInstant finds when clocks show a wall time by looking at every quarter of an hour, which is as fine as any clock is changed.
func slowInstant(wall time.Time, zone *time.Location) time.Time {
	var before time.Time
	for t := wall.Add(-27 * time.Hour); t.Before(wall.Add(27 * time.Hour)); t = t.Add(15 * time.Minute) {
		local := t.In(zone)
		shown := time.Date(local.Year(), local.Month(), local.Day(), local.Hour(), local.Minute(), 0, 0, time.UTC)
		if shown.Equal(wall) {
			return t
		}
		if shown.Before(wall) {
			before = t
			continue
		}
		break // Left out.
	}
	_, offset := before.In(zone).Zone()
	return wall.Add(-time.Duration(offset) * time.Second)
}

func TestWallTimesThatComeTwiceAreTheFirstAndThoseLeftOutAreAsIfClocksWereNotPutForward(t *testing.T) {
	for _, c := range []struct{ zone, wall, want string }{
		{"America/New_York", "2026-03-08 02:30", "2026-03-08 07:30"}, // Left out: 03:30 summer time, as RFC 5545 has it.
		{"Europe/Berlin", "2026-03-29 02:30", "2026-03-29 01:30"},
		{"America/New_York", "2026-11-01 01:30", "2026-11-01 05:30"}, // Twice.
		{"Europe/Berlin", "2026-10-25 02:30", "2026-10-25 00:30"},
		{"Europe/Berlin", "2026-10-25 03:00", "2026-10-25 02:00"},
		{"America/Havana", "2026-03-08 00:30", "2026-03-08 05:30"}, // Midnight itself is left out.
		{"Pacific/Apia", "2011-12-30 12:00", "2011-12-30 22:00"},   // A day that Samoa never had.
		{"Asia/Seoul", "2026-01-05 09:00", "2026-01-05 00:00"},
	} {
		if got := instant(utc(c.wall), mustZone(t, c.zone)); !got.Equal(utc(c.want)) {
			t.Errorf("%s in %s is %s, want %s", c.wall, c.zone, got.UTC(), c.want)
		}
	}
}

func TestWallTimesAreThoseThatALookAtEveryQuarterOfAnHourFinds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		zone := mustZoneIn(rapid.SampledFrom(zones()).Draw(t, "zone"))
		wall := utc("2026-01-01 00:00").Add(time.Duration(rapid.IntRange(0, 365*24*4).Draw(t, "quarters")) * 15 * time.Minute)
		if rapid.Bool().Draw(t, "close to a change") {
			changes := changesOf(zone)
			if len(changes) > 0 {
				c := rapid.SampledFrom(changes).Draw(t, "change")
				wall = wallOf(c, zone).Truncate(time.Minute).Add(time.Duration(rapid.IntRange(-180, 180).Draw(t, "minutes")) * time.Minute)
			}
		}
		if got, want := instant(wall, zone), slowInstant(wall, zone); !got.Equal(want) {
			t.Fatalf("%s in %s: got %s, want %s", wall, zone, got.UTC(), want)
		}
	})
}

func mustZoneIn(name string) *time.Location {
	zone, err := time.LoadLocation(name)
	if err != nil {
		panic(err)
	}
	return zone
}

// changesOf lists when the clocks of a zone change in 2026.
func changesOf(zone *time.Location) []time.Time {
	var out []time.Time
	for t := utc("2026-01-01 00:00").In(zone); ; {
		_, end := t.ZoneBounds()
		if end.IsZero() || end.Year() > 2026 {
			return out
		}
		out = append(out, end)
		t = end
	}
}

// slowly lists when windows begin, counted from the rule's first time on, without any short cut.
func slowly(c *schedule, from, to time.Time) []time.Time {
	r, err := rrule.NewRRule(c.calendar.option)
	if err != nil {
		panic(err)
	}
	var out []time.Time
	for next := r.Iterator(); ; {
		wall, ok := next()
		if !ok || wall.After(to.Add(48*time.Hour)) {
			break
		}
		if wall.Before(from.Add(-75 * time.Hour)) { // Over by then: none lasts longer than 25 hours.
			continue
		}
		t := slowInstant(wall, c.zone)
		if !t.Before(c.starts) && t.Before(to) && (c.ends.IsZero() || t.Before(c.ends)) && (c.calendar.until.IsZero() || !t.After(c.calendar.until)) {
			out = append(out, t)
		}
	}
	slices.SortFunc(out, time.Time.Compare)
	return out
}

// drawRule draws a rule of the kinds that people write.
func drawRule(t *rapid.T) string {
	days := []string{"MO", "TU", "WE", "TH", "FR", "SA", "SU"}
	freq := rapid.SampledFrom([]string{"HOURLY", "DAILY", "WEEKLY", "MONTHLY", "YEARLY"}).Draw(t, "freq")
	rule := []string{"FREQ=" + freq}
	if rapid.Bool().Draw(t, "interval") {
		rule = append(rule, fmt.Sprintf("INTERVAL=%d", rapid.IntRange(1, 9).Draw(t, "every")))
	}
	if freq != "HOURLY" && rapid.Bool().Draw(t, "hours") {
		rule = append(rule, fmt.Sprintf("BYHOUR=%d,%d", rapid.IntRange(0, 3).Draw(t, "hour"), rapid.IntRange(0, 23).Draw(t, "other hour")))
	}
	switch rapid.IntRange(0, 3).Draw(t, "days") {
	case 1:
		rule = append(rule, "BYDAY="+strings.Join(rapid.SliceOfNDistinct(rapid.SampledFrom(days), 1, 3, rapid.ID[string]).Draw(t, "weekdays"), ","))
	case 2:
		if freq == "MONTHLY" {
			rule = append(rule, fmt.Sprintf("BYDAY=%d%s", rapid.SampledFrom([]int{1, 2, 4, -1}).Draw(t, "nth"), rapid.SampledFrom(days).Draw(t, "day")))
		} else if freq == "WEEKLY" {
			rule = append(rule, "BYDAY=TU,TH,SU", "BYSETPOS=-1", "WKST=SU")
		}
	case 3:
		if freq == "MONTHLY" || freq == "DAILY" {
			rule = append(rule, "BYMONTHDAY=1,15,-1")
		}
	}
	switch rapid.IntRange(0, 4).Draw(t, "end") {
	case 1:
		rule = append(rule, fmt.Sprintf("COUNT=%d", rapid.IntRange(1, 400).Draw(t, "count")))
	case 2:
		rule = append(rule, rapid.SampledFrom([]string{"UNTIL=20261025", "UNTIL=20260329T023000", "UNTIL=20261101T053000Z"}).Draw(t, "until"))
	}
	return strings.Join(rule, ";")
}

// drawWindow draws a recurring window of 2026, and the days in which it is to be looked at: mostly some on which clocks
// change.
func drawWindow(t *rapid.T) (s *event.Silence, from, to time.Time) {
	name := rapid.SampledFrom(zones()).Draw(t, "zone")
	from = utc("2026-01-01 00:00").Add(time.Duration(rapid.IntRange(0, 364).Draw(t, "day")) * 24 * time.Hour)
	if changes := changesOf(mustZoneIn(name)); len(changes) > 0 && rapid.IntRange(0, 2).Draw(t, "change") > 0 {
		from = rapid.SampledFrom(changes).Draw(t, "around").Add(-3 * 24 * time.Hour).Truncate(24 * time.Hour).UTC()
	}
	to = from.Add(time.Duration(rapid.IntRange(5, 9).Draw(t, "days")) * 24 * time.Hour)
	s = &event.Silence{
		ID: "w", Kind: event.MaintenanceWindow, Matchers: []event.Matcher{{Name: "a", Value: "b"}}, Timezone: name, By: "jo", Comment: "because",
		Recurs: drawRule(t), LastsSeconds: 60 * int64(rapid.SampledFrom([]int{1, 10, 30, 60, 90, 120, 24 * 60, 25 * 60}).Draw(t, "lasts")),
	}
	s.StartsAt = from.Add(-time.Duration(rapid.SampledFrom([]int{-3 * 24 * 60, 0, 25, 30 * 24 * 60, 700*24*60 + 95}).Draw(t, "minutes before")) * time.Minute)
	if rapid.IntRange(0, 3).Draw(t, "ends") == 0 {
		s.EndsAt = from.Add(time.Duration(rapid.IntRange(-2*24*60, 12*24*60).Draw(t, "ends after")) * time.Minute)
	}
	return s, from, to
}

func TestAWindowIsOpenExactlyWhileItsRuleSaysSo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, from, to := drawWindow(t)
		c, err := newSchedule(s)
		if err != nil {
			t.Skip(err) // Such as a rule whose days never come.
		}
		begin := slowly(c, from, to)
		var ask []time.Time
		for now := from; now.Before(to); now = now.Add(97 * time.Minute) {
			ask = append(ask, now)
		}
		for i := 0; i < len(begin); i += 1 + len(begin)/30 {
			b := begin[i]
			ask = append(ask, b.Add(-time.Nanosecond), b, b.Add(c.lasts-time.Nanosecond), b.Add(c.lasts))
		}
		for _, now := range ask {
			if now.Before(from) || !now.Before(to) {
				continue
			}
			// The last that began decides, because all of them last as long.
			n, _ := slices.BinarySearchFunc(begin, now, func(b, now time.Time) int {
				if b.After(now) {
					return 1
				}
				return -1
			})
			want := n > 0 && now.Before(begin[n-1].Add(c.lasts)) && (c.ends.IsZero() || now.Before(c.ends))
			got := c.at(now)
			if got.on != want {
				t.Fatalf("%s %s at %s: open %v, want %v; it begins at %v", s.Recurs, s.Timezone, now, got.on, want, begin)
			}
			if !got.covers(now) {
				t.Fatalf("%s at %s: the answer does not cover its own time: %+v", s.Recurs, now, got)
			}
		}
	})
}

func TestAWindowLastsItsTimeHoweverClocksAreChanged(t *testing.T) {
	s := &event.Silence{
		ID: "w", Matchers: []event.Matcher{{Name: "a", Value: "b"}}, StartsAt: utc("2026-03-01 00:30"), Recurs: "FREQ=DAILY;BYHOUR=1;BYMINUTE=30",
		LastsSeconds: 7200, Timezone: "Europe/Berlin",
	}
	c, err := newSchedule(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []struct{ from, to string }{
		{"2026-03-28 00:30", "2026-03-28 02:30"},
		{"2026-03-29 00:30", "2026-03-29 02:30"}, // Clocks are put forward in between.
		{"2026-03-29 23:30", "2026-03-30 01:30"},
		{"2026-10-24 23:30", "2026-10-25 01:30"}, // And back.
		{"2026-10-26 00:30", "2026-10-26 02:30"},
	} {
		from, to := utc(w.from), utc(w.to)
		before, during, after := c.at(from.Add(-time.Second)), c.at(from), c.at(to)
		if before.on || !before.to.Equal(from) || !during.on || !during.to.Equal(to) || after.on {
			t.Errorf("window from %s to %s: before %+v, during %+v, after %+v", from, to, before, during, after)
		}
	}
}

func TestAnOldRuleCostsNoMoreThanANewOne(t *testing.T) {
	for _, rule := range []string{"FREQ=HOURLY;INTERVAL=7", "FREQ=DAILY;INTERVAL=3", "FREQ=WEEKLY;INTERVAL=5;BYDAY=SA,SU", "FREQ=MONTHLY", "FREQ=YEARLY;INTERVAL=2"} {
		c, err := newSchedule(&event.Silence{StartsAt: utc("1970-01-01 00:15"), Recurs: rule, LastsSeconds: 600})
		if err != nil {
			t.Fatal(err)
		}
		next, steps := c.calendar.walls(utc("2026-06-01 00:00")), 0
		for wall, ok := next(); ok && wall.Before(utc("2026-06-01 00:00")); wall, ok = next() {
			steps++
		}
		if steps > 20 {
			t.Errorf("%s: %d steps to get to today", rule, steps)
		}
	}
}

func FuzzRecurrenceRule(f *testing.F) {
	for _, rule := range []string{
		"FREQ=WEEKLY;BYDAY=SU", "FREQ=MONTHLY;BYDAY=2TU;BYHOUR=3", "FREQ=YEARLY;BYWEEKNO=53;BYDAY=MO", "FREQ=YEARLY;BYDAY=53MO,-53FR", "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30",
		"FREQ=HOURLY;INTERVAL=999;BYDAY=MO", "FREQ=YEARLY;BYYEARDAY=-366", "FREQ=MONTHLY;BYSETPOS=-366;BYDAY=MO", "RRULE:FREQ=DAILY;COUNT=10000;", "FREQ=DAILY;UNTIL=20260230",
		"FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29;INTERVAL=1000",
	} {
		f.Add(rule, int64(1767225600), uint8(2), uint32(86400*40))
	}
	f.Fuzz(func(t *testing.T, rule string, start int64, zone uint8, later uint32) {
		names := zones()
		s := &event.Silence{Recurs: rule, StartsAt: time.Unix(start%4e9, 0), LastsSeconds: 3600, Timezone: names[int(zone)%len(names)]}
		c, err := newSchedule(s)
		if err != nil {
			if err.Error() == "" {
				t.Fatal("an error without words")
			}
			return
		}
		now := s.StartsAt.Add(time.Duration(later) * time.Second)
		for range 4 {
			in := c.at(now)
			if !in.covers(now) {
				t.Fatalf("%q: %+v does not cover %s", rule, in, now)
			}
			if in.to.IsZero() {
				break
			}
			if just := c.at(in.to.Add(-time.Nanosecond)); just.on != in.on {
				t.Fatalf("%q: %+v at %s, but %+v just before its end", rule, in, now, just)
			}
			now = in.to
		}
	})
}

func TestASpanEndsWhereTheAnswerDoes(t *testing.T) {
	for _, c := range []struct {
		rule, zone, starts, ends string
		lasts                    int64
		now                      string
		on                       bool
		to                       string
	}{
		{"FREQ=DAILY", "", "2026-01-05 11:00", "2026-01-06 11:30", 3600, "2026-01-06 11:10", true, "2026-01-06 11:30"},                            // Over in the midst of a window.
		{"FREQ=DAILY;COUNT=3", "", "2026-01-05 00:00", "2026-02-01 00:00", 86400, "2026-01-05 12:00", true, "2026-01-08 00:00"},                   // One after the other.
		{"FREQ=DAILY;COUNT=3", "", "2026-01-05 00:00", "2026-02-01 00:00", 86399, "2026-01-05 12:00", true, "2026-01-05 23:59"},                   // All but.
		{"FREQ=DAILY;BYHOUR=2;BYMINUTE=15,30", "Australia/Lord_Howe", "2026-10-01 00:00", "", 300, "2026-10-03 15:00", false, "2026-10-03 15:30"}, // 02:15 is left out and comes after 02:30.
	} {
		s := &event.Silence{Recurs: c.rule, Timezone: c.zone, StartsAt: utc(c.starts), LastsSeconds: c.lasts}
		if c.ends != "" {
			s.EndsAt = utc(c.ends)
		}
		schedule, err := newSchedule(s)
		if err != nil {
			t.Fatal(err)
		}
		if in := schedule.at(utc(c.now)); in.on != c.on || !in.to.Truncate(time.Minute).Equal(utc(c.to)) {
			t.Errorf("%s at %s: %+v, want %v until %s", c.rule, c.now, in, c.on, c.to)
		}
	}
}

func TestAnOldRuleKeepsTheDayOfItsStart(t *testing.T) {
	for rule, want := range map[string]string{"FREQ=MONTHLY": "2026-06-15 00:15", "FREQ=YEARLY;INTERVAL=2": "2028-01-15 00:15", "FREQ=WEEKLY": "2026-06-04 00:15"} {
		c, err := newSchedule(&event.Silence{StartsAt: utc("1970-01-15 00:15"), Recurs: rule, LastsSeconds: 600})
		if err != nil {
			t.Fatal(err)
		}
		if got := c.next(utc("2026-06-01 00:00")); !got.Equal(utc(want)) {
			t.Errorf("%s: %s, want %s", rule, got, want)
		}
	}
}
