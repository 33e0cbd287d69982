package bus

import (
	"errors"
	"sync"
	"time"

	"kemi.dev/kemi/bus/driver"
)

// seldomEvery is how often one text is logged at most of what is tried again and again, by many at the same time.
const seldomEvery = time.Minute

// seldom lets each text through once in a while. It is safe for concurrent use; the zero one is ready.
type seldom struct {
	mu   sync.Mutex
	said map[string]*saying
}

type saying struct {
	at   time.Time
	held int
}

// says whether a text is due, and how often it was held back since it was last.
func (s *seldom) says(text string, now time.Time) (held int, due bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	have := s.said[text]
	if have != nil && now.Sub(have.at) < seldomEvery {
		have.held++
		return have.held, false
	}
	if have != nil {
		held = have.held
	}
	if s.said == nil || len(s.said) >= 1000 {
		s.said = map[string]*saying{}
	}
	s.said[text] = &saying{at: now}
	return held, true
}

// about is what tells one trouble from another: what is to be done, where the driver knows that, whatever it is about.
func about(err error) string {
	var a driver.Advised
	if errors.As(err, &a) {
		return a.Advice()
	}
	return err.Error()
}
