package alerting

import "kemi.dev/kemi/bus/event"

// took is how many targets people read at the end that each cause took along, all pages together.
func (s *stage) took() map[string]int {
	all := map[string]int{}
	for _, p := range s.pages {
		if p.Kind == event.PageResolved {
			all[p.Snapshot.Cause] += p.Snapshot.SuppressedTotal
		}
	}
	return all
}

// tookNoLess checks that whatever came back before a restart, people read at the end how many a cause took along at most.
func (s *stage) tookNoLess(whole *stage) {
	s.t.Helper()
	got := s.took()
	for cause, n := range whole.took() {
		if got[cause] < n {
			s.t.Errorf("after a restart %s took %d targets along, without one %d\n%s", cause, got[cause], n, s.said.String())
		}
	}
}

// tookAll checks that nobody who was told how many are behind a cause reads at the end that they were fewer.
func (s *stage) tookAll() {
	s.t.Helper()
	type about struct {
		incident, cause string
		kind            event.IncidentKind
		round           int // Before which it was over: what fires again takes along what is behind it then.
	}
	most, began, over := map[about]int{}, map[string]int{}, map[string]int{}
	for _, p := range s.pages {
		i := p.Snapshot
		if p.Kind != event.PageResolved && over[p.Incident] > began[p.Incident] {
			began[p.Incident] = over[p.Incident]
		}
		a := about{p.Incident, i.Cause, i.Kind, began[p.Incident]}
		if p.Kind != event.PageResolved {
			most[a] = max(most[a], i.SuppressedTotal)
			continue
		}
		over[p.Incident] = i.Round + 1
		if i.SuppressedTotal < most[a] {
			s.t.Errorf("%d targets behind %s, people were told, and then: %s", most[a], i.Cause, p.Title)
		}
	}
}
