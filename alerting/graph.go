package alerting

import (
	"slices"
	"time"

	"kemi.dev/kemi/bus/event"
)

// reach is what is known of a target's answering.
type reach int

const (
	unheard reach = iota // No verdict yet.
	up
	down
)

// node is a target as the desk sees it, or only a name that a relation or an alert mentions.
type node struct {
	id     string
	target *event.Target // Nil when only the name is known.
	group  bool          // It is no target but what is gathered; see event.CauseSimilar.
	needs  [][]*node     // Each need is met by any one of its alternatives.
	users  nodes

	state reach
	since time.Time // When the state began.
	heard time.Time // The slot of the newest verdict.
	// recovered is when it last came back.
	recovered time.Time
	// acquitted is when it was last found to have been suspected wrongly.
	acquitted time.Time
	// reported: an alert says that it is down, nobody else does. suspected: what is behind it does; before is its state
	// without that.
	reported, suspected bool
	before              reach
	// finding is the identity of the newest verdict.
	finding string

	changes   []event.Change // Of late, newest first.
	alerts    map[string]*held
	incidents []*incident // The open ones that have it as their cause.
	standIn   *held       // What stands in an incident of similar alerts for one of its own.
	waiters   int         // Incidents that wait for news of it.
	asked     time.Time   // When it was last asked for.

	// Scratch of one walk.
	walk  uint64
	memo  blame
	visit uint64
}

// pollable says whether a verifying poll of the target can be had.
func (n *node) pollable() bool {
	return n.target != nil && len(n.target.Checks) > 0 && n.target.Lifecycle != event.Retired
}

// answered says whether the target was heard to answer at or after a time, and not to be silent since.
func (n *node) answered(since time.Time) bool { return n.state == up && !n.heard.Before(since) }

// gone says whether the target is down. What the CMDB does not know is not: nobody will hear of it coming back.
func (n *node) gone() bool { return n.state == down && n.target != nil }

func (n *node) class() string {
	if n.target == nil || n.target.Class == "" {
		return "target"
	}
	return n.target.Class
}

// interval is the longest interval of the target's checks.
func (n *node) interval() time.Duration {
	var longest time.Duration
	if n.target != nil {
		for _, c := range n.target.Checks {
			longest = max(longest, c.Every)
		}
	}
	return longest
}

// blame is why something is not there: the topmost target that is down on its way, and since when. The zero blame
// accuses nobody.
type blame struct {
	root  *node
	since time.Time
}

// earlier orders blames: the earlier failure first, the smaller id among equals.
func (b blame) earlier(other blame) bool {
	if !b.since.Equal(other.since) {
		return b.since.Before(other.since)
	}
	return b.root.id < other.root.id
}

// graph is the targets and what they need.
type graph struct {
	nodes  map[string]*node
	groups map[string]*node // What is gathered, by its name: no target, whatever it is called.
	// within is how much later than its child a parent may be seen to fail and still explain it.
	within time.Duration
	walks  uint64
	// changes counts everything that may change who is there and why not.
	changes uint64
	// fires counts how often an alert came to a target or left it.
	fires uint64
}

func (g *graph) node(id string) *node {
	n := g.nodes[id]
	if n == nil {
		n = &node{id: id}
		g.nodes[id] = n
	}
	return n
}

// group is the node of what is gathered, which is no target.
func (g *graph) group(name string) *node {
	n := g.groups[name]
	if n == nil {
		if g.groups == nil {
			g.groups = map[string]*node{}
		}
		n = &node{id: name, group: true}
		g.groups[name] = n
	}
	return n
}

// set takes in a target and reports whether what it needs changed.
func (g *graph) set(t *event.Target) (n *node, changed bool) {
	n = g.node(t.ID)
	var needs [][]*node
	for _, kind := range event.RelationKinds() {
		for _, need := range t.Relations[kind] {
			alternatives := make([]*node, 0, len(need))
			for _, id := range need {
				alternatives = append(alternatives, g.node(id))
			}
			if len(alternatives) > 0 {
				needs = append(needs, alternatives)
			}
		}
	}
	changed = n.target == nil || n.target.Lifecycle != t.Lifecycle || len(n.target.Checks) != len(t.Checks) ||
		!slices.EqualFunc(n.needs, needs, slices.Equal[[]*node])
	n.note(n.target, t)
	n.target = t
	if changed {
		g.link(n, needs)
	}
	return n, changed
}

// remove forgets a target; its name stays while something mentions it.
func (g *graph) remove(n *node) {
	g.link(n, nil)
	n.target, n.state, n.since, n.heard, n.recovered, n.finding = nil, unheard, time.Time{}, time.Time{}, time.Time{}, ""
	n.reported, n.suspected = false, false
	g.forget(n)
}

// forget drops a node that nothing mentions any more.
func (g *graph) forget(n *node) {
	if n.target == nil && n.state == unheard && !n.mentioned() {
		if n.group {
			delete(g.groups, n.id)
			return
		}
		delete(g.nodes, n.id)
	}
}

