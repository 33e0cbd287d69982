package obs

import (
	"sync"
	"time"
)

// Every is how often one thing that is tried again and again is logged at most.
const Every = time.Minute

// maxTexts is how many texts are known before they are forgotten: of those that come once only there is no end.
const maxTexts = 1000

// Seldom lets each text through at most once a minute, for many who try again at the same time. It is safe for concurrent use;
// the zero Seldom is ready.
type Seldom struct {
	mu   sync.Mutex
	said map[string]*saying
}

type saying struct {
	at   time.Time
	held int
}

// Says says whether a text is due, and how often it was held back since it was last.
func (s *Seldom) Says(text string, now time.Time) (held int, due bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	have := s.said[text]
	if have != nil && now.Sub(have.at) < Every {
		have.held++
		return have.held, false
	}
	if have != nil {
		held = have.held
	}
	if s.said == nil || len(s.said) >= maxTexts {
		s.said = map[string]*saying{}
	}
	s.said[text] = &saying{at: now}
	return held, true
}

// Since is Says of something that began at a time: a text that was let through after that is not due again.
func (s *Seldom) Since(text string, begun, now time.Time) bool {
	s.mu.Lock()
	have := s.said[text]
	s.mu.Unlock()
	if have != nil && !have.at.Before(begun) {
		return false
	}
	_, due := s.Says(text, now)
	return due
}
