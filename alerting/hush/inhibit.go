package hush

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

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
// looking at the rules; a question costs no more, however many fire. Of an alert it keeps some 250 bytes, of one that
// inhibits nothing none. Any number of goroutines may use it.
type Inhibitor struct {
	rules []*rule
	mu    sync.RWMutex
	// groups has the sources of each rule by the values of its equal labels.
	groups  []map[string]*group
	sources map[string]source
}

// source is what is kept of an alert that inhibits others: for people, and where it stands.
type source struct {
	labels, text string // Labels is their fingerprint.
	in           []member
}

// member is a place of an alert in the groups of a rule.
type member struct {
	rule int
	key  string
	both bool
}

// group is the source alerts of one rule that have equal values, by id. Those that the target side matches as well are
// apart: they do not inhibit what matches both sides, itself least of all.
type group struct {
	plain, both []string
}

// Inhibits says whether there are rules by which alerts hold others back.
func (s *Set) Inhibits() bool { return len(s.rules) > 0 }

// Inhibitor makes one that knows no alerts yet, for the rules of the configuration.
func (s *Set) Inhibitor() *Inhibitor {
	in := &Inhibitor{rules: s.rules, groups: make([]map[string]*group, len(s.rules)), sources: map[string]source{}}
	for i := range in.groups {
		in.groups[i] = map[string]*group{}
	}
	return in
}

// Set says that an alert fires. It reports whether the answer for other alerts may have changed.
func (in *Inhibitor) Set(id string, labels event.Labels) bool {
	var places []member
	for i, r := range in.rules {
		if matchAll(r.source, labels) {
			places = append(places, member{rule: i, key: r.key(labels), both: matchAll(r.target, labels)})
		}
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	was, there := in.sources[id]
	if !there && places == nil {
		return false // What inhibits nothing need not be remembered.
	}
	fingerprint := labels.Fingerprint()
	if there && was.labels == fingerprint {
		return false
	}
	changed := there && in.unset(id)
	for _, m := range places {
		g := in.groups[m.rule][m.key]
		if g == nil {
			g = &group{}
			in.groups[m.rule][m.key] = g
		}
		list := g.list(m.both)
		at, _ := slices.BinarySearch(*list, id)
		*list = slices.Insert(*list, at, id)
		changed = changed || at == 0
	}
	if places != nil {
		in.sources[id] = source{labels: fingerprint, text: strings.Clone(alertText(labels)), in: places}
	}
	return changed
}

// Unset says that an alert fires no more. It reports whether the answer for other alerts may have changed.
func (in *Inhibitor) Unset(id string) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.unset(id)
}

func (in *Inhibitor) unset(id string) bool {
	changed := false
	for _, m := range in.sources[id].in {
		g := in.groups[m.rule][m.key]
		list := g.list(m.both)
		at, _ := slices.BinarySearch(*list, id)
		*list = slices.Delete(*list, at, at+1)
		changed = changed || at == 0
		if len(g.plain) == 0 && len(g.both) == 0 {
			delete(in.groups[m.rule], m.key)
		}
	}
	delete(in.sources, id)
	return changed
}

// Clear says that no alert fires.
func (in *Inhibitor) Clear() {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, groups := range in.groups {
		clear(groups)
	}
	clear(in.sources)
}

// Sources counts the alerts that fire and can inhibit others.
func (in *Inhibitor) Sources() int {
	in.mu.RLock()
	defer in.mu.RUnlock()
	return len(in.sources)
}

// list is the one of the group's lists that an alert belongs to.
func (g *group) list(both bool) *[]string {
	if both {
		return &g.both
	}
	return &g.plain
}

// inhibitors lists, for each rule that holds an alert back, the source alert with the smallest id.
func (in *Inhibitor) inhibitors(labels event.Labels) []found {
	if in == nil {
		return nil
	}
	in.mu.RLock()
	defer in.mu.RUnlock()
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
		text := fmt.Sprintf("inhibition rule %s: %s fires", r.name, in.sources[by].text)
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
