package alertmanager

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/cmd/kemi/view"
)

// last is what was said last of an alert.
type last struct {
	// at is the instant of the finding that said so; zero when nothing is known.
	at      time.Time
	firing  bool
	unknown bool // It fires, and there is no data.
	starts  time.Time
	// ends is until when it fires unless it is said again, or when it was over.
	ends time.Time
	// annotations, or what they come to.
	annotations map[string]string
	texts       string
	// Whom it is about. What fires keeps that until it is over, whatever the CMDB says meanwhile: in another domain it
	// would be another problem, and this one would seem to be over. Only a target that was not known is known later.
	target, team, domain string
	// fresh: the read model did not know that it fires.
	fresh bool
}

func lastOf(a *event.Alert) last {
	l := last{
		at: a.Updated, firing: a.State == event.AlertFiring, unknown: a.Unknown, starts: a.StartsAt, ends: a.EndsAt, annotations: a.Annotations,
		target: a.Target, team: a.Team, domain: a.Domain,
	}
	if l.firing {
		l.ends = a.Until
	}
	return l
}

func (l *last) says(annotations map[string]string) bool {
	if l.texts != "" {
		return l.texts == fold(annotations)
	}
	return maps.Equal(l.annotations, annotations)
}

// fold is what texts come to: it is kept instead of them.
func fold(texts map[string]string) string { return event.LabelsOf(texts).Fingerprint() }

// remembered bounds how many alerts memory knows: some 30 MB.
const remembered = 100_000

// memory is what this process published last of alerts that the read model does not know yet: what comes right after is
// judged by it. It is safe for concurrent use.
type memory struct {
	mu    sync.Mutex
	by    map[string]last
	fresh int
	swept time.Time
}

// of is what was said last of the alert with an id, by the read model, which has a, or after that by this process.
func (m *memory) of(id string, a *event.Alert) last {
	m.mu.Lock()
	defer m.mu.Unlock()
	l, there := m.by[id]
	switch {
	case a == nil:
		return l
	case there && a.Updated.Before(l.at):
		return l
	case there: // The read model knows as much, or more.
		m.forget(id)
	}
	return lastOf(a)
}

// said takes in what was published of an alert of which was had been said.
func (m *memory) said(id string, f *event.Finding, was last) {
	firing := f.Verdict == event.VerdictFiring
	if !firing && !was.firing {
		return // It fires nowhere: whatever comes next is news.
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.by == nil {
		m.by = map[string]last{}
	}
	if f.At.Before(m.by[id].at) {
		return
	}
	m.forget(id)
	l := last{at: f.At, firing: firing, starts: f.Since, ends: f.Until, texts: fold(f.Annotations), target: f.Target, team: f.Team, domain: f.Domain}
	if !firing {
		l.ends = f.Since
	}
	if was.firing && was.starts.Before(l.starts) {
		l.starts = was.starts
	}
	if was.firing && firing && l.ends.Before(was.ends) {
		l.ends = was.ends
	}
	if l.fresh = firing && (!was.firing || was.fresh); l.fresh {
		m.fresh++
	}
	m.by[id] = l
}

// forget drops what is remembered of an alert.
func (m *memory) forget(id string) {
	if m.by[id].fresh {
		m.fresh--
	}
	delete(m.by, id)
}

// sweep forgets what the read model knows by now, once a minute or when asked to, and the oldest when it is too much.
// It returns how many alerts fire, at most, of which the read model does not know that.
func (m *memory) sweep(s *view.State, now time.Time, whole bool) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if full := len(m.by) > remembered; !full && !whole && now.Sub(m.swept) < time.Minute {
		return m.fresh
	}
	m.swept = now
	for id, l := range m.by {
		a := s.Problem(id)
		// What was lost on the way is not waited for.
		if a != nil && !a.Updated.Before(l.at) || l.firing && now.Sub(l.ends) > time.Hour {
			m.forget(id)
		}
	}
	if len(m.by) > remembered {
		ids := slices.SortedFunc(maps.Keys(m.by), func(x, y string) int { return cmp.Or(m.by[x].at.Compare(m.by[y].at), cmp.Compare(x, y)) })
		for _, id := range ids[:len(ids)-remembered*7/8] {
			m.forget(id)
		}
	}
	return m.fresh
}
