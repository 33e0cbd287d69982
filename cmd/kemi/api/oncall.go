package api

import (
	"bytes"
	"net/http"
	"strings"
	"time"

	"kemi.dev/kemi/alerting/oncall"
	"kemi.dev/kemi/bus/event"
)

// OnCall is who has duty in a schedule at an instant.
type OnCall struct {
	Schedule string    `json:"schedule"`
	Timezone string    `json:"timezone"`
	At       time.Time `json:"at"`
	// Primary is called first. Shifts of one person on end are one here.
	Primary Shift `json:"primary"`
	// Secondary helps the primary out; without a person when the schedule has none.
	Secondary Shift `json:"secondary"`
	// NextPrimary is who takes over; absent when nobody is in sight.
	NextPrimary *Shift `json:"next_primary,omitempty"`
}

// Shift is a stretch of time in which one person has duty, or nobody.
type Shift struct {
	Role oncall.Role `json:"role"`
	// Person by key, and by name; empty when it is nobody.
	Person string `json:"person"`
	Name   string `json:"name,omitempty"`
	// From and To bound it; absent when it was always so, or always will be.
	From time.Time `json:"from,omitzero"`
	To   time.Time `json:"to,omitzero"`
	// Why it is this person.
	Why event.Reason `json:"why"`
}

// Explained says why a person is or is not on call.
type Explained struct {
	Schedule string      `json:"schedule"`
	Role     oncall.Role `json:"role"`
	OnCall   bool        `json:"on_call"`
	// Ways are the receivers by which the person is reached, the first before the others.
	Ways   []string     `json:"ways"`
	Reason event.Reason `json:"reason"`
}

// The span of shifts that is answered without a word, and the longest.
const (
	fewShifts  = 14 * 24 * time.Hour
	mostShifts = 400 * 24 * time.Hour
)

func (d *Duty) shift(role oncall.Role, s oncall.Shift) Shift {
	out := Shift{Role: role, Person: s.Person, From: s.From, To: s.To, Why: s.Why}
	if p, there := d.Roster.Person(s.Person); there {
		out.Name = nameOf(p, s.Person)
	}
	return out
}

// turns is how many shifts of one person on end are one to whoever asks who is on call; after that no end is in sight.
const turns = 20

// duty is the shift of a role at an instant, to when somebody else takes over, or nobody.
func (d *Duty) duty(schedule string, role oncall.Role, at time.Time) Shift {
	s := d.shift(role, d.Roster.At(schedule, role, at))
	for range turns {
		if s.To.IsZero() {
			return s
		}
		next := d.Roster.At(schedule, role, s.To)
		if next.Person != s.Person {
			return s
		}
		s.To = next.To
	}
	s.To = time.Time{}
	return s
}

// chosen are the schedules that a query asks for: one, or all.
func (d *Duty) chosen(r *http.Request) ([]string, error) {
	name := r.URL.Query().Get("schedule")
	if name == "" {
		return d.Roster.Schedules(), nil
	}
	return []string{name}, known("schedule", name, d.Roster.Schedules())
}

func (d *Duty) onCall(w http.ResponseWriter, r *http.Request) {
	if !knows(w, r, "oncall", "schedule at") {
		return
	}
	at, err := instant(r, "at", time.Now())
	if err != nil {
		complain(w, err)
		return
	}
	names, err := d.chosen(r)
	if err != nil {
		complain(w, err)
		return
	}
	all := []OnCall{}
	for _, name := range names {
		o := OnCall{
			Schedule: name, Timezone: d.Roster.Location(name).String(), At: at.UTC(),
			Primary: d.duty(name, oncall.Primary, at), Secondary: d.duty(name, oncall.Secondary, at),
		}
		if next, there := d.Roster.Next(name, oncall.Primary, at); there {
			shift := d.shift(oncall.Primary, next)
			o.NextPrimary = &shift
		}
		all = append(all, o)
	}
	answer(w, http.StatusOK, all)
}

func (d *Duty) why(w http.ResponseWriter, r *http.Request) {
	if !knows(w, r, "oncall/why", "person schedule at") {
		return
	}
	person := r.URL.Query().Get("person")
	at, err := instant(r, "at", time.Now())
	if err == nil {
		err = known("person", person, d.Roster.People())
	}
	if err != nil {
		complain(w, err)
		return
	}
	names, err := d.chosen(r)
	if err != nil {
		complain(w, err)
		return
	}
	all, ways := []Explained{}, []string{}
	if p, there := d.Roster.Person(person); there {
		ways = append(ways, p.Ways...)
	}
	for _, name := range names {
		for _, role := range []oncall.Role{oncall.Primary, oncall.Secondary} {
			all = append(all, Explained{
				Schedule: name, Role: role, Ways: ways, OnCall: d.Roster.At(name, role, at).Person == person, Reason: d.Roster.Explain(name, role, person, at),
			})
		}
	}
	answer(w, http.StatusOK, all)
}

// span reads from and to of a query, and refuses what would take long.
func span(r *http.Request, from time.Time, length time.Duration) (time.Time, time.Time, error) {
	from, err := instant(r, "from", from)
	if err != nil {
		return from, from, err
	}
	to, err := instant(r, "to", from.Add(length))
	switch {
	case err != nil:
	case !to.After(from):
		err = wrong(http.StatusBadRequest, "to, %s, is not after from, %s: give a later one", stamp(to), stamp(from))
	case to.Sub(from) > mostShifts:
		err = wrong(http.StatusBadRequest, "from %s to %s is more than 400 days: ask for less at once", stamp(from), stamp(to))
	}
	return from, to, err
}

func (d *Duty) shifts(w http.ResponseWriter, r *http.Request) {
	if !knows(w, r, "shifts", "from to") {
		return
	}
	name := r.PathValue("name")
	err := known("schedule", name, d.Roster.Schedules())
	if err != nil {
		complain(w, err)
		return
	}
	from, to, err := span(r, time.Now(), fewShifts)
	if err != nil {
		complain(w, err)
		return
	}
	all := []Shift{}
	for _, role := range []oncall.Role{oncall.Primary, oncall.Secondary} {
		for _, s := range d.Roster.Shifts(name, role, from, to) {
			all = append(all, d.shift(role, s))
		}
	}
	answer(w, http.StatusOK, all)
}

// calendar is the feed that calendar programs subscribe to: last week and the coming quarter.
func (d *Duty) calendar(w http.ResponseWriter, r *http.Request) {
	if !knows(w, r, "the calendar", "from to") {
		return
	}
	name, found := strings.CutSuffix(r.PathValue("name"), ".ics")
	if !found {
		refuse(w, http.StatusNotFound, wrong(http.StatusNotFound, "nothing at %s: its calendar is at %s.ics, its shifts are at %s/shifts", r.URL.Path, r.URL.Path, r.URL.Path))
		return
	}
	if err := known("schedule", name, d.Roster.Schedules()); err != nil {
		complain(w, err)
		return
	}
	now := time.Now()
	const day = 24 * time.Hour
	from, to, err := span(r, now.Truncate(day).Add(-7*day), 97*day)
	if err != nil {
		complain(w, err)
		return
	}
	var b bytes.Buffer
	if err := d.Roster.WriteICal(&b, name, from, to, now); err != nil {
		refuse(w, http.StatusInternalServerError, err)
		return
	}
	w.Header().Set("Content-Type", "text/calendar; charset=utf-8")
	w.Header().Set("Cache-Control", "max-age=300")
	_, _ = b.WriteTo(w) // The caller has left; there is nobody to tell.
}
