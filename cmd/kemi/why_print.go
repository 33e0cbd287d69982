package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"kemi.dev/kemi/bus/event"
)

// print writes it for people.
func (w *why) print(out io.Writer) error {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintln(&b, plain(fmt.Sprintf(format, args...))) }
	if a := w.Alert; a != nil {
		line("alert %s  %s on %s is %s since %s", a.ID, a.Name, a.Target, a.State, localTime(a.StartsAt))
		if f := w.Finding; f != nil {
			line("  the rule %s says %s at %s, value %g: %s", f.Rule, f.Verdict, localTime(f.At), f.Value, reasonText(f.Reason))
		} else {
			line("  the rule %s says so; its finding is not kept any more", a.Rule)
		}
		if a.Unknown {
			line("  there has been no data since %s: it is held to be as it was", localTime(a.Updated))
		}
		if len(w.Incidents) == 0 {
			line("  no incident of the last week names it: its cause may have taken along too many to name, or nobody has judged it yet")
		}
	}
	for _, i := range w.Incidents {
		i.print(line)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func (w *whyIncident) print(line func(string, ...any)) {
	i := w.Incident
	line("incident %s  %s", i.ID, i.Title)
	if w.Part != "" {
		line("  %s", w.Part)
	}
	line("  %s, cause %s, team %s%s", i.State, i.Cause, i.Team, severityText(i))
	for _, d := range w.Decisions {
		text := d.What
		if d.Why != "" {
			text += ": " + d.Why
		}
		line("  %s  %s", localTime(d.At), text)
	}
	for _, p := range w.Pages {
		if answer := pageAnswer(p); answer != "" {
			line("  the answer to page %s: %s", p.ID[:min(8, len(p.ID))], answer)
		}
	}
	switch {
	case i.State == event.IncidentResolved:
		return
	case i.Ack != nil:
		line("  now: %s looks after it%s; until then nobody else is called", i.Ack.By, untilStamp(i.Ack.Until))
	case len(i.Muted) > 0:
		line("  now: nobody is called: %s", reasonsText(i.Muted))
	case i.SnoozedUntil.After(time.Now()):
		line("  now: nobody is called, it is snoozed%s", untilStamp(i.SnoozedUntil))
	}
	switch {
	case i.Coming() != nil:
		line("  next, unless somebody acts: at %s %s", localTime(i.Coming().At), i.Coming().Text)
	case len(w.Pages) == 0 && i.State == event.IncidentVerifying:
		line("  nobody was called yet: its cause is being verified")
	case len(w.Pages) == 0 && i.Urgency == event.UrgencyLog:
		line("  nobody is told: its urgency is log")
	case len(w.Pages) == 0 && len(i.Muted) == 0:
		line("  nobody was called")
	}
}

func severityText(i *event.Incident) string {
	if i.Severity == "" {
		return ""
	}
	return ", " + i.Severity
}

func localTime(t time.Time) string { return t.Local().Format(time.DateTime) }

func untilStamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return " until " + localTime(t)
}
