package alerting

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/line"
)

// Bounds of an incident's record: it stays far below 64 kB whatever the storm.
const (
	maxListed    = 20  // Alerts and examples.
	maxClasses   = 30  // Classes that are counted apart.
	maxText      = 200 // Characters of a summary.
	maxName      = 250 // Characters of a name.
	maxTitle     = 1500
	maxShown     = 20 // Incidents that are published while they are being verified.
	otherClasses = "other"
)

// DefaultTeam is the team of what belongs to nobody.
const DefaultTeam = "default"

// publishEvery is how often a record is published of which only numbers change.
const publishEvery = 2 * time.Second

// publish puts the records into the output: at once those that matter, now and then the rest.
func (d *Desk) publish(now time.Time, all bool) {
	due := d.urgent
	d.urgent = nil
	if all {
		for inc := range d.changed {
			if now.Sub(inc.emitted) >= publishEvery && (inc.published || now.Sub(inc.rec.OpenedAt) >= time.Second) {
				due = append(due, inc)
			}
		}
	}
	slices.SortFunc(due, func(a, b *incident) int { return cmp.Compare(a.rec.ID, b.rec.ID) })
	for _, inc := range slices.Compact(due) {
		if d.incidents[inc.rec.ID] != inc {
			continue // It ended, and said so.
		}
		if inc.rec.State == event.IncidentVerifying && !inc.published {
			if d.shown >= maxShown {
				continue
			}
			d.shown++
		}
		d.render(inc, now)
		d.emit(inc, now)
	}
}

func (d *Desk) emit(inc *incident, now time.Time) *event.Incident {
	delete(d.changed, inc)
	inc.published, inc.emitted = true, now
	inc.rec.Revision++
	inc.rec.Updated = now
	rec := inc.rec
	d.out.Incidents = append(d.out.Incidents, &rec)
	return &rec
}

// render fills the record from what the desk knows now.
func (d *Desk) render(inc *incident, now time.Time) {
	r := &inc.rec
	d.believe(inc)
	r.Team, r.Told, r.Changes = d.teamOf(inc), slices.Clone(inc.told), d.changes(inc, now)
	if len(r.Reason.Causes) > maxListed {
		r.Reason.Causes = r.Reason.Causes[:maxListed]
	}
	if r.State == event.IncidentResolved {
		if r.Alerts, r.Firing = resolved(r.Alerts), 0; inc.byHand {
			r.Firing = len(inc.members)
		}
		if inc.peak != nil {
			r.Suppressed, r.SuppressedTotal, r.SuppressedPeak = inc.peak.by, inc.peak.total, nil
		}
		r.Title = inc.title(now)
		return
	}
	muted := d.mutes(inc, now)
	var own, suppressed first
	worst := ""
	for _, a := range inc.members {
		if a.cause == nil {
			own.offer(a)
		} else {
			suppressed.offer(a)
		}
		if len(muted) > 0 || !a.hushed || a.cause != nil {
			worst = worse(worst, a.event.Severity)
		}
	}
	r.Firing = len(inc.members)
	if worst != "" {
		if r.Severity = worse(inc.loud, worst); len(muted) == 0 {
			inc.loud = r.Severity
		}
	}
	if r.Alerts = resolved(r.Alerts); own.n > 0 {
		r.Alerts = listed(own.held)
	}
	if suppressed.n > 0 {
		r.Examples = make([]event.SuppressedAlert, 0, len(suppressed.held))
		for _, a := range suppressed.held {
			r.Examples = append(r.Examples, event.SuppressedAlert{
				ID: a.event.ID, Name: cut(a.event.Name, maxName), Target: cut(a.event.Target, maxName), Class: cut(a.node.class(), maxName),
				Reason: event.Reason{Code: ReasonParentDown, Text: cut(a.cause.id, maxName) + a.cause.condition(), Causes: nonEmpty(a.cause.id, a.cause.finding)},
			})
		}
	}
	d.count(inc)
	inc.recordPeak()
	inc.recordRoots()
	r.Title = inc.title(now)
}

// resolved copies alerts, which pages decided before share, as resolved.
func resolved(alerts []event.IncidentAlert) []event.IncidentAlert {
	alerts = slices.Clone(alerts)
	for i := range alerts {
		alerts[i].State = event.AlertResolved
	}
	return alerts
}

func nonEmpty(ids ...string) []string {
	return slices.DeleteFunc(ids, func(id string) bool { return id == "" })
}

// first keeps the first alerts by time of those that it is offered.
type first struct {
	held []*held
	n    int
}

func (f *first) offer(a *held) {
	f.n++
	i, _ := slices.BinarySearchFunc(f.held, a, func(x, y *held) int {
		return sooner(x.event.StartsAt, y.event.StartsAt, x.event.ID, y.event.ID)
	})
	if i >= maxListed {
		return
	}
	f.held = slices.Insert(f.held, i, a)
	f.held = f.held[:min(len(f.held), maxListed)]
}

