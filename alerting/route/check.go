package route

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/alertmanager/pkg/labels"

	"kemi.dev/kemi/internal/conf"
)

// checkRoot says what a root must not have: it takes what no other route takes, always.
func (t *Tree) checkRoot(n conf.Node) conf.Problems {
	var problems conf.Problems
	for _, key := range []string{"matchers", "match", "match_re", "mute_time_intervals", "active_time_intervals", "continue"} {
		at := n.Get(key)
		if at.IsZero() || at.Kind() == conf.Null || at.Text() == "false" || (at.Kind() != conf.Scalar && len(at.Keys())+len(at.Items()) == 0) {
			continue
		}
		problems = append(problems, at.Problem("the root of the routes cannot have "+key+": it takes what no other route takes", "move it to a route under routes"))
	}
	return problems
}

// checkNames says which names lead nowhere.
func (t *Tree) checkNames(known Known) conf.Problems {
	var problems conf.Problems
	look := func(n Name, word, kind, key string, among []string) {
		if !slices.Contains(among, word) {
			problems = append(problems, n.At.Problem("there is no "+kind+" "+strconv.Quote(word), suggest(word, kind, key, among)))
		}
	}
	if slices.Contains(known.Receivers, Owner) {
		for n := range t.nodes() {
			for _, r := range n.config.Receiver {
				if r.Text == Owner {
					problems = append(problems, r.At.Problem(strconv.Quote(Owner)+" stands for the team that owns the alert, and there is a receiver of that name", "give the receiver another name"))
				}
			}
		}
	}
	for n := range t.nodes() {
		for _, r := range n.config.Receiver {
			if r.Text == "" {
				continue // No name, which was said.
			}
			if team, ok := strings.CutPrefix(r.Text, TeamPrefix); ok {
				look(r, team, "team", "teams", known.Teams)
			} else if r.Text != Owner {
				look(r, r.Text, "receiver", "receivers", known.Receivers)
			}
			if known.Lacks == nil {
				continue
			}
			if what, do := known.Lacks(r.Text); what != "" {
				problems = append(problems, r.At.Problem(what, do))
			}
		}
		if known.AnyInterval {
			continue
		}
		for _, i := range slices.Concat(n.config.MuteTimeIntervals, n.config.ActiveTimeIntervals) {
			if i.Text == "" {
				continue
			}
			look(i, i.Text, "time interval", "time_intervals", known.Intervals)
		}
	}
	return problems
}

func suggest(word, kind, key string, known []string) string {
	if near := conf.Nearest(word, known); near != "" {
		return "did you mean " + strconv.Quote(near) + "?"
	}
	if len(known) == 0 {
		return "add it under " + key + ":"
	}
	return "the " + kind + "s are " + strings.Join(slices.Sorted(slices.Values(known)), ", ")
}

// nodes yields all routes, parents first.
func (t *Tree) nodes() func(yield func(*node) bool) {
	var walk func(n *node, yield func(*node) bool) bool
	walk = func(n *node, yield func(*node) bool) bool {
		if !yield(n) {
			return false
		}
		for _, r := range n.routes {
			if !walk(r, yield) {
				return false
			}
		}
		return true
	}
	return func(yield func(*node) bool) { walk(t.root, yield) }
}

// Unreachable is a route that no alert can reach.
type Unreachable struct {
	// Index leads to it: the position in each list of routes from the root down, from 0.
	Index []int
	// At is where it stands.
	At conf.Pos
	// Why says for people what keeps alerts away.
	Why string
}

// FindUnreachable reads a tree as New does, without looking at names, and lists what no alert can reach: see Unreachable.
func FindUnreachable(n conf.Node) ([]Unreachable, conf.Problems) {
	var c Config
	if problems := n.Into(&c); len(problems) > 0 {
		return nil, problems
	}
	t := &Tree{root: build(&c, nil, 1, Waits{})}
	return t.unreachable(), nil
}

// unreachable lists the routes that no alert can reach, whatever its labels, without those below them. What it lists is
// certain; that a route is not listed proves nothing.
func (t *Tree) unreachable() []Unreachable {
	var all []Unreachable
	var walk func(n *node, index []int, given labels.Matchers)
	walk = func(n *node, index []int, given labels.Matchers) {
		for i, r := range n.routes {
			here, must := append(slices.Clone(index), i), slices.Concat(given, r.matchers)
			why := contradiction(must)
			for j := 0; j < i && why == ""; j++ {
				if earlier := n.routes[j]; !earlier.config.Continue && every(earlier.matchers, func(m *labels.Matcher) bool { return implied(must, m) }) {
					why = "route " + strconv.Itoa(j+1) + " " + earlier.matchers.String() + " before it takes all of its alerts and does not continue"
				}
			}
			if why != "" {
				all = append(all, Unreachable{Index: here, At: r.config.At, Why: why})
				continue
			}
			walk(r, here, must)
		}
	}
	walk(t.root, nil, nil)
	return all
}

func every(ms labels.Matchers, holds func(*labels.Matcher) bool) bool {
	return !slices.ContainsFunc(ms, func(m *labels.Matcher) bool { return !holds(m) })
}

// contradiction names two matchers that never match together.
func contradiction(must labels.Matchers) string {
	for _, a := range must {
		values := only(a)
		if values == nil {
			continue
		}
		for _, b := range must {
			if b.Name == a.Name && !slices.ContainsFunc(values, b.Matches) {
				return a.String() + " and " + b.String() + " never match the same alert"
			}
		}
	}
	return ""
}

// implied reports whether every alert that must matches is matched by m.
func implied(must labels.Matchers, m *labels.Matcher) bool {
	return slices.ContainsFunc(must, func(given *labels.Matcher) bool {
		if given.Name != m.Name {
			return false
		}
		if given.Type == m.Type && given.Value == m.Value {
			return true
		}
		values := only(given)
		return values != nil && !slices.ContainsFunc(values, func(v string) bool { return !m.Matches(v) })
	})
}

// only lists the values that a matcher matches when it says them one by one: name="a", name=~"a|b".
func only(m *labels.Matcher) []string {
	switch m.Type {
	case labels.MatchEqual:
		return []string{m.Value}
	case labels.MatchRegexp:
		values := strings.Split(m.Value, "|")
		if !slices.ContainsFunc(values, func(v string) bool { return regexp.QuoteMeta(v) != v }) {
			return values
		}
	}
	return nil
}
