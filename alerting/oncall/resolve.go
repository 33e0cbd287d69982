package oncall

import (
	"cmp"
	"iter"
	"slices"
	"strconv"
	"time"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/conf"
)

// schedule is a Schedule made ready.
type schedule struct {
	name      string
	at        conf.Pos
	loc       *time.Location
	layers    []*layer // The last one is asked first.
	backup    []*layer // Of the secondary; none means the next of the primary's rotation.
	alone     bool     // There is no secondary.
	leaves    map[string]time.Time
	overrides []*event.Override // Newest first.
}

// compile makes a schedule ready and says what is wrong with it.
func compile(name string, s *Schedule, people map[string]Person) (*schedule, conf.Problems) {
	var problems conf.Problems
	// What was read from a file was judged while it was decoded, where each thing has its place.
	judged := func(at conf.Pos) bool { return at.Line > 0 }
	loc, err := zone(s.Timezone)
	if err != nil {
		if loc = time.UTC; !judged(s.Pos) {
			problems = append(problems, s.Problem("there is no timezone \""+s.Timezone+"\"", "use a name of the IANA list"))
		}
	}
	out := &schedule{name: name, at: s.Pos, loc: loc, alone: s.Secondary.None, leaves: map[string]time.Time{}}
	for key, p := range people {
		out.leaves[key] = time.Time{}
		if p.Leaves.given {
			home := loc
			if p.Timezone != "" {
				if home, err = zone(p.Timezone); err != nil {
					if home = loc; !judged(p.Pos) {
						problems = append(problems, p.Problem("there is no timezone \""+p.Timezone+"\"", "use a name of the IANA list"))
					}
				}
			}
			out.leaves[key] = reach(home, p.Leaves.at)
		}
	}
	take := func(l *Layer, name string) *layer {
		if !judged(l.Pos) {
			for _, c := range l.Validate() {
				problems = append(problems, l.Problem(c.What, c.Do))
			}
		}
		problems = append(problems, unknownPeople(l.People, people)...)
		return compileLayer(l, name, loc)
	}
	for i := range s.Layers {
		out.layers = append(out.layers, take(&s.Layers[i], layerName(i)))
	}
	for i := range s.Secondary.Layers {
		out.backup = append(out.backup, take(&s.Secondary.Layers[i], "secondary "+layerName(i)))
	}
	if h := s.Holidays; h != nil {
		l := h.Layer
		if l == nil && h.Person != nil {
			l = &Layer{Pos: h.Pos, People: []Member{*h.Person}}
		}
		if l == nil && judged(h.Pos) {
			return out, problems
		}
		if l == nil {
			return out, append(problems, h.Problem("holidays need either a person or a layer", "write person: and who is on call then"))
		}
		made := take(l, "holidays")
		made.holiday, made.whole = true, !l.Start.given
		if h.File != "" || !judged(h.Pos) {
			days, more := h.read(loc)
			made.days, problems = days, append(problems, more...)
		}
		out.layers = append(out.layers, made)
	}
	return out, problems
}

func unknownPeople(members []Member, people map[string]Person) (problems conf.Problems) {
	known := make([]string, 0, len(people))
	for key := range people {
		known = append(known, key)
	}
	slices.Sort(known)
	for _, m := range members {
		if _, ok := people[m.Key]; ok || m.Key == "" && m.At.Line > 0 {
			continue // Or what stands there is no name, which was said.
		}
		do := "add it under people:"
		if near := conf.Nearest(m.Key, known); near != "" {
			do = "did you mean \"" + near + "\"?"
		}
		problems = append(problems, m.At.Problem("there is no person \""+m.Key+"\"", do))
	}
	return problems
}

// look is a look at one instant. Whoever answers narrows it to the stretch in which the answer would be the same.
type look struct {
	t      time.Time
	clock  clock
	lo, hi time.Time // Zero is open.
}

func (s *schedule) look(t time.Time) look { return look{t: t, clock: clockAt(s.loc, t)} }

func (k *look) narrow(lo, hi time.Time) {
	if lo.After(k.lo) {
		k.lo = lo
	}
	if !hi.IsZero() && (k.hi.IsZero() || hi.Before(k.hi)) {
		k.hi = hi
	}
}

// candidate is somebody whom a layer has to offer.
type candidate struct {
	person string
	layer  *layer
	turn   turn
	rank   int // 0 has the turn; 1 comes next, and so on.
}

// there reports whether a person has not left, and is known at all.
func (s *schedule) there(k *look, person string) bool {
	leaves, known := s.leaves[person]
	switch {
	case !known || leaves.IsZero():
		return known
	case k.t.Before(leaves):
		k.narrow(time.Time{}, leaves)
		return true
	default:
		k.narrow(leaves, time.Time{})
		return false
	}
}

// offers goes through whom the layers have, the best first: in the last layer whoever has the turn, then who comes after
// in the rotation, then the same of the layer before it. Who has left is passed over.
func (s *schedule) offers(k *look, layers []*layer) iter.Seq[candidate] {
	return func(yield func(candidate) bool) {
		for _, l := range slices.Backward(layers) {
			if !slices.ContainsFunc(l.people, func(p string) bool { return s.there(k, p) }) {
				continue // Nobody is left: its hours and turns no longer divide time.
			}
			now, ok := l.at(k)
			if !ok {
				continue
			}
			n := int64(len(l.people))
			slot := now.number - floorDiv(now.number, n)*n
			for rank := range n {
				p := l.people[(slot+rank)%n]
				if s.there(k, p) && !yield(candidate{p, l, now, int(rank)}) {
					return
				}
			}
		}
	}
}

