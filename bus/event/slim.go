package event

import (
	"strings"
	"sync"
)

// Slim takes alerts that are kept for long, and by the 100,000, off the text that they were read of: their texts are parts of
// that, and it is five times as long. What many alerts say they have in common. The zero Slim is ready; it is safe for
// concurrent use.
type Slim struct {
	mu    sync.Mutex
	known map[string]string
}

const (
	slimTexts = 4096 // So many are known before they are forgotten: of those that come once only there is no end.
	slimText  = 256  // What is longer hardly comes twice.
)

// Alert makes an alert's texts its own. Nobody else may have the alert yet.
func (s *Slim) Alert(a *Alert) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a.ID, a.Finding = strings.Clone(a.ID), strings.Clone(a.Finding)
	for _, text := range []*string{&a.Name, &a.Rule, (*string)(&a.State), &a.Target, &a.Team, &a.Domain, &a.Severity, &a.Threshold, &a.GeneratorURL, &a.Reason.Code, &a.Reason.Text} {
		*text = s.common(*text)
	}
	for i, l := range a.Labels {
		a.Labels[i] = Label{s.common(l.Name), s.common(l.Value)}
	}
	for name, value := range a.Annotations {
		a.Annotations[s.common(name)] = s.common(value) // The key as well becomes the new one.
	}
	for i, cause := range a.Reason.Causes {
		a.Reason.Causes[i] = strings.Clone(cause)
	}
}

func (s *Slim) common(text string) string {
	if len(text) > slimText {
		return strings.Clone(text)
	}
	have, known := s.known[text]
	if known {
		return have
	}
	if s.known == nil || len(s.known) == slimTexts {
		s.known = make(map[string]string, slimTexts)
	}
	text = strings.Clone(text)
	s.known[text] = text
	return text
}
