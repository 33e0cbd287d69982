package words

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/line"
)

// How much of an incident a page tells.
const (
	shownAlerts   = 10
	shownExamples = 5
	shownClasses  = 10
	shownChanges  = 5
	shownTold     = 10
)

const (
	duplicateNote = "This may be a duplicate: a process ended while the page was being sent, and nobody knows whether it arrived."
	suspectNote   = "suspected: everything that fails needs it, and nobody could ask it"
	exonerated    = event.ReasonExonerated
)

// places are the labels that say where something is, in the order in which they are said.
var places = [...]string{"site", "zone", "rack", "service", "env", "instance"}

// own are the incident's own alerts, those of the cause first, the worst and the oldest of each first.
func own(i *event.Incident) []event.IncidentAlert {
	all := slices.Clone(i.Alerts)
	slices.SortStableFunc(all, func(a, b event.IncidentAlert) int {
		return cmp.Or(
			first(a.Target == i.Cause, b.Target == i.Cause),
			first(a.State == event.AlertFiring, b.State == event.AlertFiring),
			first(a.Severity == i.Severity, b.Severity == i.Severity),
			a.StartsAt.Compare(b.StartsAt),
		)
	})
	return all
}

func first(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	default:
		return 1
	}
}

func facts(p *event.Page, i *event.Incident, own []event.IncidentAlert) []Fact {
	var all []Fact
	say := func(name, value string) {
		if value != "" {
			all = append(all, Fact{name, value})
		}
	}
	say(Where, where(i, own))
	if !i.OpenedAt.IsZero() {
		say(Since, stamp(i.OpenedAt, p.Created))
	}
	if over := i.ResolvedAt; p.Kind == event.PageResolved && !over.IsZero() {
		say(Until, fmt.Sprintf("%s, after %s", stamp(over, p.Created), span(over.Sub(i.OpenedAt))))
	}
	say(HowBad, howBad(p, i, own))
	say(Cause, cause(i))
	say(Suppressed, tookWith(i))
	say(Changed, changed(i))
	say(Mind, mind(p, i))
	say(Owner, owner(i))
	say(Told, told(p, i))
	if p.Kind != event.PageResolved {
		say(Next, next(i))
	}
	return all
}

func where(i *event.Incident, own []event.IncidentAlert) string {
	if _, _, ok := i.Similar(); ok {
		return ""
	}
	target := i.Target()
	if i.Cause == "" && len(own) > 0 {
		target = own[0].Target
	}
	s := line.Of(target, maxName)
	if _, id, ok := i.Behind(); ok {
		s = "behind " + line.Of(id, maxName)
	}
	var in []string
	if len(own) > 0 && (own[0].Target == target || s == "") {
		for _, name := range places {
			if v := own[0].Labels.Get(name); v != "" {
				in = append(in, name+" "+line.Of(v, 60))
			}
		}
	}
	switch {
	case len(in) == 0:
		return s
	case s == "":
		return strings.Join(in, ", ")
	default:
		return s + " (" + strings.Join(in, ", ") + ")"
	}
}

// howBad is the severity, and value and threshold of the first alert. A value of zero is left out: alerts that came from
// elsewhere have none, and of those that are about nothing being left the summary says it.
func howBad(p *event.Page, i *event.Incident, own []event.IncidentAlert) string {
	var parts []string
	if i.Severity != "" {
		parts = append(parts, line.Of(i.Severity, 60))
	}
	if len(own) > 0 && p.Kind != event.PageResolved {
		if s := measure(own[0]); s != "" {
			parts = append(parts, s)
		}
	}
	if i.Firing > 1 && p.Kind != event.PageResolved {
		parts = append(parts, strconv.Itoa(i.Firing)+" alerts fire")
	}
	return strings.Join(parts, "; ")
}

// measure is an alert's value and the threshold, when its rule or one of its labels says it.
func measure(a event.IncidentAlert) string {
	var s string
	if a.Value != 0 || a.Threshold != "" {
		s = "value " + number(a.Value)
	}
	if limit := line.Of(cmp.Or(a.Threshold, a.Labels.Get("threshold")), maxName); limit != "" {
		if s != "" {
			s += ", "
		}
		s += "threshold " + limit
	}
	return s
}

