package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/cmd/kemi/api"
)

// How far kemi why-not looks: what is open may have been said last long ago, and what was over shortly before may be what
// somebody asks for.
const (
	whyNotBack  = 7 * 24 * time.Hour
	whyNotClose = 10 * time.Minute
)

// whyNot is why a person was called at a time, or not.
type whyNot struct {
	Person string    `json:"person"`
	At     time.Time `json:"at"`
	// Ways are the receivers by which the person is reached now; without any nobody can call.
	Ways []string `json:"ways"`
	// Incidents that were there then, or over shortly before, the oldest first.
	Incidents []whyNotIncident `json:"incidents"`
	// Rotation is who was on call then.
	Rotation []api.Explained `json:"rotation"`
}

// whyNotIncident is what an incident had to do with the person at the time.
type whyNotIncident struct {
	// Incident as it was then.
	Incident *event.Incident `json:"incident"`
	// Told are the pages to the person until then, as they are now, oldest first.
	Told []*event.Page `json:"told"`
	// Others are those to others.
	Others []*event.Page `json:"others"`
	// Why nobody more was called at that time.
	Why []string `json:"why"`
}

// whyNot reads what was said until a time, and who was on call then.
func (c *client) whyNot(cmd *cobra.Command, person, schedule string, at, now time.Time) (*whyNot, error) {
	w := &whyNot{Person: person, At: at, Ways: []string{}}
	then := at.UTC().Format(time.RFC3339Nano)
	if err := c.get(cmd.Context(), "/oncall/why", queryOf("person", person, "schedule", schedule, "at", then), &w.Rotation); err != nil {
		return nil, err
	}
	for _, e := range w.Rotation {
		w.Ways = e.Ways
	}
	if at.After(now) {
		at = now // Of what is still to come only the rotation is known.
	}
	from := at.Add(-whyNotBack).UTC().Format(time.RFC3339)
	records := map[string]*event.Incident{}
	if _, err := c.words(cmd, "incidents.v1", queryOf("from", from), func(data json.RawMessage) error {
		i := &event.Incident{}
		if err := json.Unmarshal(data, i); err != nil {
			return fmt.Errorf("read an incident: %w", err)
		}
		asOf(records, i, at)
		return nil
	}); err != nil {
		return nil, err
	}
	pages := map[string]*event.Page{}
	if err := c.ledger(cmd, queryOf("from", from), func(e api.Entry, _ json.RawMessage) error {
		if old := pages[e.ID]; !e.Created.After(at) && (old == nil || !e.Updated.Before(old.Updated)) {
			pages[e.ID] = e.Page
		}
		return nil
	}); err != nil {
		return nil, err
	}
	w.Incidents = whyNotOf(person, at, records, slices.Collect(maps.Values(pages)))
	return w, nil
}

// asOf keeps the newest revision of an incident until a time; when only later ones are kept, the first of those.
func asOf(records map[string]*event.Incident, i *event.Incident, at time.Time) {
	if i.OpenedAt.After(at) {
		return
	}
	switch old := records[i.ID]; {
	case old == nil,
		!i.Updated.After(at) && (old.Updated.After(at) || i.Revision > old.Revision),
		i.Updated.After(at) && old.Updated.After(at) && i.Revision < old.Revision:
		records[i.ID] = i
	}
}

// whyNotOf says what each incident that was there at a time had to do with a person.
func whyNotOf(person string, at time.Time, records map[string]*event.Incident, pages []*event.Page) []whyNotIncident {
	all := []whyNotIncident{}
	for _, i := range records {
		if i.State == event.IncidentResolved && !i.Updated.After(at) && at.Sub(i.ResolvedAt) > whyNotClose {
			continue
		}
		w := whyNotIncident{Incident: i, Told: []*event.Page{}, Others: []*event.Page{}}
		for _, p := range pages {
			switch {
			case p.Incident != i.ID:
			case p.Person == person:
				w.Told = append(w.Told, p)
			case p.Kind == event.PageFiring:
				w.Others = append(w.Others, p)
			}
		}
		for _, some := range [][]*event.Page{w.Told, w.Others} {
			slices.SortFunc(some, func(a, b *event.Page) int { return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID)) })
		}
		w.Why = heldBack(i, at)
		all = append(all, w)
	}
	slices.SortFunc(all, func(a, b whyNotIncident) int {
		return cmp.Or(a.Incident.OpenedAt.Compare(b.Incident.OpenedAt), cmp.Compare(a.Incident.ID, b.Incident.ID))
	})
	return all
}

