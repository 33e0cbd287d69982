package alerting

import (
	"slices"

	"kemi.dev/kemi/bus/event"
)

// What a record tells of its first alerts beside their names: so many bytes in all of descriptions, labels and links, and so
// much of one.
const (
	maxDetails     = 12 << 10 // Bytes.
	maxDescription = 500      // Characters.
	maxLabel       = 120      // Characters of a label's value.
	maxLink        = 1000     // Bytes; a longer one is left out, half of one leads nowhere.
	maxGraph       = 2000     // The same of a link that has an expression in it.
)

// listed are the first alerts of an incident as its record shows them.
func listed(all []*held) []event.IncidentAlert {
	out, left := make([]event.IncidentAlert, 0, len(all)), maxDetails
	room := func(bytes int) bool {
		if bytes > left {
			return false
		}
		left -= bytes
		return true
	}
	for _, a := range all {
		e := a.event
		one := event.IncidentAlert{
			ID: e.ID, Name: cut(e.Name, maxName), Target: cut(e.Target, maxName), State: e.State, Severity: cut(e.Severity, maxLabel),
			Summary: cut(summary(e), maxText), Value: e.Value, Threshold: cut(e.Threshold, maxLabel), StartsAt: e.StartsAt,
		}
		if link := e.Annotations["runbook_url"]; len(link) <= maxLink && room(len(link)) {
			one.Runbook = link
		}
		if link := e.GeneratorURL; len(link) <= maxGraph && room(len(link)) {
			one.Graph = link
		}
		if text := cut(e.Annotations["description"], maxDescription); e.Annotations["summary"] != "" && room(len(text)) {
			one.Description = text
		}
		for _, l := range e.Labels {
			if l.Value = cut(l.Value, maxLabel); len(l.Name) <= maxLabel && room(len(l.Name)+len(l.Value)) {
				one.Labels = append(one.Labels, l)
			}
		}
		out = append(out, one)
	}
	return slices.Clip(out)
}
