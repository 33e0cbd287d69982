package hush

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"kemi.dev/kemi/bus/event"
)

// rule is one inhibition rule: while an alert fires that its source side matches, those that its target side matches and
// that have equal values in some labels are held back. A label that is not there is empty.
type rule struct {
	name           string // For people.
	source, target []matcher
	equal          []string
}

// Inhibitor knows the alerts that fire and by the rules can inhibit others. One alert comes or goes at the cost of
// looking at the rules; a question costs no more, however many fire. It is for one goroutine.
type Inhibitor struct {
	rules []*rule
	// groups has the sources of each rule by the values of its equal labels.
	groups []map[string]*group
	alerts map[string]event.Labels
}

// group is the source alerts of one rule that have equal values, by id. Those that the target side matches as well are
// apart: they do not inhibit what matches both sides, itself least of all.
type group struct {
	plain, both []string
}

// Inhibitor makes one that knows no alerts yet, for the rules of the configuration.
func (s *Set) Inhibitor() *Inhibitor {
	in := &Inhibitor{rules: s.rules, groups: make([]map[string]*group, len(s.rules)), alerts: map[string]event.Labels{}}
	for i := range in.groups {
		in.groups[i] = map[string]*group{}
	}
	return in
}

// Set says that an alert fires. It reports whether the answer for other alerts may have changed.
func (in *Inhibitor) Set(id string, labels event.Labels) bool {
	if was, there := in.alerts[id]; there {
		if slices.Equal(was, labels) {
			return false
		}
		changed := in.Unset(id)
		return in.Set(id, labels) || changed
	}
	changed := false
	source := false
	for i, r := range in.rules {
		if !matchAll(r.source, labels) {
			continue
		}
		source = true
		key := r.key(labels)
		g := in.groups[i][key]
		if g == nil {
			g = &group{}
			in.groups[i][key] = g
		}
		list := g.list(r, labels)
		at, _ := slices.BinarySearch(*list, id)
		*list = slices.Insert(*list, at, id)
		changed = changed || at == 0
	}
	if source { // What inhibits nothing need not be remembered.
		in.alerts[id] = labels
	}
	return changed
}

// Unset says that an alert fires no more. It reports whether the answer for other alerts may have changed.
func (in *Inhibitor) Unset(id string) bool {
	labels, there := in.alerts[id]
	if !there {
		return false
	}
	delete(in.alerts, id)
	changed := false
	for i, r := range in.rules {
		if !matchAll(r.source, labels) {
			continue
		}
		key := r.key(labels)
		g := in.groups[i][key]
		list := g.list(r, labels)
		at, _ := slices.BinarySearch(*list, id)
		*list = slices.Delete(*list, at, at+1)
		changed = changed || at == 0
		if len(g.plain) == 0 && len(g.both) == 0 {
			delete(in.groups[i], key)
		}
	}
	return changed
}

// list is the one of the group's lists that an alert belongs to.
func (g *group) list(r *rule, labels event.Labels) *[]string {
	if matchAll(r.target, labels) {
		return &g.both
	}
	return &g.plain
}

// inhibitors lists, for each rule that holds an alert back, the source alert with the smallest id.
func (in *Inhibitor) inhibitors(labels event.Labels) []found {
	if in == nil {
		return nil
	}
	var out []found
	for i, r := range in.rules {
		if len(in.groups[i]) == 0 || !matchAll(r.target, labels) {
			continue
		}
		g := in.groups[i][r.key(labels)]
		if g == nil {
			continue
		}
		var by string
		if len(g.plain) > 0 {
			by = g.plain[0]
		}
		if len(g.both) > 0 && (by == "" || g.both[0] < by) && !matchAll(r.source, labels) {
			by = g.both[0]
		}
		if by == "" {
			continue
		}
		text := fmt.Sprintf("inhibition rule %s: %s fires", r.name, alertText(in.alerts[by]))
		out = append(out, found{rank: 2, id: fmt.Sprintf("%06d", i), Reason: event.Reason{Code: CodeInhibited, Text: text, Causes: []string{by}}})
	}
	return out
}

// key is what the values of the equal labels have in common: each with its length, so that they are told apart.
func (r *rule) key(labels event.Labels) string {
	if len(r.equal) == 0 {
		return ""
	}
	var b strings.Builder
	for _, name := range r.equal {
		v := labels.Get(name)
		b.WriteString(strconv.Itoa(len(v)))
		b.WriteByte(':')
		b.WriteString(v)
	}
	return b.String()
}

func matchAll(matchers []matcher, labels event.Labels) bool {
	for i := range matchers {
		if !matchers[i].matches(labels.Get(matchers[i].name)) {
			return false
		}
	}
	return true
}

// alertText names an alert for people.
func alertText(labels event.Labels) string {
	name := labels.Get("alertname")
	if name == "" {
		return short(labels.String())
	}
	for _, where := range []string{"target", "instance"} {
		if v := labels.Get(where); v != "" {
			return short(name) + " on " + short(v)
		}
	}
	return short(name)
}
