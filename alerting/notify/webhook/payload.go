package webhook

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"maps"
	"net/url"
	"slices"
	"time"

	"kemi.dev/kemi/alerting/notify"
	"kemi.dev/kemi/alerting/notify/words"
	"kemi.dev/kemi/bus/event"
)

// payload is the body of Alertmanager's webhook, version 4, and our own object beside it.
// Source: Prometheus documentation, Alertmanager configuration, webhook_config.
type payload struct {
	Receiver          string            `json:"receiver"`
	Status            string            `json:"status"`
	Alerts            []alert           `json:"alerts"`
	GroupLabels       map[string]string `json:"groupLabels"`
	CommonLabels      map[string]string `json:"commonLabels"`
	CommonAnnotations map[string]string `json:"commonAnnotations"`
	ExternalURL       string            `json:"externalURL"`
	Version           string            `json:"version"`
	GroupKey          string            `json:"groupKey"`
	TruncatedAlerts   int               `json:"truncatedAlerts"`
	Kemi              kemi              `json:"kemi"`
}

type alert struct {
	Status       string            `json:"status"`
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"` // The zero time while it fires.
	GeneratorURL string            `json:"generatorURL"`
	Fingerprint  string            `json:"fingerprint"`
}

// kemi says what Alertmanager has no words for.
type kemi struct {
	Incident string         `json:"incident"`
	Page     string         `json:"page"`
	Kind     event.PageKind `json:"kind"`
	Person   string         `json:"person,omitempty"`
	DedupKey string         `json:"dedup_key"`
	Team     string         `json:"team"`
	// Cause is the target that the incident is about, About what that is in labels, of whatever kind: see event.Incident.
	Cause             string             `json:"cause,omitempty"`
	IncidentKind      event.IncidentKind `json:"incident_kind,omitempty"`
	About             map[string]string  `json:"about,omitempty"`
	Title             string             `json:"title"`
	Text              string             `json:"text,omitempty"`
	Suppressed        map[string]int     `json:"suppressed,omitempty"`
	SuppressedTotal   int                `json:"suppressed_total"`
	PossibleDuplicate bool               `json:"possible_duplicate,omitempty"`
	Reason            event.Reason       `json:"reason"`
	// Facts are what a page says to people: where, since when, how bad, what changed lately, …. Links lead on: to
	// acknowledge, to the incident, its graphs and its runbook.
	Facts []fact `json:"facts,omitempty"`
	Links []link `json:"links,omitempty"`
}

type fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type link struct {
	Kind words.LinkKind `json:"kind"`
	Name string         `json:"name"`
	URL  string         `json:"url"`
}

func payloadOf(p *event.Page, receiver string, env notify.Env) payload {
	external := env.ExternalURL
	out := payload{
		Receiver: receiver, Status: "firing", ExternalURL: external, Version: "4",
		GroupKey: fmt.Sprintf("{}:{incident=%q}", p.Incident), GroupLabels: map[string]string{"incident": p.Incident},
		Kemi: kemi{
			Incident: p.Incident, Page: p.ID, Kind: p.Kind, Person: p.Person, DedupKey: p.DedupKey, Team: p.Team, Title: p.Title, Text: p.Text,
			PossibleDuplicate: p.PossibleDuplicate, Reason: p.Reason,
		},
	}
	if p.Over() {
		out.Status = "resolved"
	}
	if i := p.Snapshot; i != nil {
		out.Kemi.Cause, out.Kemi.Suppressed, out.Kemi.SuppressedTotal = i.Target(), i.Suppressed, i.SuppressedTotal
		out.Kemi.IncidentKind, out.Kemi.About = i.Kind, i.About()
		maps.Copy(out.GroupLabels, out.Kemi.About)
		out.Alerts = alertsOf(i, p, external)
		if i.Kind == event.IncidentOwn {
			out.TruncatedAlerts = max(0, i.Firing-len(i.Alerts))
		}
	} else {
		out.Alerts = []alert{}
	}
	said := words.Of(p, env)
	for _, f := range said.Facts {
		out.Kemi.Facts = append(out.Kemi.Facts, fact{f.Name, f.Value})
	}
	for _, l := range said.Links {
		out.Kemi.Links = append(out.Kemi.Links, link{l.Kind, l.Name, l.URL})
	}
	out.CommonLabels = common(out.Alerts, func(a alert) map[string]string { return a.Labels })
	out.CommonAnnotations = common(out.Alerts, func(a alert) map[string]string { return a.Annotations })
	return out
}

