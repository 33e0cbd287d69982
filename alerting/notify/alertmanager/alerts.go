package alertmanager

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/common/model"

	"kemi.dev/kemi/alerting/notify/words"
	"kemi.dev/kemi/bus/event"
)

// Bounds of what goes into one page: providers refuse what is too large, and some drop it without a word.
const (
	maxAlerts = 20
	maxLabels = 40
	maxLabel  = 250    // Characters of a name, or a value.
	maxText   = 1000   // Characters of an annotation.
	maxBytes  = 80_000 // Of all names and values together, from which on no further alert is listed.
)

// alertsOf makes Alertmanager's alerts of a page: one for each of the incident's own, those of the cause first, and at
// least one. Whether they fire or are resolved follows the page, which may be older than what is known now.
func alertsOf(p *event.Page, external string, now time.Time) []*alert.Alert {
	incident := event.Incident{Title: p.Title, OpenedAt: p.Created}
	if p.Snapshot != nil {
		incident = *p.Snapshot
	}
	listed := slices.Clone(incident.Alerts)
	slices.SortStableFunc(listed, func(a, b event.IncidentAlert) int {
		switch {
		case (a.Target == incident.Cause) == (b.Target == incident.Cause):
			return 0
		case a.Target == incident.Cause:
			return -1
		default:
			return 1
		}
	})
	if len(listed) == 0 || incident.Kind == event.IncidentDown && listed[0].Target != incident.Cause {
		first := event.IncidentAlert{Name: "TargetDown", Target: incident.Cause, State: event.AlertFiring, Severity: incident.Severity, StartsAt: incident.OpenedAt}
		if incident.Kind != event.IncidentDown {
			first.Name = "Incident"
		}
		if p.Several() {
			first.Name = "Incidents"
		}
		listed = slices.Insert(listed, 0, first)
	}
	listed = listed[:min(len(listed), maxAlerts)]
	ended := now.Add(-time.Second) // Alertmanager compares with the clock, which may be behind the incident's.
	if at := incident.ResolvedAt; !at.IsZero() && at.Before(ended) {
		ended = at
	}
	over := p.Over()
	alerts := make([]*alert.Alert, 0, len(listed))
	firing, size := false, 0
	for n, a := range listed {
		if size > maxBytes {
			break
		}
		out := &alert.Alert{Alert: model.Alert{Labels: labelsOf(a, p, &incident), Annotations: annotationsOf(a, n == 0, p), StartsAt: a.StartsAt}}
		if out.GeneratorURL = words.Graph(a); out.GeneratorURL == "" && external != "" && a.Target != "" && len(a.Target) <= 4*maxLabel {
			out.GeneratorURL = strings.TrimRight(external, "/") + "/targets/" + url.PathEscape(a.Target)
		}
		for _, set := range []model.LabelSet{out.Labels, out.Annotations} {
			for name, value := range set {
				size += len(name) + len(value)
			}
		}
		if over || a.State == event.AlertResolved {
			out.EndsAt = ended
		} else {
			firing = true
		}
		alerts = append(alerts, out)
	}
	if !over && !firing {
		alerts[0].EndsAt = time.Time{}
	}
	return alerts
}

func labelsOf(a event.IncidentAlert, p *event.Page, i *event.Incident) model.LabelSet {
	out := model.LabelSet{}
	set := func(name, value string) {
		if value != "" {
			out[model.LabelName(valid(cut(name, maxLabel)))] = model.LabelValue(valid(cut(value, maxLabel)))
		}
	}
	for _, l := range a.Labels[:min(len(a.Labels), maxLabels)] {
		set(l.Name, l.Value)
	}
	set("alertname", a.Name)
	set("target", a.Target)
	set("team", p.Team)
	set("incident", p.Incident)
	set("severity", i.Severity)
	set("severity", a.Severity)
	set("urgency", string(p.Urgency))
	return out
}

func annotationsOf(a event.IncidentAlert, first bool, p *event.Page) model.LabelSet {
	out := model.LabelSet{}
	set := func(name, value string) {
		if value = strings.TrimSpace(value); value != "" {
			if r := []rune(value); len(r) > maxText {
				value = string(r[:maxText]) + "…"
			}
			out[model.LabelName(name)] = model.LabelValue(valid(value))
		}
	}
	set("summary", a.Summary)
	if a.Summary == "" {
		set("summary", p.Title)
	}
	if first {
		set("description", p.Text)
	}
	set("description", a.Description)
	set("runbook_url", a.Runbook)
	return out
}

func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