// mentioned says whether a target, an alert or an incident points to the node.
func (n *node) mentioned() bool {
	return len(n.users.all) > 0 || len(n.alerts) > 0 || len(n.incidents) > 0 || n.standIn != nil
}

func (g *graph) link(n *node, needs [][]*node) {
	old := n.needs
	n.needs = needs
	for _, need := range needs {
		for _, a := range need {
			a.users.add(n)
		}
	}
	for _, need := range old {
		for _, a := range need {
			if !slices.ContainsFunc(needs, func(alternatives []*node) bool { return slices.Contains(alternatives, a) }) {
				a.users.remove(n)
				g.forget(a)
			}
		}
	}
}

// blame says which failure explains that n is not there; nobody explains himself. Of several needs that are not met
// the one that failed first explains it, of the alternatives of one need the one that failed last.
func (g *graph) blame(n *node) blame {
	g.walks++
	return g.above(n)
}

func (g *graph) above(n *node) blame {
	if n.walk == g.walks {
		return n.memo // In a cycle this is the zero blame: the way round ends here.
	}
	n.walk, n.memo = g.walks, blame{}
	var first blame
	for _, need := range n.needs {
		if b := g.unmet(need); b.root != nil && b.root != n && (first.root == nil || b.earlier(first)) {
			first = b
		}
	}
	if first.root != nil && g.explains(first, n) {
		n.memo = first
	}
	return n.memo
}

func (g *graph) unmet(need []*node) blame {
	var last blame
	for _, alternative := range need {
		b := g.failed(alternative)
		if b.root == nil {
			return blame{}
		}
		if last.root == nil || last.earlier(b) {
			last = b
		}
	}
	return last
}

// failed says why n is not there for those that need it.
func (g *graph) failed(n *node) blame {
	if b := g.above(n); b.root != nil {
		return b
	}
	if n.gone() {
		return blame{n, n.since}
	}
	return blame{}
}

// explains says whether a failure can be the reason that n is not there: it is not when n answered in spite of it,
// or failed long before.
func (g *graph) explains(b blame, n *node) bool {
	switch n.state {
	case up:
		return n.heard.Before(b.since)
	case down:
		return !b.since.After(n.since.Add(g.within))
	default:
		return true
	}
}

// doubtLimit bounds how many ancestors are asked for one failure.
const doubtLimit = 64

// doubts lists, nearest first, the targets on whose way n may have failed since a time: those that could be asked and
// were not heard since. back is when the newest of those that failed too came back; zero when none did.
func (g *graph) doubts(n *node, since time.Time) (unsure []*node, back time.Time) {
	g.walks++
	n.visit = g.walks
	for queue := []*node{n}; len(queue) > 0 && len(unsure) < doubtLimit; queue = queue[1:] {
		for _, need := range queue[0].needs {
			met := false
			for _, a := range need {
				met = met || a.answered(since)
				if a.recovered.After(back) && !a.recovered.Before(since) {
					back = a.recovered
				}
			}
			if met {
				continue
			}
			for _, a := range need {
				if a.visit == g.walks || a.state == down {
					continue
				}
				a.visit = g.walks
				if a.pollable() && a.heard.Before(since) {
					unsure = append(unsure, a)
				}
				queue = append(queue, a)
			}
		}
	}
	return unsure, back
}

// leads says whether n needs other, directly or through what it needs.
func (g *graph) leads(n, other *node) bool {
	g.walks++
	n.visit = g.walks
	for queue := []*node{n}; len(queue) > 0; queue = queue[1:] {
		for _, need := range queue[0].needs {
			for _, a := range need {
				if a == other {
					return true
				}
				if a.visit != g.walks {
					a.visit = g.walks
					queue = append(queue, a)
				}
			}
		}
	}
	return false
}

// needed calls f for everything that n needs, directly or through others.
func (g *graph) needed(n *node, f func(*node)) {
	g.walks++
	n.visit = g.walks
	for queue := []*node{n}; len(queue) > 0; queue = queue[1:] {
		for _, need := range queue[0].needs {
			for _, a := range need {
				if a.visit != g.walks {
					a.visit = g.walks
					f(a)
					queue = append(queue, a)
				}
			}
		}
	}
}

// below calls f for everything that needs n directly or through others, and for n itself.
func (g *graph) below(n *node, f func(*node)) {
	g.walks++
	n.visit = g.walks
	for queue := []*node{n}; len(queue) > 0; queue = queue[1:] {
		f(queue[0])
		for _, u := range queue[0].users.all {
			if u.visit != g.walks {
				u.visit = g.walks
				queue = append(queue, u)
			}
		}
	}
}

// taken calls f for every target that is not there because root is down.
func (g *graph) taken(root *node, f func(*node)) {
	g.walks++
	root.visit = g.walks
	for queue := []*node{root}; len(queue) > 0; queue = queue[1:] {
		for _, u := range queue[0].users.all {
			if u.visit != g.walks {
				u.visit = g.walks
				if u.target != nil && g.above(u).root == root {
					f(u)
					queue = append(queue, u)
				}
			}
		}
	}
}
