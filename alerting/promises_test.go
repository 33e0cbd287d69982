package alerting

import (
	"fmt"
	"slices"

	"kemi.dev/kemi/bus/event"
)

// told is what people heard, without when: sorted, as incidents of one moment come in any order.
func (s *stage) told() []string {
	var told []string
	for _, p := range s.pages {
		told = append(told, fmt.Sprintf("%s %s %s", p.Kind, whoOf(p), p.Snapshot.Cause))
	}
	slices.Sort(told)
	return told
}

// calledAgain says whether there was a reason to call somebody again about an incident.
func (s *stage) calledAgain(id string) bool {
	i := s.incidents[id]
	assigned := slices.ContainsFunc(i.Acts, func(a event.Act) bool { return a.Kind == event.Assign })
	repeated := slices.ContainsFunc(s.pages, func(p *event.Page) bool { return p.Incident == id && p.Reason.Code == ReasonRepeated })
	return i.Round > 0 || i.Step > 1 || assigned || repeated
}

// promises checks what holds in every story.
func (s *stage) promises() {
	s.t.Helper()
	type told struct{ incident, receiver string }
	firing, believed := map[told]int{}, map[told]bool{}
	for _, p := range s.pages {
		k := told{p.Incident, whoOf(p)}
		switch p.Kind {
		case event.PageFiring:
			firing[k]++
			believed[k] = true
		case event.PageUpdate:
			believed[k] = true
		case event.PageResolved:
			if !believed[k] {
				s.t.Errorf("%s was told that %s resolved and not that it fired", k.receiver, k.incident)
			}
			believed[k] = false
		}
	}
	for k, n := range firing {
		// One that fires again and was not told yet is open, and who was told of it before knows that it was over.
		i := s.incidents[k.incident]
		over := i.State == event.IncidentResolved || len(i.Told) == 0 && len(i.Reopened) > 0
		if n != 1 && !s.calledAgain(k.incident) || over == believed[k] && (over || slices.Contains(i.Told, k.receiver)) {
			s.t.Errorf("%s was told of %s (%s): firing %d times, and believes that it fires: %v", k.receiver, k.incident, i.State, n, believed[k])
		}
	}
	s.tookAll()
	for _, size := range s.sizes {
		if size >= 60<<10 { // Leaving room for the envelope.
			s.t.Errorf("an incident's record has %d bytes", size)
		}
	}
}