func number(v float64) string {
	if math.Abs(v) >= 1e15 || math.IsNaN(v) {
		return strconv.FormatFloat(v, 'g', 6, 64)
	}
	if math.Abs(v) >= 1000 {
		return strconv.FormatFloat(math.Round(v*100)/100, 'f', -1, 64)
	}
	s := strconv.FormatFloat(v, 'g', 4, 64)
	if short, err := strconv.ParseFloat(s, 64); err == nil {
		return strconv.FormatFloat(short, 'g', -1, 64)
	}
	return s
}

func cause(i *event.Incident) string {
	var s string
	switch {
	case i.Cause == "", i.Reason.Code == exonerated && len(i.Reason.Causes) > 0 && i.Reason.Causes[0] == i.Cause:
	case i.Suspected && i.State == event.IncidentResolved:
		return "unknown; " + line.Of(i.Cause, maxName) + " was suspected, and nobody could ask it"
	case i.Suspected:
		return "probably " + line.Of(i.Cause, maxName) + " (" + suspectNote + ")"
	case i.Kind == event.IncidentDown:
		s = line.Of(i.Cause, maxName) + " does not answer"
		if i.State == event.IncidentResolved {
			s = line.Of(i.Cause, maxName) + " did not answer"
		}
	}
	return s
}

func tookWith(i *event.Incident) string {
	if i.SuppressedTotal == 0 && len(i.Examples) == 0 {
		return ""
	}
	var b strings.Builder
	if i.SuppressedTotal > 0 {
		b.WriteString(strconv.Itoa(i.SuppressedTotal))
		b.WriteString(map[bool]string{true: " target", false: " targets"}[i.SuppressedTotal == 1])
		classes := slices.SortedFunc(maps.Keys(i.Suppressed), func(x, y string) int {
			return cmp.Or(cmp.Compare(i.Suppressed[y], i.Suppressed[x]), cmp.Compare(x, y))
		})
		for n, class := range classes {
			b.WriteString(map[bool]string{true: ": ", false: ", "}[n == 0])
			if n == shownClasses {
				b.WriteString("and others")
				break
			}
			fmt.Fprintf(&b, "%s %d", line.Of(class, 60), i.Suppressed[class])
		}
	}
	for n, e := range i.Examples[:min(len(i.Examples), shownExamples)] {
		if n > 0 || b.Len() > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "for example %s on %s", line.Of(e.Name, maxName), line.Of(e.Target, maxName))
		if why := line.Of(cmp.Or(e.Reason.Text, e.Reason.Code), maxSummary); why != "" {
			b.WriteString(": " + why)
		}
	}
	return b.String()
}

func changed(i *event.Incident) string {
	var all []string
	for _, c := range i.Changes[:min(len(i.Changes), shownChanges)] {
		all = append(all, c.At.UTC().Format("2006-01-02 15:04:05 UTC")+": "+line.Of(c.Text, maxSummary))
	}
	if more := len(i.Changes) - shownChanges; more > 0 {
		all = append(all, "and "+strconv.Itoa(more)+" more")
	}
	return strings.Join(all, "\n")
}

// mind is what to bear in mind about the page itself. The codes are those of the room's reasons.
func mind(p *event.Page, i *event.Incident) string {
	var all []string
	if old := i.Reason.Code == "flapping"; old || i.Flapping != "" { // What was said before there was the field has it in the reason.
		all = append(all, strings.TrimSuffix("It flaps: "+line.Of(cmp.Or(i.Flapping, i.Reason.Text), maxSummary), ": ")+". It will be silent until it is calm.")
	}
	switch i.Reason.Code {
	case "unverified":
		all = append(all, "What it depends on could not be verified.")
	case "suppression-ended":
		all = append(all, "It was held back, and is still there.")
	}
	for _, m := range i.Muted[:min(len(i.Muted), 3)] {
		all = append(all, "Nobody is called: "+line.Of(cmp.Or(m.Text, m.Code), maxSummary))
	}
	if p.Reason.Code == "fallback" && p.Reason.Text != "" {
		all = append(all, "You are told this way because "+line.Of(p.Reason.Text, maxSummary))
	}
	if p.PossibleDuplicate {
		all = append(all, duplicateNote)
	}
	return strings.Join(all, "\n")
}

