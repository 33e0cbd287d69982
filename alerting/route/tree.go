// Package route says by which way an alert is told, and how urgent it is. In: the configuration under `route:`, which is
// Alertmanager's route tree, and a team's `urgency:`; the labels of an alert, its severity, the time. Out: who is told by
// which routes, how alerts are grouped, whether people are called. It promises to choose as Alertmanager chooses, and to
// find at load what can never work: a receiver, team or interval that is not there, a route that no alert can reach. It
// never looks at the clock and remembers nothing.
//
// Beyond Alertmanager a receiver may be `team:NAME`, the way of that team with its schedule and escalation, or `owner`,
// the way of the team that owns the alert, and a route may name several. Without a tree everything goes to the owner.
package route

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/alertmanager/pkg/labels"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/conf"
)

// The receivers that are no receivers.
const (
	// Owner is the way of the team that owns the alert.
	Owner = "owner"
	// TeamPrefix before a team's name is the way of that team.
	TeamPrefix = "team:"
)

// DefaultTeam owns what has no label of TeamLabel.
const (
	TeamLabel   = "team"
	DefaultTeam = "default"
)

// The codes of reasons.
const (
	// ReasonRouted: the route tree says so.
	ReasonRouted = "routed"
	// ReasonOwner: its team owns the alert.
	ReasonOwner = "owner"
)

// Waits hold for routes that do not say otherwise.
type Waits struct{ GroupWait, GroupInterval, RepeatInterval time.Duration }

// AlertmanagerWaits are those of an Alertmanager that says nothing.
func AlertmanagerWaits() Waits {
	return Waits{GroupWait: 30 * time.Second, GroupInterval: 5 * time.Minute, RepeatInterval: 4 * time.Hour}
}

// Match is one way by which an alert is told.
type Match struct {
	// Receiver by its name, or else Team, by whose own way it is.
	Receiver, Team string
	// GroupBy are the labels that alerts of one group have in common, sorted; not to be changed. With GroupByAll it is all
	// labels.
	GroupBy    []string
	GroupByAll bool
	Waits
	// Mute and Active are intervals by name: nobody is told within one of Mute, or, when there are any, outside of all
	// of Active. Not to be changed.
	Mute, Active []string
	// Key is Alertmanager's name of the route: the matchers from the root to it.
	Key string
	// Path says for people which routes matched: `route > 2 {team="network"} > 1 {severity="critical"}`.
	Path string
	// At is where the route stands in the configuration.
	At conf.Pos
	// Reason why it is told this way.
	Reason event.Reason
}

// Where says for people which routes matched, and where the last of them stands.
func (m *Match) Where() string {
	if m.At.Line == 0 {
		return m.Path
	}
	return m.Path + " (" + m.At.File + ":" + strconv.Itoa(m.At.Line) + ")"
}

// Tree is a route tree. A nil Tree sends everything to its owner.
type Tree struct{ root *node }

// node is a route with everything that it inherits.
type node struct {
	config   *Config
	parent   *node
	number   int // Among its siblings, from 1.
	matchers labels.Matchers
	ways     []Match // One for each receiver, filled in but for the owner.
	routes   []*node
}

// Known are the names that routes may refer to.
type Known struct {
	Receivers, Teams, Intervals []string
	// AnyInterval: the intervals are not known.
	AnyInterval bool
	// Lacks says what keeps pages by a receiver from whoever reads there, and what to do; "" when nothing does. It may be nil.
	Lacks func(receiver string) (what, do string)
}

