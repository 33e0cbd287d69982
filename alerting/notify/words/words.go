// Package words puts a page into words. In: a page of the ledger with the incident as it was when the page was decided,
// and where the console and the acknowledgement are to be found. Out: a Message: subject, plain text, HTML, single facts
// and links, the same for every receiver; and templates of one's own over it. It promises that a message is bounded in
// size whatever is in an alert's annotations, that nothing in them can end a line, a tag or an attribute, or become a
// link of another kind than http, and that the same page always has the same words. It never sends anything.
package words

import (
	"fmt"
	"strings"
	"time"

	"kemi.dev/kemi/alerting/notify"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/line"
)

// Message is what a page says, in every form that receivers need.
type Message struct {
	// Subject is one line of at most some 280 characters that begins with the kind of the page in brackets.
	Subject string
	// Title is the subject without the brackets.
	Title string
	// Plain is the whole text, in lines; below 64 kB.
	Plain string
	// HTML is the same as a document of its own, for mail; below 256 kB.
	HTML string
	// Facts are what the text is made of, for receivers that have fields. Values may have several lines.
	Facts []Fact
	// Alerts are lines about the first of the incident's own alerts; AlertsMore counts those that are left out.
	Alerts     []string
	AlertsMore int
	// Links are where to go from here, in the order of their use: acknowledge, incident, graph, runbook.
	Links []Link
}

// Fact is one thing that a page says.
type Fact struct {
	// Name of the fact: see the constants.
	Name string
	// Value of the fact, one or several lines.
	Value string
}

// The names of facts, in the order in which they are said. More may come.
const (
	Where      = "Where"
	Since      = "Since"
	Until      = "Until"
	HowBad     = "How bad"
	Cause      = "Cause"
	Suppressed = "Suppressed"
	Changed    = "Changed lately"
	Mind       = "Mind"
	Owner      = "Looked after by"
	Told       = "Told"
	Next       = "Next"
)

// Link is where a page leads.
type Link struct {
	// Kind of the link, for receivers that have a place of their own for some.
	Kind LinkKind
	// Name of the link, for people.
	Name string
	// URL is absolute, http or https.
	URL string
}

// LinkKind says where a link leads. More may come.
type LinkKind string

// The kinds of link.
const (
	LinkAck      LinkKind = "acknowledge"
	LinkIncident LinkKind = "incident"
	LinkGraph    LinkKind = "graph"
	LinkRunbook  LinkKind = "runbook"
)

// Link returns the URL of the first link of a kind; empty when there is none.
func (m Message) Link(kind LinkKind) string {
	for _, l := range m.Links {
		if l.Kind == kind {
			return l.URL
		}
	}
	return ""
}

// Fact returns the value of a fact; empty when it is not said.
func (m Message) Fact(name string) string {
	for _, f := range m.Facts {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

// Of puts a page into words. Times are UTC, and how long ago something was is counted from when the page was decided: a
// retry says the same.
func Of(p *event.Page, env notify.Env) Message {
	m := Message{Title: line.Start(p.Title, maxTitle)}
	if m.Title == "" && p.Snapshot != nil {
		m.Title = line.Start(p.Snapshot.Title, maxTitle)
	}
	if m.Title == "" {
		m.Title = "incident " + line.Of(p.Incident, maxName)
	}
	m.Subject = tag(p) + " " + m.Title
	if i := p.Snapshot; i != nil {
		own := own(i)
		m.Facts = facts(p, i, own)
		m.Alerts, m.AlertsMore = alerts(p, i, own)
		m.Links = links(p, i, own, env)
	} else {
		m.Links = links(p, &event.Incident{}, nil, env)
		if p.PossibleDuplicate {
			m.Facts = append(m.Facts, Fact{Mind, duplicateNote})
		}
	}
	m.Plain = plain(m, said(p))
	m.HTML = document(m, said(p))
	return m
}

// tag says in brackets what kind of page it is.
func tag(p *event.Page) string {
	kind := strings.ToUpper(line.Of(string(p.Kind), 20))
	if kind == "" {
		kind = "PAGE"
	}
	var more string
	if i := p.Snapshot; i != nil && i.Severity != "" && p.Kind != event.PageResolved {
		more = ", " + line.Of(i.Severity, 20)
	}
	if p.PossibleDuplicate {
		more += ", possible duplicate"
	}
	return "[" + kind + more + "]"
}

// said is what the desk wrote beside the title: the lines that are neither the title nor one of the alerts, which are
// said elsewhere. Of a page without an incident, and of one about several, it is everything. A line that looks like one of
// what follows is marked, whoever wrote it; the desk writes none.
func said(p *event.Page) string {
	about := p.Snapshot != nil && p.Kind != event.PageSummary
	text := p.Text
	if about { // As it is: in a page of an older Kemi it may have several lines.
		text = strings.TrimPrefix(strings.TrimPrefix(text, p.Title), p.Snapshot.Title)
	}
	var keep []string
	for one := range strings.SplitSeq(line.Several(text, maxText, maxTextLines), "\n") {
		switch {
		case about && (one == line.Of(p.Title, maxTitle) || one == line.Of(p.Snapshot.Title, maxTitle) || strings.HasPrefix(one, "- ")):
		case strings.HasPrefix(one, "- "):
			keep = append(keep, "- "+line.Start(one[2:], maxText))
		default:
			keep = append(keep, mark(one))
		}
	}
	return strings.TrimSpace(strings.Join(keep, "\n"))
}

// mark puts a line that looks like one of the message's own, and is none, into quotation marks.
func mark(one string) string {
	for _, word := range saidByTheDesk {
		if strings.HasPrefix(one, word) {
			return one
		}
	}
	return line.Start(one, maxText)
}

// saidByTheDesk begin lines that the desk writes itself, in what it says beside the title.
var saidByTheDesk = [...]string{"Suspected: ", "Teams: ", "Still there:", "Over by now:", "All of them: "}

// stamp writes a time for people, and how long before now it was.
func stamp(t, now time.Time) string {
	s := t.UTC().Format("2006-01-02 15:04:05 UTC")
	if ago := now.Sub(t); !now.IsZero() && ago > time.Second {
		s += fmt.Sprintf(" (%s before this page)", span(ago))
	}
	return s
}

// span writes a duration for people: the two largest units.
func span(d time.Duration) string {
	d = d.Round(time.Second)
	day := 24 * time.Hour
	switch {
	case d >= day:
		return strings.TrimSuffix(fmt.Sprintf("%dd%dh", d/day, d%day/time.Hour), "d0h") + map[bool]string{true: "d"}[d%day < time.Hour]
	case d >= time.Hour:
		return strings.TrimSuffix(d.Truncate(time.Minute).String(), "0s")
	default:
		return d.String()
	}
}
