package hush

import "time"

// In says whether an instant is within the time interval of that name; no instant is within one that is not there.
func (s *Set) In(name string, t time.Time) bool {
	v := s.intervals[name]
	return v != nil && v.at(t).on
}