// New makes the tree that a node describes and says everything that is wrong with it. Without a node there is no tree.
func New(n conf.Node, known Known, waits Waits) (*Tree, conf.Problems) {
	if n.Kind() == conf.Null {
		return nil, nil
	}
	var c Config
	problems := n.Into(&c)
	if n.Kind() != conf.Map {
		return nil, problems
	}
	t := &Tree{root: build(&c, nil, 1, waits)}
	readable := len(problems) == 0
	problems = append(problems, t.checkRoot(n)...)
	problems = append(problems, t.checkNames(known)...)
	if readable { // A route of which some matchers could not be read seems to take more than it does.
		for _, u := range t.unreachable() {
			problems = append(problems, u.At.Problem("this route can never match: "+u.Why, "move it, change its matchers or remove it"))
		}
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return t, nil
}

func build(c *Config, parent *node, number int, waits Waits) *node {
	n := &node{config: c, parent: parent, number: number, matchers: c.matchers(func(re string) string { return re })}
	base := Match{Waits: waits}
	receivers := c.Receiver
	if parent != nil {
		base = parent.ways[0]
		if len(receivers) == 0 {
			receivers = parent.receivers()
		}
	}
	base.Key = c.matchers(anchored).String()
	base.Path = "route"
	if parent != nil {
		base.Key = parent.ways[0].Key + "/" + base.Key
		base.Path = parent.ways[0].Path + " > " + strconv.Itoa(number) + " " + n.matchers.String()
	}
	base.At, base.Mute, base.Active = c.At, texts(c.MuteTimeIntervals), texts(c.ActiveTimeIntervals)
	if c.GroupBy != nil {
		base.GroupBy, base.GroupByAll = slices.Sorted(slices.Values(texts(c.GroupBy))), false
		if len(c.GroupBy) == 1 && c.GroupBy[0].Text == everyLabel {
			base.GroupBy, base.GroupByAll = nil, true
		}
	}
	override(&base.GroupWait, c.GroupWait)
	override(&base.GroupInterval, c.GroupInterval)
	override(&base.RepeatInterval, c.RepeatInterval)
	if len(receivers) == 0 {
		receivers = Receivers{{Text: Owner, At: c.At}}
	}
	for _, r := range receivers {
		n.ways = append(n.ways, base.to(r.Text))
	}
	for i := range c.Routes {
		n.routes = append(n.routes, build(&c.Routes[i], n, i+1, waits))
	}
	return n
}

// receivers of the node, its own or inherited; none is the owner.
func (n *node) receivers() Receivers {
	if len(n.config.Receiver) > 0 || n.parent == nil {
		return n.config.Receiver
	}
	return n.parent.receivers()
}

// to is the match with the receiver that a route names.
func (m Match) to(receiver string) Match {
	m.Receiver, m.Team = receiver, ""
	if team, ok := strings.CutPrefix(receiver, TeamPrefix); ok {
		m.Receiver, m.Team = "", team
	}
	m.Reason = event.Reason{Code: ReasonRouted, Text: m.Where()}
	return m
}

func override(to *time.Duration, with *Wait) {
	if with != nil {
		*to = time.Duration(*with)
	}
}

func texts(names []Name) []string {
	out := make([]string, 0, len(names))
	for _, n := range names {
		out = append(out, n.Text)
	}
	return out
}

// Ways lists all ways that a tree has, parents first. Those to the owner have no receiver and no team.
func (t *Tree) Ways() []Match {
	if t == nil {
		return nil
	}
	var all []Match
	for n := range t.nodes() {
		for _, m := range n.ways {
			if m.Receiver == Owner {
				m.Receiver = ""
			}
			all = append(all, m)
		}
	}
	return all
}

// Match says by which ways an alert with these labels is told: at least one. As with Alertmanager the same receiver may
// be among them twice, once for each of the routes that name it.
func (t *Tree) Match(ls event.Labels) []Match {
	if t == nil {
		return []Match{owner(Match{Path: "no route"}, ls)}
	}
	return t.root.match(ls, nil)
}

// match appends the ways by which the node and what is below it tells; none when it does not match.
func (n *node) match(ls event.Labels, to []Match) []Match {
	for _, m := range n.matchers {
		if !m.Matches(ls.Get(m.Name)) {
			return to
		}
	}
	before := len(to)
	for _, r := range n.routes {
		was := len(to)
		to = r.match(ls, to)
		if len(to) > was && !r.config.Continue {
			return to
		}
	}
	if len(to) > before {
		return to
	}
	for _, way := range n.ways {
		if way.Receiver == Owner {
			way = owner(way, ls)
		}
		to = append(to, way)
	}
	return to
}

// owner fills in the team that owns an alert.
func owner(m Match, ls event.Labels) Match {
	team := ls.Get(TeamLabel)
	text := "its label " + TeamLabel + " says that " + team + " owns it"
	if team == "" {
		text = "it has no label " + TeamLabel
	}
	m.Receiver, m.Team = "", cmp.Or(team, DefaultTeam)
	m.Reason = event.Reason{Code: ReasonOwner, Text: m.Path + ": " + text}
	return m
}
