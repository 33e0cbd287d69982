package oncall

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"kemi.dev/kemi/internal/conf"
)

// Gap is time in which nobody is primary.
type Gap struct {
	// Problem says for people when and why, and what to do.
	Problem conf.Problem
	// Always says that it is all of the time that was asked about, and all that comes after.
	Always bool
}

// Gap says when nobody is primary of a schedule for the first time within [from, to), and how often; false when somebody
// always is. A schedule for office hours has gaps, and that may be meant.
func (r *Roster) Gap(schedule string, from, to time.Time) (Gap, bool) {
	s := r.schedules[schedule]
	if s == nil {
		return Gap{}, false
	}
	var first Shift
	count := 0
	for _, shift := range r.Shifts(schedule, Primary, from, to) {
		if shift.Person != "" {
			continue
		}
		if count == 0 {
			first = shift
		}
		count++
	}
	if count == 0 {
		return Gap{}, false
	}
	begins := first.From
	what := "nobody is on call for \"" + schedule + "\" "
	if begins.After(from) {
		what += "from " + s.show(begins) + " "
	} else {
		begins = from
	}
	what += s.until(first)
	if count > 1 {
		what += ", and " + strconv.Itoa(count-1) + " times more before " + s.show(to)
	}
	do := "add a layer below the others that always has somebody"
	if left := s.allLeft(begins); left != "" {
		what, do = what+", when everybody in it has left ("+left+")", "name people who are there"
	}
	return Gap{s.at.Problem(what, do), first.To.IsZero() && !first.From.After(from)}, true
}

// allLeft names the people of a schedule and when they left, when that is all of them.
func (s *schedule) allLeft(t time.Time) string {
	var names, said []string
	for _, l := range s.layers {
		for _, p := range l.people {
			leaves, known := s.leaves[p]
			if !known || leaves.IsZero() || t.Before(leaves) {
				return ""
			}
			if !slices.Contains(names, p) {
				names, said = append(names, p), append(said, p+" on "+s.show(leaves))
			}
		}
	}
	return strings.Join(said, ", ")
}
