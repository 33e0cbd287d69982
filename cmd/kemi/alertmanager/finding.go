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
	maxURLBytes   = 16 << 10
)

// judgement is what is needed to make findings of alerts that somebody sent.
type judgement struct {
	// about finds the target that others call by a name, nil when there is none.
	about func(instance string) *event.Target
	// was is what was said last of the alert with an id.
	was func(id string) last
	// from says for people who sent them.
	from string
	now  time.Time
	// resolve is after how long what says no end is over unless it is said again.
	resolve time.Duration
}

// finding makes the finding of an alert; was is what had been said of it. The error says what is wrong with the alert.
func (j *judgement) finding(p *postableAlert) (f *event.Finding, was last, err error) {
	if err := checkTexts(p); err != nil {
		return nil, was, err
	}
	labels := event.LabelsOf(p.Labels)
	name := labels.Get("alertname")
	switch {
	case len(labels) == 0:
		return nil, was, fmt.Errorf("labels: at least one label pair required")
	case name == "":
		return nil, was, fmt.Errorf("labels: %.200s has no label alertname: give it one, so that people know what it is about", labels)
	}
	now := j.now
	starts, ends := p.StartsAt.Time, p.EndsAt.Time
	switch {
	case starts.IsZero() && ends.IsZero():
		starts = now
	case starts.IsZero():
		starts = ends
	}
	text := "told through Alertmanager's API by " + j.from
	until := ends
	if ends.IsZero() {
		until = now.Add(j.resolve)
	}
	if !ends.IsZero() && ends.Before(starts) {
		return nil, was, fmt.Errorf("endsAt: %.200s ends at %s, before it starts at %s: start time must be before end time", labels, stamp(ends), stamp(starts))
	}
	if ahead := starts.Sub(now); ahead > 0 {
		starts = now
		text += fmt.Sprintf("; it is to start in %s: is the sender's clock ahead?", ahead.Round(time.Millisecond))
	}
	f = &event.Finding{
		Rule: event.RulePrefixElsewhere + name, Alert: name, Verdict: event.VerdictFiring, Team: labels.Get("team"), Domain: event.DefaultDomain,
		Labels: labels, Annotations: maps.Clone(p.Annotations), Since: starts, Until: until, GeneratorURL: p.GeneratorURL, At: now,
		Reason: event.Reason{Code: event.ReasonElsewhere, Text: text},
	}
	if !until.After(now) {
		f.Verdict, f.Since, f.Until = event.VerdictOK, until, time.Time{}
	}
	was = j.was(event.AlertID(f.Rule, f.Labels))
	if !f.At.After(was.at) { // By a clock that is ahead, or in the same moment: this is what came after it.
		f.At = was.at.Add(1)
	}
	if was.firing {
		f.Target, f.Team, f.Domain = was.target, was.team, was.domain
		if t := event.About(labels, j.about); t != nil && f.Target == "" { // The CMDB knows it by now.
			f.Target, f.Team = t.ID, t.Team
		}
	} else if t := event.About(labels, j.about); t != nil {
		f.Target, f.Team, f.Domain = t.ID, t.Team, t.Domain()
	}
	return f, was, nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// checkTexts says which field is wrong, and why.
func checkTexts(p *postableAlert) error {
	if len(p.Labels) > maxLabels {
		return fmt.Errorf("labels: there are %d (alertname=%.80q): use at most %d", len(p.Labels), p.Labels["alertname"], maxLabels)
	}
	n := 0
	for name, value := range p.Labels {
		if name == "" || !utf8.ValidString(name) {
			return fmt.Errorf("labels: invalid label set: invalid name %.80q (alertname=%.80q)", name, p.Labels["alertname"])
		}
		n += jsonLen(name) + jsonLen(value)
	}
	if n > maxLabelBytes {
		return fmt.Errorf("labels: they have %d bytes (alertname=%.80q): use at most %d", n, p.Labels["alertname"], maxLabelBytes)
	}
	if n = jsonLen(p.GeneratorURL); n > maxURLBytes {
		return fmt.Errorf("generatorURL: it has %d bytes (alertname=%.80q): use at most %d", n, p.Labels["alertname"], maxURLBytes)
	}
	n = 0
	for name, value := range p.Annotations {
		if name == "" {
			return fmt.Errorf("annotations: invalid annotations: invalid name %q (alertname=%.80q)", name, p.Labels["alertname"])
		}
		n += jsonLen(name) + jsonLen(value)
	}
	if n > maxTextBytes {
		return fmt.Errorf("annotations: they have %d bytes (alertname=%.80q): use at most %d", n, p.Labels["alertname"], maxTextBytes)
	}
	return nil
}

// jsonLen is how long a text is as the bus carries it: what JSON escapes is up to six times as long.
func jsonLen(s string) int {
	data, _ := json.Marshal(s) // A string always can.
	return len(data) - 2
}

// known reports whether a finding tells nothing that was not said: it need not be published. What goes on firing is said
// again when that gives it a fifth of its time more, so that it ends at most that much early.
func (l *last) known(f *event.Finding) bool {
	switch {
	case l.at.IsZero():
		return false // It may be on its way.
	case f.Verdict == event.VerdictOK:
		return !l.firing && !l.ends.Before(f.Since)
	}
	return l.firing && !l.unknown && l.target == f.Target && !f.Since.Before(l.starts) && f.Until.Sub(l.ends) < f.Until.Sub(f.At)/5 && l.says(f.Annotations)
}