// heldBack says what kept an incident from calling anybody more at a time.
func heldBack(i *event.Incident, at time.Time) (why []string) {
	say := func(format string, args ...any) { why = append(why, fmt.Sprintf(format, args...)) }
	if i.Updated.After(at) {
		say("what it was then is not kept any more; this is what it was at %s", localTime(i.Updated))
	}
	if i.State == event.IncidentResolved {
		switch n := len(i.Reason.Causes); {
		case i.Reason.Code == event.ReasonMerged && n > 0:
			say("incident %s explains it since %s: that one calls", brief(i.Reason.Causes[n-1]), localTime(i.ResolvedAt))
		case i.Reason.Code == event.ReasonUnanswered:
			say("it was over at %s, before it was known what it is", localTime(i.ResolvedAt))
		default:
			say("it was over at %s (%s)", localTime(i.ResolvedAt), i.Reason.Code)
		}
		return why
	}
	if i.State == event.IncidentVerifying {
		say("its cause was being verified")
	}
	if n := len(i.Reason.Causes); i.Reason.Code == event.ReasonMerged && n > 0 {
		say("it is explained by another incident: %s", brief(i.Reason.Causes[n-1]))
	}
	if i.Ack != nil && (i.Ack.Until.IsZero() || i.Ack.Until.After(at)) {
		say("%s looked after it since %s%s", i.Ack.By, localTime(i.Ack.At), untilStamp(i.Ack.Until))
	}
	if i.SnoozedUntil.After(at) {
		say("it was snoozed%s", untilStamp(i.SnoozedUntil))
	}
	if text := reasonsText(i.Muted); text != "" {
		say("held back: %s", text)
	}
	if i.Urgency == event.UrgencyNotify || i.Urgency == event.UrgencyLog {
		say("its urgency was %s: nobody is called for that", i.Urgency)
	}
	if next := i.Coming(); next != nil && len(why) == 0 {
		say("next was, at %s: %s", localTime(next.At), next.Text)
	}
	return why
}

// print writes it for people.
func (w *whyNot) print(out io.Writer) error {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintln(&b, plain(fmt.Sprintf(format, args...))) }
	for i := range w.Incidents {
		one := &w.Incidents[i]
		line("incident %s  %s  (team %s%s, since %s)", brief(one.Incident.ID), one.Incident.Title, one.Incident.Team, severityText(one.Incident), localTime(one.Incident.OpenedAt))
		for _, p := range one.Told {
			line("  %s  %s", localTime(p.Created), toldText(w.Person, p))
		}
		if len(one.Told) == 0 {
			line("  %s was not called for it until then", w.Person)
		}
		for _, why := range one.Why {
			line("  %s", why)
		}
		for _, p := range one.Others {
			line("  %s  called instead: %s", localTime(p.Created), toldText(cmp.Or(p.Person, p.Receiver), p))
		}
	}
	if len(w.Incidents) == 0 {
		line("no incident was open at %s, nor over shortly before", localTime(w.At))
	}
	if len(w.Ways) == 0 && len(w.Rotation) > 0 {
		line("%s has no way to be reached: people: %s: ways: names none", w.Person, w.Person)
	}
	for _, e := range w.Rotation {
		line("%s", e.Reason.Text)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// toldText says what came of a page to somebody.
func toldText(who string, p *event.Page) string {
	text := fmt.Sprintf("%s, %s by %s: %s", who, p.Kind, p.Receiver, p.Stage)
	if answer := pageAnswer(p); answer != "" && p.Stage != event.PageSent {
		text += ": " + answer
	}
	if p.Summary != "" && !p.Several() {
		text += "; it is in the summary " + brief(p.Summary)
	}
	return text
}
