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

// How much a summary says.
const (
	summaryLines = 20
	summaryTeams = 8
)

// tell makes the page that stands for a pile.
func (s *pile) tell(within time.Duration, now time.Time) *event.Page {
	like := s.items[0].page
	receiver, person := recipient(s.who)
	p := &event.Page{
		ID: s.id, Incident: s.id, Summary: s.id, Domain: like.Domain, Team: like.Team, Receiver: receiver, Person: person, Urgency: like.Urgency,
		Kind: event.PageSummary, Stage: event.PageIntent, DedupKey: DedupKey(s.id, s.who), Created: now, Updated: now,
		Reason: event.Reason{Code: ReasonRateLimited, Text: "too much within " + within.String() + " to be told one by one"},
	}
	n := len(s.items)
	switch over := n - s.open; {
	case s.open == 0:
		p.Reason.Code = ReasonOver
		p.Title = fmt.Sprintf("%s came and went", plural(n, "more incident"))
	case over == 0:
		p.Title = plural(n, "more incident")
	default:
		p.Title = fmt.Sprintf("%s: %d still there, %d over by now", plural(n, "more incident"), s.open, over)
	}
	teams := map[string]int{}
	for _, i := range s.items {
		teams[cmp.Or(i.page.Team, DefaultTeam)]++
	}
	byTeam := counts(teams)
	p.Title += " (" + byTeam + ")"
	var b strings.Builder
	fmt.Fprintf(&b, "Held since %s: %s.\n", s.first.UTC().Format("15:04:05 UTC"), p.Reason.Text)
	fmt.Fprintf(&b, "Teams: %s\n", byTeam)
	list := func(title string, over bool, most int) {
		left := 0
		for _, i := range s.items {
			if i.over != over {
				continue
			}
			if left++; left == 1 {
				b.WriteString(title)
			}
			if left <= most {
				b.WriteString("- " + i.line() + "\n")
			}
		}
		if left > most {
			fmt.Fprintf(&b, "- and %d more\n", left-most)
		}
	}
	list("Still there:\n", false, summaryLines)
	list("Over by now:\n", true, summaryLines/2)
	fmt.Fprintf(&b, "All of them: kemi pages list --summary %s", s.id[:8])
	p.Text = b.String()
	return p
}

// end makes the page that says that everything in a pile is over.
func (s *pile) end(who string, now time.Time) *event.Page {
	p := *s.summary
	p.Receiver, p.Person = recipient(who)
	p.ID, p.DedupKey = event.PageID(s.id, who, event.PageResolved, 0), DedupKey(s.id, who)
	p.Kind, p.Stage, p.Attempts, p.Response, p.PossibleDuplicate = event.PageResolved, event.PageIntent, 0, "", false
	p.Created, p.Updated, p.NextTry = now, now, time.Time{}
	p.Reason = event.Reason{Code: ReasonOver}
	p.Title = "over: " + s.summary.Title
	p.Text = fmt.Sprintf("Everything is over that the summary of %s stands for.", s.summary.Created.UTC().Format("15:04:05 UTC"))
	return &p
}

// line is what a summary says of one incident.
func (i *item) line() string {
	said := line.Start(i.page.Title, 150)
	if snapshot := i.page.Snapshot; snapshot != nil {
		var more []string
		if snapshot.Severity != "" {
			more = append(more, line.Of(snapshot.Severity, 20))
		}
		if !snapshot.OpenedAt.IsZero() {
			more = append(more, "since "+snapshot.OpenedAt.UTC().Format("15:04:05 UTC"))
		}
		if len(more) > 0 {
			said += " (" + strings.Join(more, ", ") + ")"
		}
	}
	return said
}

// counts says how many there are of what, the most first.
func counts(of map[string]int) string {
	names := slices.SortedFunc(maps.Keys(of), func(a, b string) int { return cmp.Or(cmp.Compare(of[b], of[a]), cmp.Compare(a, b)) })
	var said []string
	for _, name := range names[:min(len(names), summaryTeams)] {
		said = append(said, line.Of(name, 60)+" "+strconv.Itoa(of[name]))
	}
	if more := len(names) - summaryTeams; more > 0 {
		said = append(said, plural(more, "other team"))
	}
	return strings.Join(said, ", ")
}