// count says what the cause took along: every target that is not there because of it, whether it has an alert or not; when
// it is only suspected, those that fire.
// When the cause is back it stays at what it was,
// and when it is over it is the most there ever was.
func (d *Desk) count(inc *incident) {
	roots := inc.roots()
	suspected := slices.ContainsFunc(roots, func(n *node) bool { return n.suspected })
	if len(roots) == 0 || inc.counted == d.graph.changes && (!suspected || inc.countedAt == d.graph.fires) {
		return
	}
	inc.counted, inc.countedAt = d.graph.changes, d.graph.fires
	c := &count{by: map[string]int{}}
	took := func(u *node) {
		c.total++
		class := cut(u.class(), maxName)
		if _, known := c.by[class]; !known && len(c.by) >= maxClasses {
			class = otherClasses
		}
		c.by[class]++
	}
	for _, n := range roots {
		if n.suspected { // Only that much is known.
			d.graph.fail(n, took)
		} else {
			d.graph.taken(n, took)
		}
	}
	if c.total == 0 {
		c.by = nil
	}
	inc.rec.Suppressed, inc.rec.SuppressedTotal = c.by, c.total
	if inc.peak == nil || inc.peak.total < c.total {
		inc.peak = c
	}
}

// count is a number of targets, and how many there are of each class.
type count struct {
	by    map[string]int
	total int
}

// teamOf is whose the incident is: its owner's, until people are told. Then it stays with the team that was told, whoever
// owns the cause by now, until another cause is found or it is over.
func (d *Desk) teamOf(inc *incident) string {
	if len(inc.told) > 0 && inc.toldTeam != "" && inc.toldCause == inc.rec.Cause {
		return inc.toldTeam
	}
	return d.ownerOf(inc)
}

// ownerOf is the team of the cause; when nobody owns that, of the first alert.
func (d *Desk) ownerOf(inc *incident) string {
	if t := inc.key.node.target; t != nil && t.Team != "" {
		inc.team = t.Team
	}
	if inc.team == "" {
		var f first
		for _, a := range inc.members {
			if a.event.Team != "" {
				f.offer(a)
			}
		}
		if f.n > 0 {
			inc.team = f.held[0].event.Team
		}
	}
	return cmp.Or(inc.team, DefaultTeam)
}

func summary(a *event.Alert) string {
	return cmp.Or(a.Annotations["summary"], a.Annotations["description"])
}

func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	r := []rune(s)
	if len(r) <= most {
		return s
	}
	return string(r[:most]) + "…"
}

// title says the incident in one line, which begins with no word of a page's own.
func (inc *incident) title(now time.Time) string { return line.Start(inc.says(now), maxTitle) }

func (inc *incident) says(now time.Time) string {
	r, n := &inc.rec, inc.key.node
	switch _, _, behind := r.Behind(); {
	case behind:
		return inc.behindTitle(now)
	case r.Kind == event.IncidentSimilar:
		return inc.similarTitle(now)
	}
	name, again := cut(n.id, maxName), len(r.Reopened) > 0 && r.State != event.IncidentResolved
	if n.target != nil && n.target.Class != "" {
		name += " (" + n.target.Class + ")"
	}
	if inc.key.own {
		what := "alert"
		if len(r.Alerts) > 0 {
			what = r.Alerts[0].Name
			if s := r.Alerts[0].Summary; s != "" && len(r.Alerts) == 1 {
				what += ": " + s
			}
			if more := len(r.Alerts) - 1; more > 0 {
				what += " and " + strconv.Itoa(more) + " more"
			}
		}
		if name += ": "; n.target == nil && strings.HasPrefix(n.id, noTarget) {
			name = ""
		}
		if again {
			name += "again "
		}
		if r.State == event.IncidentResolved {
			return name + "resolved after " + lasted(r, now) + ": " + what
		}
		return name + what
	}
	if said := inc.uncertainTitle(name, now); said != "" {
		return said
	}
	s := name + " is down"
	if r.Reason.Code == ReasonExonerated && inc.cleared != nil && inc.cleared != n {
		return name + " is still down, " + cut(inc.cleared.id, maxName) + " is not" + inc.tookAlong()
	}
	if again {
		s += " again"
	}
	if r.Flapping != "" {
		s += ", flapping"
	}
	if r.State == event.IncidentResolved && n.target == nil {
		return name + " is no longer watched: closed after " + lasted(r, now)
	}
	if r.Question() && r.Reason.Code == ReasonMerged {
		return name + " is explained by another incident"
	}
	if r.State == event.IncidentResolved {
		s = name + " is up again after " + lasted(r, now)
	}
	if r.Reason.Code == ReasonByHand {
		s = name + " was resolved by hand after " + lasted(r, now)
	}
	return s + inc.tookAlong()
}