// answer is who is on call at an instant.
type answer struct {
	person   string
	by       candidate // What the layers say; no layer when they have nobody.
	override *event.Override
	beside   *answer // The primary, when there is no secondary.
}

// same reports whether two answers belong to the same shift. A shift ends with its turn at the latest, also when nobody
// is secondary beside that of a primary: otherwise its end might not be found for looking.
func (a answer) same(b answer) bool {
	if a.beside != nil && b.beside != nil && !a.beside.same(*b.beside) {
		return false
	}
	return a.person == b.person && a.by.layer == b.by.layer && a.by.turn == b.by.turn && a.override == b.override
}

// primary is whoever the layers have, unless an override puts somebody in their place.
func (s *schedule) primary(k *look) answer {
	var a answer
	for c := range s.offers(k, s.layers) {
		a.person, a.by = c.person, c
		break
	}
	a.override = s.override(k, func(o *event.Override) bool { return o.For == "" || o.For == a.by.person })
	if a.override != nil {
		a.person = a.override.Person
	}
	return a
}

// secondary is the first that the layers offer who is not the primary. Only overrides for somebody's own shifts count:
// one that is for anybody's puts a person in the primary's place. With next, whoever is replaced as primary is away.
func (s *schedule) secondary(k *look) answer {
	if s.alone {
		return answer{}
	}
	first := s.primary(k)
	layers, replaced := s.layers, first.by.person
	if len(s.backup) > 0 {
		layers, replaced = s.backup, ""
	}
	var a answer
	for c := range s.offers(k, layers) {
		if a.by.layer == nil {
			a.by = c
		}
		if c.person == replaced {
			continue
		}
		who, o := c.person, s.override(k, func(o *event.Override) bool { return o.For == c.person })
		if o != nil {
			who = o.Person
		}
		if who != first.person {
			return answer{person: who, by: c, override: o}
		}
	}
	a.by.person, a.by.rank, a.beside = "", 0, &first
	return a
}

// answer returns who is on call at t, and in [lo, hi) around it at least.
func (s *schedule) answer(role Role, t time.Time) (answer, look) {
	k := s.look(t)
	switch role {
	case Primary:
		return s.primary(&k), k
	case Secondary:
		return s.secondary(&k), k
	default:
		return answer{}, k
	}
}

// shiftAt is the whole shift around t.
func (s *schedule) shiftAt(role Role, t time.Time) Shift {
	now, k := s.answer(role, t)
	lo := k.lo
	for !lo.IsZero() {
		before, k := s.answer(role, lo.Add(-1))
		if !before.same(now) {
			break
		}
		now, lo = before, k.lo
	}
	return s.shift(role, now, lo, s.end(role, now, k.hi))
}

// shiftFrom is the shift that begins at t, where another ends.
func (s *schedule) shiftFrom(role Role, t time.Time) Shift {
	now, k := s.answer(role, t)
	return s.shift(role, now, t, s.end(role, now, k.hi))
}

// end follows a shift to its end.
func (s *schedule) end(role Role, now answer, hi time.Time) time.Time {
	for !hi.IsZero() {
		next, k := s.answer(role, hi)
		if !next.same(now) {
			break
		}
		hi = k.hi
	}
	return hi
}

func (s *schedule) shift(role Role, a answer, from, to time.Time) Shift {
	in := func(t time.Time) time.Time {
		if t.IsZero() {
			return t
		}
		return t.In(s.loc)
	}
	return Shift{Person: a.person, From: in(from), To: in(to), Why: s.why(role, a)}
}

// why says it in words.
func (s *schedule) why(role Role, a answer) event.Reason {
	if a.person == "" {
		return event.Reason{Code: WhyNobody, Text: s.whyNobody(role, a)}
	}
	plan, code := s.plan(role, a)
	if o := a.override; o != nil {
		text := o.Person + " takes over"
		switch {
		case a.by.layer == nil:
			text += ", when nobody would be on call"
		case a.by.person != o.Person:
			text += " from " + a.by.person + " (" + plan + ")"
		}
		text += ": override " + o.ID + " by " + cmp.Or(o.By, "somebody")
		if o.Comment != "" {
			text += ", " + strconv.Quote(o.Comment)
		}
		return event.Reason{Code: WhyOverride, Text: text, Causes: []string{o.Identity()}}
	}
	return event.Reason{Code: code, Text: plan}
}

// plan says why the layers have whom they have.
func (s *schedule) plan(role Role, a answer) (text, code string) {
	c := a.by
	if c.layer == nil {
		return "", WhyNobody
	}
	n := int64(len(c.layer.people))
	owner := c.layer.people[c.turn.number-floorDiv(c.turn.number, n)*n]
	text, code = "the turn of "+owner+" in "+c.layer.name, WhyRotation
	if c.layer.holiday {
		text, code = "holiday "+strconv.Quote(c.turn.note)+": "+text, WhyHoliday
	}
	if c.rank == 0 {
		return text, code
	}
	if role == Secondary {
		return "next after " + text, WhyNextInRow
	}
	return text + ", who has left: " + c.person + " comes next", code
}

func (s *schedule) whyNobody(role Role, a answer) string {
	switch {
	case role != Primary && role != Secondary:
		return "there is no role \"" + string(role) + "\""
	case role == Secondary && s.alone:
		return "the schedule has no secondary"
	case role == Secondary && a.by.layer != nil:
		return "nobody but the primary is in " + a.by.layer.name
	default:
		return "no layer has anybody at this time"
	}
}
