package hush

import "kemi.dev/kemi/bus/event"

// Selector selects alerts by their labels, as a silence does.
type Selector struct{ matchers []matcher }

// NewSelector makes one of a silence's matchers; the error names the one that is wrong.
func NewSelector(all []event.Matcher) (*Selector, error) {
	matchers, err := compileMatchers(all)
	if err != nil {
		return nil, err
	}
	return &Selector{matchers}, nil
}

// Matches reports whether an alert with these labels is selected. A label that is not there is empty.
func (s *Selector) Matches(labels event.Labels) bool { return matchAll(s.matchers, labels) }