func owner(i *event.Incident) string {
	var all []string
	if a := i.Ack; a != nil {
		s := line.Of(a.By, maxName) + " since " + a.At.UTC().Format("2006-01-02 15:04 UTC")
		if !a.Until.IsZero() {
			s += " until " + a.Until.UTC().Format("2006-01-02 15:04 UTC")
		}
		if c := line.Of(a.Comment, maxSummary); c != "" {
			s += ": " + c
		}
		all = append(all, s)
	}
	if i.Assignee != "" && (i.Ack == nil || i.Ack.By != i.Assignee) {
		all = append(all, "assigned to "+line.Of(i.Assignee, maxName))
	}
	return strings.Join(all, "; ")
}

func next(i *event.Incident) string {
	n := i.Next
	if n == nil {
		return ""
	}
	s := line.Of(n.Text, maxSummary)
	if s == "" {
		s = names(n.Who)
		if s != "" {
			s += map[bool]string{true: " is", false: " are"}[len(n.Who) == 1] + " told"
		}
	}
	if s == "" || n.At.IsZero() {
		return s
	}
	return n.At.UTC().Format("15:04:05 UTC") + ", unless somebody acknowledges: " + s
}

// told says who was told, who is being told, and who was not reached. Whoever reads it knows of himself.
func told(p *event.Page, i *event.Incident) string {
	self := p.Receiver
	if p.Person != "" {
		self += "/" + p.Person
	}
	var heard, calling, unreached []string
	for _, who := range i.Told {
		switch {
		case slices.Contains(p.Unreached, who):
			unreached = append(unreached, who)
		case slices.Contains(p.Calling, who):
			if who != self {
				calling = append(calling, who)
			}
		default:
			heard = append(heard, who)
		}
	}
	var all []string
	for _, of := range []struct {
		what string
		who  []string
	}{{"", heard}, {"being told: ", calling}, {"not reached, as far as is known: ", unreached}} {
		if len(of.who) > 0 {
			all = append(all, of.what+names(of.who))
		}
	}
	return strings.Join(all, "; ")
}

// names lists receivers and people; those told as receiver/person by the person.
func names(all []string) string {
	var out []string
	for _, who := range all[:min(len(all), shownTold)] {
		if receiver, person, ok := strings.Cut(who, "/"); ok && person != "" {
			who = person + " by " + receiver
		}
		out = append(out, line.Of(who, maxName))
	}
	s := strings.Join(out, ", ")
	if more := len(all) - shownTold; more > 0 {
		s += " and " + strconv.Itoa(more) + " more"
	}
	return s
}

// alerts are lines about the incident's own alerts, with their description below the first of them.
func alerts(p *event.Page, i *event.Incident, own []event.IncidentAlert) (all []string, more int) {
	for n, a := range own[:min(len(own), shownAlerts)] {
		var b strings.Builder
		b.WriteString(line.Of(a.Name, maxName))
		if a.Target != "" {
			b.WriteString(" on " + line.Of(a.Target, maxName))
		}
		if a.Severity != "" && a.Severity != i.Severity {
			b.WriteString(", " + line.Of(a.Severity, 60))
		}
		if p.Kind != event.PageResolved && a.State == event.AlertResolved {
			b.WriteString(", resolved")
		}
		if !a.StartsAt.IsZero() {
			b.WriteString(", since " + a.StartsAt.UTC().Format("2006-01-02 15:04:05 UTC"))
		}
		if s := measure(a); s != "" && n > 0 && p.Kind != event.PageResolved {
			b.WriteString(", " + s)
		}
		if s := line.Of(a.Summary, maxSummary); s != "" {
			b.WriteString(": " + s)
		}
		if d := line.Quoted(a.Description, maxDescription, 10); d != "" && n < 3 && line.Of(a.Description, maxSummary) != line.Of(a.Summary, maxSummary) {
			b.WriteString("\n" + d)
		}
		all = append(all, b.String())
	}
	total := len(own)
	if i.Kind != event.IncidentDown { // Of one that is down, those that fire are mostly explained by it.
		total = max(total, i.Firing)
	}
	return all, total - len(all)
}
