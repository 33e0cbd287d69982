package alerting

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"kemi.dev/kemi/bus/event"
)

// What people read of a suspicion: what fires, and that nobody knows more.

// believe keeps whether an incident's cause is only suspected. Once it is over nobody will know it any more.
func (d *Desk) believe(inc *incident) {
	r, n := &inc.rec, inc.key.node
	switch {
	case inc.key.own:
		r.Suspected = false
	case n.suspected:
		r.Suspected = true
	case n.gone():
		r.Suspected = false
		if r.Reason.Code == ReasonSuspected {
			r.Reason = event.Reason{Code: ReasonDown, Causes: nonEmpty(n.finding)}
			if n.reported {
				r.Reason = event.Reason{Code: ReasonReported, Causes: d.reports(n)}
			}
		}
	}
}

// reports are the alerts that say of a target that it is not there.
func (d *Desk) reports(n *node) []string {
	var ids []string
	for _, a := range n.alerts {
		if d.says(a.event) {
			ids = append(ids, a.event.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

// fail calls f for every target of which something fires and that is not there if root is down.
func (g *graph) fail(root *node, f func(*node)) {
	g.taken(root, func(u *node) {
		if len(u.alerts) > 0 {
			f(u)
		}
	})
}

// condition says how a cause is, after its name.
func (n *node) condition() string {
	switch {
	case n.suspected:
		return " is suspected"
	case n.gone():
		return " is down"
	default:
		return " was believed to be down"
	}
}

// uncertainTitle says an incident in one line of whose cause nobody knows that it is down now; empty when that is known.
func (inc *incident) uncertainTitle(name string, now time.Time) string {
	r, n := &inc.rec, inc.key.node
	switch {
	case r.Reason.Code == ReasonByHand && r.Suspected:
		return "what fires behind " + name + " was resolved by hand after " + lasted(r, now)
	case r.Reason.Code == ReasonByHand, r.Question() && r.Reason.Code == ReasonMerged, n.target == nil:
		return ""
	case r.Suspected && r.State == event.IncidentResolved:
		return "what fired behind " + name + " is over after " + lasted(r, now) + ": " + plural(r.SuppressedTotal, "target") + " (" + classes(r.Suppressed) + ")"
	case r.State == event.IncidentResolved:
		return ""
	case inc.exonerated() && len(inc.members) > 0:
		return inc.stillTitle(name)
	case !r.Suspected:
		return ""
	}
	s := name + " is suspected"
	if len(r.Reopened) > 0 {
		s += " again"
	}
	if r.Flapping != "" {
		s += ", flapping"
	}
	s += ": " + fire(r.SuppressedTotal, "target", " behind it") + " (" + classes(r.Suppressed) + "), "
	if n.pollable() {
		return s + "it could not be asked"
	}
	return s + "nobody polls it"
}

// behindTitle says what is left behind a target that is not its cause.
func (inc *incident) behindTitle(now time.Time) string {
	r := &inc.rec
	_, id, _ := r.Behind()
	if r.State == event.IncidentResolved {
		return "what fired behind " + cut(id, maxName) + " is over after " + lasted(r, now)
	}
	targets, names := map[*node]struct{}{}, map[string]int{}
	for _, a := range inc.members {
		targets[a.node] = struct{}{}
		names[cut(a.event.Name, maxName)]++
	}
	s := firing(targets, " behind "+cut(id, maxName))
	if len(targets) > 1 {
		s += ", each by itself"
	}
	return s + ": " + kindsOf(names)
}

// kindsOf says how many alerts there are of which name, the most first.
func kindsOf(names map[string]int) string {
	order := make([]string, 0, len(names))
	for name := range names {
		order = append(order, name)
	}
	slices.SortFunc(order, func(a, b string) int { return cmp.Or(cmp.Compare(names[b], names[a]), cmp.Compare(a, b)) })
	var said []string
	for i, name := range order {
		if i == 3 && len(order) > 4 {
			said = append(said, strconv.Itoa(len(order)-3)+" more kinds of alert")
			break
		}
		said = append(said, name+" ("+strconv.Itoa(names[name])+")")
	}
	return strings.Join(said, ", ")
}

// stillTitle says in one line what fires while it is waited whether it was only late.
func (inc *incident) stillTitle(name string) string {
	targets := map[*node]struct{}{}
	for _, a := range inc.members {
		targets[a.node] = struct{}{}
	}
	return firing(targets, " behind "+name+" still") + "; " + inc.rec.Reason.Text
}

// firing says how many targets fire, with what goes between them and the verb; a single one has its name.
func firing(targets map[*node]struct{}, between string) string {
	if len(targets) == 1 {
		for n := range targets {
			return n.called() + between + " fires"
		}
	}
	return fire(len(targets), "target", between)
}

// called is the name of a target with its class, if that is known.
func (n *node) called() string {
	name := cut(n.id, maxName)
	if n.target == nil && strings.HasPrefix(n.id, noTarget) {
		return "an alert about no target"
	}
	if n.target != nil && n.target.Class != "" {
		name += " (" + n.target.Class + ")"
	}
	return name
}
