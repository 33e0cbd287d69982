// Package oncall says who is on call. In: people, schedules (layers of rotations, holidays) and the overrides that people
// say. Out: for a schedule, a role and any instant the one person who has duty, from when to when and why; lists of
// shifts; a calendar to subscribe to. It promises that every instant has exactly one answer, computed from configuration
// and overrides alone, that hand-overs keep their local time through daylight saving, and that whoever has left is never
// on call. It never reads a clock, never remembers who was called, and never walks a rotation from its beginning.
//
// All local times follow one rule: what is to happen at a local time happens as soon as the clock on the wall shows that
// time or a later one. So a hand-over at 02:30 on the night that skips from 02:00 to 03:00 is at 03:00, and on the night
// that has 02:30 twice it is at the first.
package oncall

import (
	"maps"
	"slices"
	"sync"
	"time"
	_ "time/tzdata" // Zones must be known in containers without them too.

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/conf"
)

// Role is a duty within a schedule.
type Role string

// The roles.
const (
	// Primary is called first.
	Primary Role = "primary"
	// Secondary is called when the primary does not answer. Nobody is primary and secondary at once.
	Secondary Role = "secondary"
)

// Shift is a stretch of time in which one person has duty, or nobody.
type Shift struct {
	// Person on duty, by key; empty when it is nobody.
	Person string
	// From is when it begins; zero when it has been like that for ever.
	From time.Time
	// To is when it ends, which is not part of it; zero when nothing will end it.
	To time.Time
	// Why it is this person, or nobody, as seen at its beginning. Code is one of the Why… constants; Causes has the
	// identity of the override, if there is one.
	Why event.Reason
}

// The codes of Shift.Why.
const (
	WhyRotation  = "rotation"
	WhyHoliday   = "holiday"
	WhyOverride  = "override"
	WhyNextInRow = "next-in-rotation"
	WhyNobody    = "nobody"
	WhyNoSuch    = "no-such-schedule"
)

// Roster knows who is on call. It is safe for concurrent use; everything but Put and Drop only reads.
type Roster struct {
	people    map[string]Person
	schedules map[string]*schedule

	mu sync.RWMutex // Guards the overrides of the schedules, which Put and Drop replace.
}

// New makes a roster from what stands under `people:` and `schedules:`, and says everything that is wrong with them
// beyond what their Validate methods say while they are decoded. It reads the calendars of holidays. With problems the
// roster has what is right, so that a check can go on; nobody is to be called by it.
func New(people map[string]Person, schedules map[string]*Schedule) (*Roster, conf.Problems) {
	r := &Roster{people: maps.Clone(people), schedules: map[string]*schedule{}}
	var problems conf.Problems
	for _, key := range slices.Sorted(maps.Keys(people)) {
		problems = append(problems, personKey(key, people[key].Pos)...)
	}
	for _, name := range slices.Sorted(maps.Keys(schedules)) {
		if schedules[name] == nil {
			problems = append(problems, conf.Problem{What: "the schedule \"" + name + "\" is empty", Do: "write layers: below it"})
			continue
		}
		s, more := compile(name, schedules[name], people)
		if problems = append(problems, more...); len(more) == 0 {
			r.schedules[name] = s
		}
	}
	return r, problems
}

// People lists the keys of all people, sorted.
func (r *Roster) People() []string { return slices.Sorted(maps.Keys(r.people)) }

// Person returns a person by key.
func (r *Roster) Person(key string) (Person, bool) {
	p, ok := r.people[key]
	return p, ok
}

// Left says whether a person has left by t: nobody to call, whatever a list of theirs still says. The time is meant in
// the person's timezone, else in the schedule's, else in UTC.
func (r *Roster) Left(person, schedule string, t time.Time) bool {
	leaves := r.Leaves(person, schedule)
	return !leaves.IsZero() && !t.Before(leaves)
}

// Leaves is when a person leaves, meant as in Left; zero is never.
func (r *Roster) Leaves(person, schedule string) time.Time {
	p := r.people[person]
	if !p.Leaves.given {
		return time.Time{}
	}
	if s := r.schedules[schedule]; s != nil {
		return s.leaves[person]
	}
	home, err := zone(p.Timezone)
	if err != nil {
		home = time.UTC // Said when the configuration was read.
	}
	return reach(home, p.Leaves.at)
}

// Schedules lists the names of all schedules, sorted.
func (r *Roster) Schedules() []string { return slices.Sorted(maps.Keys(r.schedules)) }

// Location is the timezone of a schedule; UTC when there is no such schedule.
func (r *Roster) Location(schedule string) *time.Location {
	if s := r.schedules[schedule]; s != nil {
		return s.loc
	}
	return time.UTC
}

// At returns the shift that t is in. It costs some microseconds, whenever the rotation began: about two, and two more for
// each hand-over within the shift that makes no difference to it, such as the primary's within that of a secondary.
func (r *Roster) At(schedule string, role Role, t time.Time) Shift {
	r.mu.RLock()
	defer r.mu.RUnlock()
	s := r.schedules[schedule]
	if s == nil {
		return Shift{Why: noSuch(schedule)}
	}
	return s.shiftAt(role, t)
}

// Shifts returns the shifts that have any part in [from, to), in order, without gaps: time when nobody is on call is a
// shift without a person. The first may begin before from, the last may end after to. It costs some microseconds a shift.
func (r *Roster) Shifts(schedule string, role Role, from, to time.Time) []Shift {
	r.mu.RLock()
	defer r.mu.RUnlock()
	s := r.schedules[schedule]
	if s == nil || !from.Before(to) {
		return nil
	}
	all := []Shift{s.shiftAt(role, from)}
	for {
		end := all[len(all)-1].To
		if end.IsZero() || !end.Before(to) {
			return all
		}
		all = append(all, s.shiftFrom(role, end))
	}
}

// How far Next and Explain look to find somebody: this many shifts at most, and beyond a year no more than ten.
const (
	lookAhead = 1000
	lookFar   = 10
	aYear     = 366 * 24 * time.Hour
)

// Next returns the first shift after the one at t in which somebody else is on call, and false when there is none in
// sight: among the next ten shifts and, up to a thousand shifts, in the next year.
func (r *Roster) Next(schedule string, role Role, t time.Time) (Shift, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	s := r.schedules[schedule]
	if s == nil {
		return Shift{}, false
	}
	now := s.shiftAt(role, t)
	return s.after(role, now, func(person string) bool { return person != "" && person != now.Person })
}

// after finds the first shift after a shift whose person is wanted.
func (s *schedule) after(role Role, shift Shift, wanted func(person string) bool) (Shift, bool) {
	first := shift.To
	for i := range lookAhead {
		if shift.To.IsZero() || (i >= lookFar && shift.To.Sub(first) > aYear) {
			break
		}
		shift = s.shiftFrom(role, shift.To)
		if wanted(shift.Person) {
			return shift, true
		}
	}
	return Shift{}, false
}

func noSuch(schedule string) event.Reason {
	return event.Reason{Code: WhyNoSuch, Text: "there is no schedule \"" + schedule + "\""}
}