// tookAlong says what the cause of an incident took along; nothing when that is nothing.
func (inc *incident) tookAlong() string {
	r := &inc.rec
	if r.SuppressedTotal == 0 {
		return ""
	}
	verb := "are"
	if r.SuppressedTotal == 1 {
		verb = "is"
	}
	behind := plural(r.SuppressedTotal, "target") + " behind it"
	if r.State == event.IncidentResolved {
		return ": it took " + behind + " along (" + classes(r.Suppressed) + ")"
	}
	return ": " + behind + " " + verb + " unreachable (" + classes(r.Suppressed) + ")"
}

func lasted(r *event.Incident, now time.Time) string {
	return now.Sub(r.OpenedAt).Round(time.Second).String()
}

func classes(by map[string]int) string {
	var parts []string
	for _, c := range slices.Sorted(maps.Keys(by)) {
		parts = append(parts, plural(by[c], c))
	}
	return strings.Join(parts, ", ")
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + many(noun)
}

// fire says how many fire, with what goes between them and the verb.
func fire(n int, noun, between string) string {
	verb := " fire"
	if n == 1 {
		verb = " fires"
	}
	return plural(n, noun) + between + verb
}

// many is the plural of a noun.
func many(noun string) string {
	end := "s"
	switch {
	case noun == otherClasses:
		end = ""
	case strings.HasSuffix(noun, "s"), strings.HasSuffix(noun, "x"), strings.HasSuffix(noun, "ch"), strings.HasSuffix(noun, "sh"):
		end = "es"
	case len(noun) > 1 && strings.HasSuffix(noun, "y") && !strings.ContainsAny(noun[len(noun)-2:len(noun)-1], "aeiou"):
		noun, end = noun[:len(noun)-1], "ies"
	}
	return noun + end
}

// text says the incident in some lines.
func text(inc *incident, kind event.PageKind) string {
	r := &inc.rec
	var b strings.Builder
	fmt.Fprintln(&b, r.Title)
	exonerated := r.Reason.Code == ReasonExonerated
	if exonerated && r.State != event.IncidentResolved {
		fmt.Fprintf(&b, "%s.\n", line.Of(r.Reason.Text, 2*maxName))
	}
	if told := inc.told0(); kind == event.PageUpdate && told != r.Cause && !exonerated {
		if name, none := strings.CutPrefix(told, noTarget); none {
			fmt.Fprintf(&b, "You were told of %s without a target: it is about %s.\n", line.Of(name, maxName), line.Of(r.Cause, maxName))
		} else {
			fmt.Fprintf(&b, "You were told of %s: the cause is %s.\n", line.Of(spoken(told), maxName), line.Of(r.Cause, maxName))
		}
	}
	if kind == event.PageResolved && inc.toldCause != "" && inc.toldCause != r.Cause && inc.cleared == nil {
		fmt.Fprintf(&b, "You were told of %s: its cause was %s.\n", line.Of(spoken(inc.toldCause), maxName), line.Of(r.Cause, maxName))
	}
	if n := len(r.Reopened); n > 0 && kind != event.PageResolved {
		again := func(c event.Change) bool { return c.At.Equal(r.Reopened[n-1]) }
		if i := slices.IndexFunc(r.Changes, again); i >= 0 {
			fmt.Fprintf(&b, "It %s.\n", line.Of(r.Changes[i].Text, maxText+1))
		}
	}
	switch r.Reason.Code {
	case ReasonSuspected:
		fmt.Fprintln(&b, "Suspected: everything that fails needs it, and nobody could ask it.")
	case ReasonUnverified:
		fmt.Fprintln(&b, "What it depends on could not be verified.")
	case ReasonSpoke:
		fmt.Fprintln(&b, "It was explained by another incident that is over, and is still there.")
	}
	if r.Flapping != "" {
		fmt.Fprintf(&b, "It flaps: %s. It will be silent until it is calm.\n", r.Flapping)
	}
	for i, root := range r.Roots {
		if i == maxListed {
			fmt.Fprintf(&b, "- and %d more\n", len(r.Roots)-i)
			break
		}
		fmt.Fprintf(&b, "- %s by what is behind it\n", line.Of(root, maxName+1))
	}
	for _, a := range r.Alerts {
		fmt.Fprintf(&b, "- %s on %s since %s", line.Of(a.Name, maxName+1), line.Of(a.Target, maxName+1), a.StartsAt.UTC().Format(time.RFC3339))
		if a.Summary != "" {
			fmt.Fprintf(&b, ": %s", line.Of(a.Summary, maxText+1))
		}
		fmt.Fprintln(&b)
	}
	return strings.TrimRight(b.String(), "\n")
}

// told0 is the cause that people were told of first.
func (inc *incident) told0() string {
	if len(inc.rec.Reason.Causes) > 0 && inc.rec.Reason.Code == ReasonRerooted {
		return inc.rec.Reason.Causes[0]
	}
	return inc.toldCause
}