// alertsOf lists the incident's own alerts, those of the cause first. A cause that no rule watches gets one made for it.
func alertsOf(i *event.Incident, p *event.Page, external string) []alert {
	listed := slices.Clone(i.Alerts)
	slices.SortStableFunc(listed, func(a, b event.IncidentAlert) int {
		switch {
		case (a.Target == i.Cause) == (b.Target == i.Cause):
			return 0
		case a.Target == i.Cause:
			return -1
		default:
			return 1
		}
	})
	if i.Kind == event.IncidentDown && (len(listed) == 0 || listed[0].Target != i.Cause) {
		cause := event.IncidentAlert{Name: "TargetDown", Target: i.Cause, State: event.AlertFiring, StartsAt: i.OpenedAt}
		listed = slices.Insert(listed, 0, cause)
	}
	alerts := make([]alert, 0, len(listed))
	for n, a := range listed {
		labels := map[string]string{}
		for _, l := range a.Labels {
			labels[l.Name] = l.Value
		}
		maps.Copy(labels, map[string]string{"alertname": a.Name, "team": p.Team, "incident": i.ID})
		if a.Target != "" {
			labels["target"] = a.Target
		}
		if severity := cmp.Or(a.Severity, i.Severity); severity != "" {
			labels["severity"] = severity
		}
		summary := a.Summary
		if n == 0 || summary == "" {
			summary = p.Title
		}
		out := alert{
			Status: "firing", Labels: labels, Annotations: map[string]string{"summary": summary}, StartsAt: a.StartsAt.UTC(),
			Fingerprint: fingerprint(labels),
		}
		if n == 0 && p.Text != "" {
			out.Annotations["description"] = p.Text
		} else if a.Description != "" {
			out.Annotations["description"] = a.Description
		}
		if a.Runbook != "" {
			out.Annotations["runbook_url"] = a.Runbook
		}
		if out.GeneratorURL = words.Graph(a); out.GeneratorURL == "" && external != "" && a.Target != "" {
			out.GeneratorURL = external + "/targets/" + url.PathEscape(a.Target)
		}
		if p.Kind == event.PageResolved || a.State == event.AlertResolved {
			out.Status, out.EndsAt = "resolved", i.Updated.UTC()
			if !i.ResolvedAt.IsZero() {
				out.EndsAt = i.ResolvedAt.UTC()
			}
		}
		alerts = append(alerts, out)
	}
	return alerts
}

// common keeps what all alerts say alike.
func common(alerts []alert, of func(alert) map[string]string) map[string]string {
	if len(alerts) == 0 {
		return map[string]string{}
	}
	same := maps.Clone(of(alerts[0]))
	for _, a := range alerts[1:] {
		maps.DeleteFunc(same, func(name, value string) bool {
			v, ok := of(a)[name]
			return !ok || v != value
		})
	}
	return same
}

// fingerprint is Prometheus's of a label set: FNV-1a over the sorted names and values, each followed by the byte 255.
func fingerprint(labels map[string]string) string {
	h := fnv.New64a()
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		_, _ = h.Write([]byte(name))
		_, _ = h.Write([]byte{255})
		_, _ = h.Write([]byte(labels[name]))
		_, _ = h.Write([]byte{255})
	}
	return fmt.Sprintf("%016x", h.Sum64())
}
