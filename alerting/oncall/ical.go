package oncall

import (
	"cmp"
	"fmt"
	"io"
	"time"

	ics "github.com/arran4/golang-ical"

	"kemi.dev/kemi/bus/event"
)

// WriteICal writes the shifts of a schedule that have any part in [from, to) as an iCalendar file (RFC 5545), one event
// for each shift of either role. An event keeps its UID as long as the shift of that role begins at that time, so that
// calendar programs follow overrides instead of piling them up. now is when the calendar is made.
func (r *Roster) WriteICal(w io.Writer, schedule string, from, to, now time.Time) error {
	s := r.schedules[schedule]
	if s == nil {
		return fmt.Errorf("write calendar: there is no schedule %q", schedule)
	}
	c := ics.NewCalendarFor("kemi.dev")
	c.SetProductId("-//kemi.dev//on call//EN")
	c.SetMethod(ics.MethodPublish)
	c.SetXWRCalName("On call: " + schedule)
	c.SetXWRTimezone(s.loc.String())
	c.SetRefreshInterval("PT15M") // The library says itself that it is a duration.
	for _, role := range []Role{Primary, Secondary} {
		for _, shift := range r.Shifts(schedule, role, from, to) {
			if shift.Person == "" && role == Secondary {
				continue
			}
			begins, ends := shift.From, shift.To
			if begins.IsZero() {
				begins = from // Of what was always so, only the part that was asked for can be shown.
			}
			if ends.IsZero() {
				ends = to
			}
			e := c.AddEvent(shiftUID(schedule, role, shift.From))
			e.SetDtStampTime(now)
			e.SetStartAt(begins)
			e.SetEndAt(ends)
			e.SetSummary(r.title(schedule, role, shift.Person))
			e.SetDescription(shift.Why.Text)
			e.SetTimeTransparency(ics.TransparencyTransparent) // Being on call does not make anybody busy.
		}
	}
	if err := c.SerializeTo(w, ics.WithNewLine("\r\n")); err != nil {
		return fmt.Errorf("write calendar: %w", err)
	}
	return nil
}

func (r *Roster) title(schedule string, role Role, person string) string {
	if person == "" {
		return "nobody on call: " + schedule
	}
	return cmp.Or(r.people[person].Name, person) + " on call: " + schedule + " (" + string(role) + ")"
}

func shiftUID(schedule string, role Role, from time.Time) string {
	return event.ComputeID("shift", schedule, string(role), from.UTC().Format(time.RFC3339)) + "@kemi.dev"
}
