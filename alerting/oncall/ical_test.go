package oncall_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	ics "github.com/arran4/golang-ical"

	"kemi.dev/kemi/alerting/oncall"
)

func feed(t *testing.T, r *oncall.Roster, from, to string) (*ics.Calendar, string) {
	t.Helper()
	var b bytes.Buffer
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	if err := r.WriteICal(&b, "network", at(t, "Asia/Seoul", from), at(t, "Asia/Seoul", to), now); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	c, err := ics.ParseCalendar(&b)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return c, text
}

// lines shows the events of a calendar, each on one line.
func lines(c *ics.Calendar, uid bool) string {
	var b strings.Builder
	for _, e := range c.Events() {
		for _, p := range []ics.ComponentProperty{ics.ComponentPropertyDtStart, ics.ComponentPropertyDtEnd, ics.ComponentPropertySummary} {
			b.WriteString(ics.FromText(e.GetProperty(p).Value) + " ")
		}
		if uid {
			b.WriteString(e.Id())
		}
		b.WriteString("\n")
	}
	return b.String()
}

func TestTheCalendarHasEveryShiftOfBothRoles(t *testing.T) {
	c, text := feed(t, roster(t, weekly), "2026-01-01 00:00", "2026-01-12 12:00")
	check(t, strings.ReplaceAll(lines(c, false), " \n", "\n"), `
20251231T150000Z 20260105T000000Z nobody on call: network
20260105T000000Z 20260112T000000Z Jo Kim on call: network (primary)
20260112T000000Z 20260119T000000Z sun on call: network (primary)
20260105T000000Z 20260112T000000Z sun on call: network (secondary)
20260112T000000Z 20260119T000000Z lee on call: network (secondary)
`)
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\r\n"), "\r\n") {
		if strings.ContainsAny(line, "\r\n") || len(line) > 75 {
			t.Errorf("line %q is not as RFC 5545 (3.1) wants it", line)
		}
	}
	for _, want := range []string{"METHOD:PUBLISH", "VERSION:2.0", "X-WR-TIMEZONE:Asia/Seoul", "DTSTAMP:20260101T000000Z", "DESCRIPTION:the turn of jo in layer 1", "\nREFRESH-INTERVAL;VALUE=DURATION:PT15M\r"} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %s in\n%s", want, text)
		}
	}
}

func TestAnEventKeepsItsUIDWhoeverTakesOver(t *testing.T) {
	r := roster(t, weekly)
	uids := func() map[string]string {
		c, _ := feed(t, r, "2026-01-05 09:00", "2026-01-26 09:00")
		out := map[string]string{}
		for _, e := range c.Events() {
			if out[e.Id()] != "" {
				t.Errorf("%s is there twice", e.Id())
			}
			out[e.Id()] = e.GetProperty(ics.ComponentPropertySummary).Value
		}
		return out
	}
	before := uids()
	override(t, r, "o", "boss", "jo", "2026-01-05 09:00", "2026-01-12 09:00", 1)
	after, changed := uids(), 0
	for id, who := range before {
		if after[id] == "" {
			t.Errorf("%s of %s is gone", id, who)
		}
		if after[id] != who {
			changed++
		}
	}
	if len(before) != 6 || len(after) != 6 || changed != 1 {
		t.Errorf("before %v\nafter %v", before, after)
	}
}

func TestNamesCannotBreakTheCalendar(t *testing.T) {
	r := roster(t, `
people:
  jo: {name: "Jo; Kim, \"the\nEND:VCALENDAR\r\nBEGIN:VEVENT 불난 집", mail: jo@example.org}
schedules:
  network: {layers: [{people: [jo]}]}
`)
	c, text := feed(t, r, "2026-01-05 09:00", "2026-01-06 09:00")
	if len(c.Events()) != 1 || strings.Count(text, "\nEND:VCALENDAR") != 1 || !strings.Contains(lines(c, false), "불난 집") {
		t.Errorf("%s", text)
	}
	if err := r.WriteICal(&bytes.Buffer{}, "shop", time.Now(), time.Now(), time.Now()); err == nil {
		t.Error("a schedule that is not there has a calendar")
	}
}
