package view

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"kemi.dev/kemi/bus/event"
)

// Health is what is known of a target's reachability.
type Health string

// The healths. Waiting targets have not been polled since Kemi started; unknown ones were, without an answer to
// the question.
const (
	Up      Health = "up"
	Down    Health = "down"
	Unknown Health = "unknown"
	Waiting Health = "waiting"
)

// Target is a target and how it is.
type Target struct {
	*event.Target
	Health Health `json:"health"`
	// Since is when it became so.
	Since time.Time `json:"since,omitzero"`
	// Polled is when the newest reading of it was stored; no earlier than when this process began to follow them.
	Polled time.Time `json:"polled,omitzero"`
	// Incident explains why it is down, "" when nothing does.
	Incident string `json:"incident,omitempty"`
}

// Unpolled is for how long a target has had no reading, when that is longer than twice its shortest interval: what is said
// of its health is that old. 0 is all well, or nothing known.
func (t Target) Unpolled(now time.Time) time.Duration {
	var shortest time.Duration
	for i := range t.Checks {
		if every := t.Checks[i].Every; every > 0 && (shortest == 0 || every < shortest) {
			shortest = every
		}
	}
	if since := now.Sub(t.Polled); shortest > 0 && !t.Polled.IsZero() && since > 2*shortest {
		return since
	}
	return 0
}

// State is the newest of everything people ask for. It is the desk of the read model: pure, used by one goroutine
// at a time.
type State struct {
	targets   map[string]*event.Target
	reach     map[string]*event.Finding
	polled    map[string]time.Time
	following time.Time // Since when readings are heard of; zero while they are not.
	alerts    map[string]*event.Alert
	incidents map[string]*event.Incident
	pages     map[string]*event.Page
	silences  map[string]*event.Silence
	names     event.Names
	firing    firing
	elsewhere elsewhere
	// Findings counts verdicts seen since the start.
	Findings int
}

// Kept is how long what is over stays in the state; the topics have it for longer.
const Kept = 7 * 24 * time.Hour

// Forget drops what has been over since before Kept.
func (s *State) Forget(now time.Time) {
	old := now.Add(-Kept)
	maps.DeleteFunc(s.alerts, func(_ string, a *event.Alert) bool {
		over := a.State == event.AlertResolved && a.Updated.Before(old)
		if over {
			s.elsewhere.count(a, -1)
		}
		return over
	})
	maps.DeleteFunc(s.incidents, func(_ string, i *event.Incident) bool {
		return i.State == event.IncidentResolved && i.Updated.Before(old)
	})
	maps.DeleteFunc(s.pages, func(_ string, p *event.Page) bool {
		return (p.Stage == event.PageSent || p.Stage == event.PageFailed || p.Stage == event.PageHeld) && p.Updated.Before(old)
	})
	maps.DeleteFunc(s.silences, func(_ string, p *event.Silence) bool { return !p.EndsAt.IsZero() && p.EndsAt.Before(old) })
}

// NewState makes an empty state.
func NewState() *State {
	return &State{
		targets: map[string]*event.Target{}, reach: map[string]*event.Finding{}, polled: map[string]time.Time{}, alerts: map[string]*event.Alert{},
		incidents: map[string]*event.Incident{}, pages: map[string]*event.Page{}, silences: map[string]*event.Silence{}, names: event.Names{}, firing: newFiring(1),
	}
}

// SetTarget adds or replaces a target.
func (s *State) SetTarget(t *event.Target) {
	s.names.Remove(s.targets[t.ID])
	s.targets[t.ID] = t
	s.names.Add(t)
}

// RemoveTarget forgets a target.
func (s *State) RemoveTarget(id string) {
	s.names.Remove(s.targets[id])
	delete(s.targets, id)
	delete(s.reach, id)
	delete(s.polled, id)
}

// Follow notes that readings are heard of from now on.
func (s *State) Follow(now time.Time) { s.following = now }

// SetPolled notes that a reading of a target was stored.
func (s *State) SetPolled(id string, at time.Time) {
	if s.targets[id] != nil && at.After(s.polled[id]) {
		s.polled[id] = at
	}
}

// SetFinding keeps the newest word on a target's reachability.
func (s *State) SetFinding(f *event.Finding) {
	s.Findings++
	if f.Rule != event.RuleReachable {
		return
	}
	if old := s.reach[f.Target]; old == nil || !f.At.Before(old.At) {
		s.reach[f.Target] = f
	}
}

// SetAlert keeps the newest state of an alert. What it was in a domain that its target has left is older.
func (s *State) SetAlert(a *event.Alert) {
	old := s.alerts[a.ID]
	if a.Rule == event.RuleCanary || old != nil && a.Updated.Before(old.Updated) {
		return
	}
	s.elsewhere.count(old, -1)
	s.elsewhere.count(a, 1)
	s.alerts[a.ID] = a
	s.firing.note(a.ID, a)
}

