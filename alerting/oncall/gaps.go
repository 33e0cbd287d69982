package oncall

import (
	"strconv"
	"time"

	"kemi.dev/kemi/internal/conf"
)

// Gaps says of each schedule in which nobody is primary at some time within [from, to) when that is for the first time,
// and how often. They are warnings: a schedule for office hours has gaps, and that may be meant.
func (r *Roster) Gaps(from, to time.Time) conf.Problems {
	var problems conf.Problems
	for _, name := range r.Schedules() {
		var first Shift
		count := 0
		for _, shift := range r.Shifts(name, Primary, from, to) {
			if shift.Person != "" {
				continue
			}
			if count == 0 {
				first = shift
			}
			count++
		}
		if count == 0 {
			continue
		}
		s := r.schedules[name]
		what := "nobody is on call for \"" + name + "\" "
		if first.From.After(from) {
			what += "from " + s.show(first.From) + " "
		}
		what += s.until(first)
		if count > 1 {
			what += ", and " + strconv.Itoa(count-1) + " times more before " + s.show(to)
		}
		problems = append(problems, s.at.Problem(what, "add a layer below the others that always has somebody"))
	}
	return problems
}
