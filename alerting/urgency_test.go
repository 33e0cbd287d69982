package alerting

import (
	"testing"
	"time"

	"kemi.dev/kemi/bus/event"
)

// A team's hours are those of the clock on the wall: an hour that is skipped never comes, one that is there twice counts
// twice, and the last day of February is the 29th in a leap year.
func TestUrgencyFollowsTheClockOnTheWall(t *testing.T) {
	h := &house{t: t}
	room, problems := New(h.options(`
receivers: {box: {inbox: {}}}
teams: {default: {receiver: box, urgency: {warning: {night: page, month-end: log, default: notify}}}}
time_intervals:
  - {name: night, time_intervals: [{times: [{start_time: "02:00", end_time: "03:00"}], location: Europe/Berlin}]}
  - {name: month-end, time_intervals: [{days_of_month: ["-1"], months: [february], location: Europe/Berlin}]}
`, nil))
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	for at, want := range map[string]event.Urgency{
		"2027-03-27T00:59:59Z": event.UrgencyNotify, // 01:59:59
		"2027-03-27T01:00:00Z": event.UrgencyPage,   // 02:00
		"2027-03-27T02:00:00Z": event.UrgencyNotify, // 03:00
		"2027-03-28T00:59:59Z": event.UrgencyNotify, // 01:59:59, and then 03:00.
		"2027-03-28T01:00:00Z": event.UrgencyNotify,
		"2027-03-29T00:00:00Z": event.UrgencyPage, // 02:00 in summer.
		"2027-10-30T23:59:59Z": event.UrgencyNotify,
		"2027-10-31T00:00:00Z": event.UrgencyPage, // 02:00 for the first time,
		"2027-10-31T01:00:00Z": event.UrgencyPage, // for the second,
		"2027-10-31T01:59:59Z": event.UrgencyPage,
		"2027-10-31T02:00:00Z": event.UrgencyNotify, // and then 03:00.
		"2028-02-28T12:00:00Z": event.UrgencyNotify,
		"2028-02-28T22:59:59Z": event.UrgencyNotify,
		"2028-02-28T23:00:00Z": event.UrgencyLog, // The 29th.
		"2028-02-29T22:59:59Z": event.UrgencyLog,
		"2028-02-29T23:00:00Z": event.UrgencyNotify,
		"2027-02-28T12:00:00Z": event.UrgencyLog,
	} {
		now, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		if got, why := room.people.Urgency("default", "warning", now); got != want {
			t.Errorf("%s: %s, want %s (%s)", at, got, want, why.Text)
		}
	}
}