// SetIncident keeps the newest revision of an incident, and forgets one that was only a question.
func (s *State) SetIncident(i *event.Incident) {
	if i.Question() {
		delete(s.incidents, i.ID)
		return
	}
	s.incidents[i.ID] = i
}

// SetPage keeps the newest stage of a page.
func (s *State) SetPage(p *event.Page) { s.pages[p.ID] = p }

// RemoveAlert forgets an alert.
func (s *State) RemoveAlert(id string) {
	s.elsewhere.count(s.alerts[id], -1)
	delete(s.alerts, id)
	s.firing.note(id, nil)
}

// RemoveIncident forgets an incident.
func (s *State) RemoveIncident(id string) { delete(s.incidents, id) }

// RemovePage forgets a page.
func (s *State) RemovePage(id string) { delete(s.pages, id) }

// Filter narrows a list: every set field has to match.
type Filter struct {
	State, Class, Team, Target, Incident string
}

func match(want, got string) bool { return want == "" || strings.EqualFold(want, got) }

// Target returns one target.
func (s *State) Target(id string) (Target, bool) {
	t := s.targets[id]
	if t == nil {
		return Target{}, false
	}
	return s.describe(t), true
}

func (s *State) describe(t *event.Target) Target {
	out := Target{Target: t, Health: Waiting, Polled: s.following}
	if at := s.polled[t.ID]; !at.IsZero() {
		out.Polled = at
	}
	if f := s.reach[t.ID]; f != nil {
		out.Since = f.Since
		switch f.Verdict {
		case event.VerdictFiring:
			out.Health = Down
		case event.VerdictOK:
			out.Health = Up
		default:
			out.Health = Unknown
		}
	}
	return out
}

// Targets lists targets by id, the canary not among them.
func (s *State) Targets(f Filter) []Target {
	all := []Target{}
	for _, id := range slices.Sorted(maps.Keys(s.targets)) {
		t := s.describe(s.targets[id])
		if t.Class != event.CanaryClass && match(f.State, string(t.Health)) && match(f.Class, t.Class) && match(f.Team, t.Team) && match(f.Target, t.ID) {
			all = append(all, t)
		}
	}
	return all
}

// Health counts targets by class and health.
func (s *State) Health() map[string]map[Health]int {
	counts := map[string]map[Health]int{}
	for _, t := range s.targets {
		if t.Class == event.CanaryClass {
			continue
		}
		if counts[t.Class] == nil {
			counts[t.Class] = map[Health]int{}
		}
		counts[t.Class][s.describe(t).Health]++
	}
	return counts
}

// Alerts lists alerts, newest first.
func (s *State) Alerts(f Filter) []*event.Alert {
	return list(s.alerts, func(a *event.Alert) bool {
		return match(f.State, string(a.State)) && match(f.Class, a.Labels.Get("class")) && match(f.Team, a.Team) && match(f.Target, a.Target)
	}, func(a *event.Alert) time.Time { return a.Updated })
}

// Incidents lists incidents, newest first; Target is the cause.
func (s *State) Incidents(f Filter) []*event.Incident {
	return list(s.incidents, func(i *event.Incident) bool {
		return match(f.State, string(i.State)) && match(f.Team, i.Team) && match(f.Target, i.Cause)
	}, func(i *event.Incident) time.Time { return i.OpenedAt })
}

// Pages lists the ledger, newest first; Target is the incident's cause when the page was decided.
func (s *State) Pages(f Filter) []*event.Page {
	return list(s.pages, func(p *event.Page) bool {
		return match(f.State, string(p.Stage)) && match(f.Team, p.Team) && match(f.Incident, p.Incident) &&
			(f.Target == "" || p.Snapshot != nil && match(f.Target, p.Snapshot.Cause))
	}, func(p *event.Page) time.Time { return p.Created })
}

// list filters a map and sorts it newest first, then by key, so that equal times have one order.
func list[T any](from map[string]*T, keep func(*T) bool, at func(*T) time.Time) []*T {
	all := []*T{}
	for _, key := range slices.Sorted(maps.Keys(from)) {
		if keep(from[key]) {
			all = append(all, from[key])
		}
	}
	slices.SortStableFunc(all, func(a, b *T) int { return cmp.Compare(at(b).UnixNano(), at(a).UnixNano()) })
	return all
}

// Alert, Incident and Page return one by its id, or by the start of it where that is unmistakable.
func (s *State) Alert(id string) (*event.Alert, bool) { return find(s.alerts, id) }

// Incident returns one incident; see Alert.
func (s *State) Incident(id string) (*event.Incident, bool) { return find(s.incidents, id) }

// Page returns one page; see Alert.
func (s *State) Page(id string) (*event.Page, bool) { return find(s.pages, id) }

func find[T any](from map[string]*T, id string) (*T, bool) {
	if e := from[id]; e != nil {
		return e, true
	}
	var found *T
	for key, e := range from {
		if id != "" && strings.HasPrefix(key, id) {
			if found != nil {
				return nil, false
			}
			found = e
		}
	}
	return found, found != nil
}
