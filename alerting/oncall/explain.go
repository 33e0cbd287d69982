package oncall

import (
	"time"

	"kemi.dev/kemi/bus/event"
)

// The codes of Explain beside those of Shift.Why, which say that the person is on call.
const (
	// NotOnCall: somebody else is, or nobody.
	NotOnCall = "not-on-call"
	// Replaced: it would be the person's shift, but an override puts somebody else there.
	Replaced = "replaced"
	// OtherLayer: a layer has the person, but a later one wins.
	OtherLayer = "other-layer"
	// HasLeft: the person is never on call any more.
	HasLeft = "has-left"
	// NoSuchPerson: nobody of this key is known.
	NoSuchPerson = "no-such-person"
)

var zero time.Time

// Explain says why a person is or is not on call at t, who is instead, and when the person's next shift is.
func (r *Roster) Explain(schedule string, role Role, person string, t time.Time) event.Reason {
	r.mu.RLock()
	defer r.mu.RUnlock()
	s := r.schedules[schedule]
	if s == nil {
		return noSuch(schedule)
	}
	shift := s.shiftAt(role, t)
	duty := " " + string(role) + " of " + schedule + " on " + s.show(t)
	if shift.Person == person && person != "" {
		return event.Reason{Code: shift.Why.Code, Text: person + " is" + duty + ", " + s.until(shift) + ": " + shift.Why.Text, Causes: shift.Why.Causes}
	}
	code, why := s.whyNot(role, person, t)
	text := person + " is not" + duty + ": " + why
	if shift.Person == "" {
		text += "; nobody is, " + s.until(shift) + ": " + shift.Why.Text
	} else {
		text += "; " + shift.Person + " is, " + s.until(shift) + ": " + shift.Why.Text
	}
	if code != HasLeft && code != NoSuchPerson {
		if next, ok := s.after(role, shift, func(p string) bool { return p == person }); ok {
			text += "; " + person + " is next from " + s.show(next.From) + " to " + s.show(next.To)
		} else {
			text += "; no shift of " + person + " is in sight"
		}
	}
	return event.Reason{Code: code, Text: text, Causes: shift.Why.Causes}
}

// whyNot says what keeps a person from being on call.
func (s *schedule) whyNot(role Role, person string, t time.Time) (code, text string) {
	k := s.look(t)
	leaves, known := s.leaves[person]
	switch {
	case !known:
		return NoSuchPerson, "there is no such person"
	case !s.there(&k, person):
		return HasLeft, "left on " + s.show(leaves)
	}
	primary, _ := s.answer(Primary, t)
	mine, _ := s.answer(role, t)
	if role == Secondary && primary.person == person {
		return NotOnCall, "is the primary"
	}
	if role == Primary && mine.by.person == person {
		return Replaced, "was replaced"
	}
	o := s.override(&k, func(o *event.Override) bool { return o.For == person })
	if o != nil {
		return Replaced, o.Person + " takes the shifts of " + person + " (override " + o.ID + ")"
	}
	layers := s.layers
	if role == Secondary && len(s.backup) > 0 {
		layers = s.backup
	}
	for c := range s.offers(&k, layers) {
		if c.person == person && c.rank == 0 && mine.by.layer != nil && c.layer != mine.by.layer && role == Primary {
			return OtherLayer, "has the turn in " + c.layer.name + ", but " + mine.by.layer.name + " wins"
		}
	}
	for _, l := range layers {
		for _, p := range l.people {
			if p == person {
				return NotOnCall, "it is not the turn of " + person
			}
		}
	}
	return NotOnCall, person + " is in no rotation of the schedule"
}

func (s *schedule) until(shift Shift) string {
	if shift.To.IsZero() {
		return "for good"
	}
	return "until " + s.show(shift.To)
}

// show writes an instant as people of the schedule read it.
func (s *schedule) show(t time.Time) string {
	if t.IsZero() {
		return "ever"
	}
	return t.In(s.loc).Format("Mon 2006-01-02 15:04 MST")
}
