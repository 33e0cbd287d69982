package alerting

import "slices"

// nodes is a set of targets that is walked far more often than it changes. Its order is that of no map: the same changes
// give the same order.
type nodes struct {
	all []*node
	at  map[*node]int // Where each is; nil while they are few.
}

// few is up to how many looking through them is cheaper than looking them up.
const few = 16

func (s *nodes) find(n *node) int {
	if s.at == nil {
		return slices.Index(s.all, n)
	}
	if i, ok := s.at[n]; ok {
		return i
	}
	return -1
}

func (s *nodes) add(n *node) {
	if s.find(n) >= 0 {
		return
	}
	s.all = append(s.all, n)
	switch {
	case s.at != nil:
		s.at[n] = len(s.all) - 1
	case len(s.all) > few:
		s.at = make(map[*node]int, 2*len(s.all))
		for i, n := range s.all {
			s.at[n] = i
		}
	}
}

func (s *nodes) remove(n *node) {
	i, last := s.find(n), len(s.all)-1
	if i < 0 {
		return
	}
	moved := s.all[last]
	s.all[i], s.all[last] = moved, nil
	s.all = s.all[:last]
	if s.at != nil {
		s.at[moved] = i
		delete(s.at, n)
	}
}
