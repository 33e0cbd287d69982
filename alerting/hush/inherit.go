package hush

import (
	"slices"

	"kemi.dev/kemi/bus/event"
)

// hold is something that may hold an alert's pages back: a silence, or, without an entry, the lifecycle of a target.
type hold struct {
	entry *entry
	// above is the target by which it applies, which may be the alert's own; nil when it is by the alert's labels.
	above *event.Target
}

// up is a target on the way from an alert's own to everything that it needs.
type up struct {
	target *event.Target
	own    []hold
	// held says that it is in maintenance itself or cannot be there without something that is.
	held bool
}

// visit calls yield with everything that applies to an alert, each silence once. With force it asks it which silences
// count, and a redundant pair counts only when both halves are held; without, it yields all that could ever apply.
func (s *Set) visit(of Subject, yield func(hold), force func(*entry) bool) {
	var taken []*entry
	direct := func(e *entry) {
		if e.matchesLabels(of.Labels) {
			yield(hold{entry: e})
			if e.silence.Inherit {
				taken = append(taken, e)
			}
		}
	}
	for _, e := range s.direct.rest {
		direct(e)
	}
	for _, l := range of.Labels {
		for _, e := range s.direct.by[l] {
			direct(e)
		}
	}
	if of.Target == nil {
		return
	}
	ups, any := s.climb(of, force)
	if !any {
		return
	}
	apply := func(u *up) {
		for _, h := range u.own {
			if h.entry == nil {
				yield(h)
			} else if !slices.Contains(taken, h.entry) {
				taken = append(taken, h.entry)
				yield(h)
			}
		}
	}
	if force == nil {
		for i := range ups {
			apply(&ups[i])
		}
		return
	}
	settle(ups)
	if ups[0].held {
		descend(ups, apply)
	}
}

// climb lists an alert's target and everything that it needs, nearest first, and says whether anything holds any of it.
func (s *Set) climb(of Subject, force func(*entry) bool) (ups []up, any bool) {
	// What is found by the alert's own labels is the same for all of them.
	base := slices.Clone(s.inherited.rest)
	if !s.inherited.empty() {
		for _, l := range of.Labels {
			base = append(base, s.inherited.by[l]...)
		}
	}
	ups = append(make([]up, 0, 8), up{target: of.Target})
	for i := 0; i < len(ups); i++ {
		u := &ups[i]
		u.own = s.holds(of, u.target, base, force)
		u.held = len(u.own) > 0
		any = any || u.held
		if of.Find == nil {
			break
		}
		for need := range needs(u.target) {
			for _, id := range need {
				if find(ups, id) < 0 {
					if t := of.Find(id); t != nil {
						ups = append(ups, up{target: t})
					}
				}
			}
		}
	}
	return ups, any
}

// holds lists what applies to an alert by one target: its lifecycle, and the silences that are inherited and select it.
func (s *Set) holds(of Subject, above *event.Target, base []*entry, force func(*entry) bool) []hold {
	var own []hold
	if above.Lifecycle == event.Maintenance {
		own = append(own, hold{above: above})
	}
	if s.inherited.empty() {
		return own
	}
	judge := func(all []*entry) {
		for _, e := range all {
			if !e.matchesAbove(of.Labels, of.Target, above) || force != nil && !force(e) {
				continue
			}
			if !slices.ContainsFunc(own, func(h hold) bool { return h.entry == e }) {
				own = append(own, hold{entry: e, above: above})
			}
		}
	}
	judge(base)
	for name, value := range above.Labels {
		judge(s.inherited.by[place{Name: name, Value: value}])
	}
	judge(s.inherited.by[place{Name: "target", Value: above.ID}])
	judge(s.inherited.by[place{Name: "class", Value: above.Class}])
	judge(s.inherited.by[place{Name: "team", Value: above.Team}])
	return own
}

// settle spreads what is held to whatever cannot be there without it: a need is held when all of its alternatives are,
// and what nobody knows is not. Cycles hold nothing by themselves.
func settle(ups []up) {
	for changed := true; changed; {
		changed = false
		for i := len(ups) - 1; i >= 0; i-- {
			if ups[i].held {
				continue
			}
			for need := range needs(ups[i].target) {
				if allHeld(ups, need) {
					ups[i].held, changed = true, true
					break
				}
			}
		}
	}
}

// descend calls apply with the first and with what holds it by way of its needs, nearest first.
func descend(ups []up, apply func(*up)) {
	seen := make([]bool, len(ups))
	queue := append(make([]int, 0, len(ups)), 0)
	seen[0] = true
	for len(queue) > 0 {
		u := &ups[queue[0]]
		queue = queue[1:]
		apply(u)
		for need := range needs(u.target) {
			if !allHeld(ups, need) {
				continue
			}
			for _, id := range need {
				if i := find(ups, id); i >= 0 && !seen[i] {
					seen[i] = true
					queue = append(queue, i)
				}
			}
		}
	}
}

func allHeld(ups []up, need event.Need) bool {
	for _, id := range need {
		if i := find(ups, id); i < 0 || !ups[i].held {
			return false
		}
	}
	return len(need) > 0
}

func find(ups []up, id string) int {
	return slices.IndexFunc(ups, func(u up) bool { return u.target.ID == id })
}

// needs iterates over what a target needs, always in the same order.
func needs(t *event.Target) func(func(event.Need) bool) {
	return func(yield func(event.Need) bool) {
		for _, kind := range [...]string{event.ConnectedTo, event.DependsOn, event.PoweredBy, event.RunsOn} {
			for _, need := range t.Relations[kind] {
				if !yield(need) {
					return
				}
			}
		}
	}
}

func (e *entry) matchesLabels(labels event.Labels) bool {
	for i := range e.matchers {
		m := &e.matchers[i]
		if !m.matches(labels.Get(m.name)) {
			return false
		}
	}
	return true
}

// matchesAbove judges an alert as if it were about a target above its own: the labels that its own target gave it are
// those of that target, the others, such as alertname and severity, remain.
func (e *entry) matchesAbove(labels event.Labels, own, above *event.Target) bool {
	for i := range e.matchers {
		m := &e.matchers[i]
		value := targetLabel(above, m.name)
		if value == "" && targetLabel(own, m.name) == "" {
			value = labels.Get(m.name)
		}
		if !m.matches(value) {
			return false
		}
	}
	return true
}

// targetLabel is one of a target's effective labels.
func targetLabel(t *event.Target, name string) string {
	switch name {
	case "target":
		return t.ID
	case "class":
		return t.Class
	case "team":
		return t.Team
	}
	return t.Labels[name]
}
