package alerting

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"kemi.dev/kemi/alerting/hush"
	"kemi.dev/kemi/bus/event"
)

// What is told of changes: those of so long before, so many, the newest first.
const (
	changesWithin = 24 * time.Hour
	maxChanges    = 5
	maxWorks      = 200
)

// note remembers what changed on a target.
func (n *node) note(old, t *event.Target) {
	if old == nil || t.Updated.IsZero() || old.Version == t.Version {
		return
	}
	if text := difference(old, t); text != "" {
		n.changes = newest(append([]event.Change{{At: t.Updated.UTC(), Text: cut(text, maxText)}}, n.changes...), t.Updated)
	}
}

// difference says what is other in a target's new version than in the old one.
func difference(old, t *event.Target) string {
	var all []string
	say := func(what, a, b string) {
		switch {
		case a == b:
		case a == "":
			all = append(all, fmt.Sprintf("%s %s is new", what, b))
		case b == "":
			all = append(all, fmt.Sprintf("%s %s is gone", what, a))
		default:
			all = append(all, fmt.Sprintf("%s %s became %s", what, a, b))
		}
	}
	say("lifecycle", string(old.Lifecycle), string(t.Lifecycle))
	say("address", old.Address, t.Address)
	say("class", old.Class, t.Class)
	say("team", old.Team, t.Team)
	for _, kind := range event.RelationKinds() {
		say(kind, needsText(old.Relations[kind]), needsText(t.Relations[kind]))
	}
	names := slices.Collect(maps.Keys(old.Labels))
	names = slices.AppendSeq(names, maps.Keys(t.Labels))
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		say("label "+name, old.Labels[name], t.Labels[name])
	}
	checks := map[string][2]*event.Check{}
	for i, version := range [2]*event.Target{old, t} {
		for j := range version.Checks {
			c := checks[version.Checks[j].Name]
			c[i] = &version.Checks[j]
			checks[version.Checks[j].Name] = c
		}
	}
	for _, name := range slices.Sorted(maps.Keys(checks)) {
		switch c := checks[name]; {
		case c[0] == nil:
			all = append(all, "check "+name+" is new")
		case c[1] == nil:
			all = append(all, "check "+name+" is gone")
		case c[0].Every != c[1].Every:
			say("check "+name+": every", c[0].Every.String(), c[1].Every.String())
		case !reflect.DeepEqual(c[0], c[1]):
			all = append(all, "check "+name+" changed")
		}
	}
	return strings.Join(all, "; ")
}

func needsText(needs []event.Need) string {
	var all []string
	for _, n := range needs {
		all = append(all, strings.Join(n, " or "))
	}
	return strings.Join(all, ", ")
}

// work is what somebody said they would do, such as a deploy script: a maintenance window that does not recur.
type work struct {
	*event.Silence
	on *hush.Selector
}

// noteWork remembers a maintenance window: what was deployed lately is the first thing that people ask.
func (d *Desk) noteWork(s *event.Silence) {
	if s.Kind != event.MaintenanceWindow || s.Recurs != "" {
		return
	}
	d.works = slices.DeleteFunc(d.works, func(w work) bool { return w.ID == s.ID && w.StartsAt.Equal(s.StartsAt) })
	on, err := hush.NewSelector(s.Matchers)
	if err != nil {
		return // Whoever takes it in as a silence says so.
	}
	d.works = append(d.works, work{s, on})
	d.works = d.works[max(0, len(d.works)-maxWorks):]
}

// changes are what changed lately on an incident's cause, as far as it is known, newest first. What its record says
// already stays: after a restart nobody else knows it.
func (d *Desk) changes(inc *incident, now time.Time) []event.Change {
	all := slices.Clone(inc.rec.Changes)
	for _, c := range inc.key.node.changes {
		all = append(all, event.Change{At: c.At, Text: c.Text})
	}
	if t := inc.key.node.target; t != nil && !t.Updated.IsZero() { // That it changed is known, how may be not, after a restart.
		all = append(all, event.Change{At: t.Updated.UTC(), Text: "it was added to the CMDB, or changed there"})
	}
	var labels event.Labels
	for _, w := range d.works {
		if w.StartsAt.After(now) {
			continue
		}
		if labels == nil {
			labels = inc.labels()
		}
		if !w.on.Matches(labels) {
			continue
		}
		what := strings.Join(nonEmpty("maintenance", w.Annotations["name"], "by "+cmp.Or(w.By, "somebody")), " ")
		text := what + " began"
		if w.Comment != "" {
			text += ": " + w.Comment
		}
		all = append(all, event.Change{At: w.StartsAt.UTC(), Text: cut(text, maxText)})
		if !w.EndsAt.After(now) {
			all = append(all, event.Change{At: w.EndsAt.UTC(), Text: cut(what+" ended", maxText)})
		}
	}
	return newest(all, now)
}

// newest orders changes, newest first, each once and none too old. Of several words on one moment the first counts.
func newest(all []event.Change, now time.Time) []event.Change {
	slices.SortStableFunc(all, func(a, b event.Change) int { return b.At.Compare(a.At) })
	all = slices.CompactFunc(all, func(a, b event.Change) bool { return a.At.Equal(b.At) })
	all = slices.DeleteFunc(all, func(c event.Change) bool { return now.Sub(c.At) > changesWithin })
	return all[:min(len(all), maxChanges)]
}
