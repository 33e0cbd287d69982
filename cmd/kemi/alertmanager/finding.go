package alertmanager

import (
	"encoding/json"
	"fmt"
	"maps"
	"time"
	"unicode/utf8"

	"kemi.dev/kemi/bus/event"
)

// What an alert may be at most. An alert is copied into findings, alerts, incidents and pages, so that one of a megabyte
// costs many.
const (
	maxLabels     = 256
	maxLabelBytes = 64 << 10
	maxTextBytes  = 256 << 10
)

// judged makes the finding of an alert that somebody sent at an instant; about finds the target that others call by a
// name, nil when there is none. The error says what is wrong with the alert.
func judged(p *postableAlert, about func(instance string) *event.Target, from string, now time.Time) (*event.Finding, error) {
	if err := checkTexts(p); err != nil {
		return nil, err
	}
	labels := event.LabelsOf(p.Labels)
	name := labels.Get("alertname")
	switch {
	case len(labels) == 0:
		return nil, fmt.Errorf("at least one label pair required")
	case name == "":
		return nil, fmt.Errorf("%.200s has no label alertname: give it one, so that people know what it is about", labels)
	}
	starts, ends := p.StartsAt.Time, p.EndsAt.Time
	switch {
	case starts.IsZero() && ends.IsZero():
		starts = now
	case starts.IsZero():
		starts = ends
	}
	text := "told through Alertmanager's API by " + from
	until := ends
	if ends.IsZero() {
		until = now.Add(resolveTimeout)
		if starts.After(now) { // A clock that is ahead.
			ends = starts
		}
	}
	if !ends.IsZero() && ends.Before(starts) {
		return nil, fmt.Errorf("%.200s: start time must be before end time: it ends at %s and starts at %s", labels, ends.Format(time.RFC3339), starts.Format(time.RFC3339))
	}
	if ahead := starts.Sub(now); ahead > 0 {
		starts = now
		text += fmt.Sprintf("; it is to start in %s: is the sender's clock ahead?", ahead.Round(time.Millisecond))
	}
	f := &event.Finding{
		Rule: event.RulePrefixElsewhere + name, Alert: name, Verdict: event.VerdictFiring, Team: labels.Get("team"), Domain: event.DefaultDomain,
		Labels: labels, Annotations: maps.Clone(p.Annotations), Since: starts, Until: until, GeneratorURL: p.GeneratorURL, At: now,
		Reason: event.Reason{Code: event.ReasonElsewhere, Text: text},
	}
	if t := targetOf(labels, about); t != nil {
		f.Target, f.Team, f.Domain = t.ID, t.Team, t.Domain()
	}
	if !until.After(now) {
		f.Verdict, f.Since, f.Until = event.VerdictOK, until, time.Time{}
	}
	return f, nil
}

// targetOf is the target that an alert is about, nil when nobody knows one.
func targetOf(labels event.Labels, about func(instance string) *event.Target) *event.Target {
	for _, name := range []string{"target", "instance"} {
		if called := labels.Get(name); called != "" {
			if t := about(called); t != nil {
				return t
			}
		}
	}
	return nil
}

func checkTexts(p *postableAlert) error {
	if len(p.Labels) > maxLabels {
		return fmt.Errorf("an alert (alertname=%.80q) has %d labels: use at most %d", p.Labels["alertname"], len(p.Labels), maxLabels)
	}
	n := 0
	for name, value := range p.Labels {
		if name == "" || !utf8.ValidString(name) {
			return fmt.Errorf("invalid label set: invalid name %.80q", name)
		}
		n += jsonLen(name) + jsonLen(value)
	}
	if n > maxLabelBytes {
		return fmt.Errorf("an alert (alertname=%.80q) has labels of %d bytes: use at most %d", p.Labels["alertname"], n, maxLabelBytes)
	}
	n = len(p.GeneratorURL)
	for name, value := range p.Annotations {
		if name == "" {
			return fmt.Errorf("invalid annotations: invalid name %q", name)
		}
		n += jsonLen(name) + jsonLen(value)
	}
	if n > maxTextBytes {
		return fmt.Errorf("%.200s has annotations of %d bytes: use at most %d", event.LabelsOf(p.Labels), n, maxTextBytes)
	}
	return nil
}

// jsonLen is how long a text is as the bus carries it: what JSON escapes is up to six times as long.
func jsonLen(s string) int {
	data, _ := json.Marshal(s) // A string always can.
	return len(data) - 2
}

// known reports whether a finding tells nothing that the alert does not say: it need not be published. What goes on
// firing is said again when that gives it a fifth of its time more, so that it ends at most that much early.
func known(a *event.Alert, f *event.Finding) bool {
	switch {
	case a == nil:
		return false // It may be on its way.
	case f.Verdict == event.VerdictOK:
		return a.State == event.AlertResolved && !a.EndsAt.Before(f.Since)
	}
	return a.State == event.AlertFiring && !a.Unknown && maps.Equal(a.Annotations, f.Annotations) &&
		f.Until.Sub(a.Until) < f.Until.Sub(f.At)/5
}
