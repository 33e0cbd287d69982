package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/cmd/kemi/api"
)

func newWhy() *cobra.Command {
	var c client
	var output string
	cmd := &cobra.Command{
		Use: "why ALERT|INCIDENT", Short: "Say why an alert or incident paged whom it paged, or nobody", Args: cobra.ExactArgs(1),
		Long: `Walks from an alert (the finding and the rule behind it) to its incident, or begins with an incident, and names every
decision about it with its time and reason: what the cause is held to be, what holds pages back, which steps were taken, what
people did, every page and what came of it, and what comes next. What is over is known for a week.`,
		Example: "  kemi why 1a2b3c4d           # the start of the id of an alert or incident is enough\n  kemi why 1a2b3c4d -o json | jq '.incidents[].decisions'",
	}
	outputFlag(cmd, &output)
	c.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		w, err := c.why(cmd, args[0])
		if err != nil {
			return err
		}
		if output == "json" {
			return printJSON(cmd.OutOrStdout(), w)
		}
		return w.print(cmd.OutOrStdout())
	}
	return cmd
}

// why is what is known of the way from a problem to people.
type why struct {
	Alert   *event.Alert   `json:"alert,omitempty"`
	Finding *event.Finding `json:"finding,omitempty"`
	// Incidents that the alert is part of, newest first; one, when an incident was asked for.
	Incidents []whyIncident `json:"incidents"`
}

// whyIncident is an incident with all that was decided about it.
type whyIncident struct {
	Incident *event.Incident `json:"incident"`
	// Part says what the alert has to do with it.
	Part string `json:"part,omitempty"`
	// Decisions are in the order of time.
	Decisions []decision `json:"decisions"`
	// Pages are those of it, oldest first.
	Pages []*event.Page `json:"pages"`
}

// decision is something that was decided or done.
type decision struct {
	At   time.Time `json:"at"`
	What string    `json:"what"`
	Why  string    `json:"why,omitempty"`
}

// why finds out about an alert or an incident.
func (c *client) why(cmd *cobra.Command, id string) (*why, error) {
	w := &why{Incidents: []whyIncident{}}
	var incident event.Incident
	none := c.get(cmd.Context(), "/incidents/"+url.PathEscape(id), nil, &incident)
	if none == nil {
		one, err := c.whyIncident(cmd, &incident, "")
		w.Incidents = append(w.Incidents, one)
		return w, err
	}
	w.Alert = &event.Alert{}
	if err := c.get(cmd.Context(), "/alerts/"+url.PathEscape(id), nil, w.Alert); err != nil {
		if strings.Contains(err.Error(), "no alert") && strings.Contains(none.Error(), "no incident") {
			err = errors.New("no alert and no incident has the id " + id + ", or several begin with it: kemi alerts list and kemi incidents list say which there are")
		}
		return nil, err
	}
	var err error
	if w.Finding, err = c.finding(cmd, w.Alert); err != nil {
		return nil, err
	}
	var all []*event.Incident
	if err := c.get(cmd.Context(), "/incidents", nil, &all); err != nil {
		return nil, err
	}
	for _, i := range all {
		part := partOf(w.Alert, i)
		if part == "" {
			continue
		}
		one, err := c.whyIncident(cmd, i, part)
		if err != nil {
			return nil, err
		}
		w.Incidents = append(w.Incidents, one)
	}
	return w, nil
}

// finding is the finding that made the alert as it is; nil when it is not kept any more.
func (c *client) finding(cmd *cobra.Command, a *event.Alert) (found *event.Finding, err error) {
	q := queryOf("key", event.ComputeID(a.Rule, a.Labels.Fingerprint()), "from", a.Updated.Add(-time.Hour).UTC().Format(time.RFC3339))
	_, err = c.words(cmd, "findings.v1", q, func(data json.RawMessage) error {
		f := &event.Finding{}
		if err := json.Unmarshal(data, f); err != nil {
			return err
		}
		if f.Identity() == a.Finding {
			found = f
		}
		return nil
	})
	return found, err
}

// words hands over the data of the events that a topic stored.
func (c *client) words(cmd *cobra.Command, topic string, q url.Values, handle func(json.RawMessage) error) (int, error) {
	return c.lines(cmd, "/topics/"+topic+"/events", q, func(line json.RawMessage) error {
		var l api.Line
		if err := json.Unmarshal(line, &l); err != nil {
			return err
		}
		var ce struct{ Data json.RawMessage }
		if l.Event == nil || json.Unmarshal(l.Event, &ce) != nil || ce.Data == nil {
			return nil // Removed, or unreadable: it says nothing of why.
		}
		return handle(ce.Data)
	})
}

// partOf says what an alert has to do with an incident; empty is nothing that its record tells.
func partOf(a *event.Alert, i *event.Incident) string {
	for _, own := range i.Alerts {
		if own.ID == a.ID {
			return "the alert is the incident itself"
		}
	}
	for _, s := range i.Examples {
		if s.ID == a.ID {
			return "the alert pages nobody, its cause is told: " + reasonText(s.Reason)
		}
	}
	if a.Target != "" && a.Target == i.Cause && i.State != event.IncidentResolved && a.State == event.AlertFiring {
		return "the alert is about the incident's cause"
	}
	return ""
}

// whyIncident adds every decision about an incident.
func (c *client) whyIncident(cmd *cobra.Command, i *event.Incident, part string) (whyIncident, error) {
	w := whyIncident{Incident: i, Part: part, Decisions: []decision{}, Pages: []*event.Page{}}
	if err := c.get(cmd.Context(), "/pages", queryOf("incident", i.ID), &w.Pages); err != nil {
		return w, err
	}
	slices.Reverse(w.Pages)
	var revisions []*event.Incident
	q := queryOf("key", i.ID, "from", i.OpenedAt.Add(-time.Hour).UTC().Format(time.RFC3339))
	if _, err := c.words(cmd, "incidents.v1", q, func(data json.RawMessage) error {
		r := &event.Incident{}
		revisions = append(revisions, r)
		return json.Unmarshal(data, r)
	}); err != nil {
		return w, err
	}
	if len(revisions) == 0 {
		revisions = append(revisions, i)
	}
	slices.SortStableFunc(revisions, func(a, b *event.Incident) int { return a.Revision - b.Revision })
	before := &event.Incident{}
	for _, r := range revisions {
		w.Decisions = append(w.Decisions, decided(before, r)...)
		before = r
	}
	for _, a := range before.Acts {
		w.Decisions = append(w.Decisions, decision{a.At, a.By + ": " + string(a.Kind), a.Text})
	}
	for _, p := range w.Pages {
		w.Decisions = append(w.Decisions, decision{p.Created, pageDecided(p), whyOf(p)})
	}
	slices.SortStableFunc(w.Decisions, func(a, b decision) int { return a.At.Compare(b.At) })
	return w, nil
}

// decided is what was decided from one revision of an incident to the next.
func decided(before, r *event.Incident) (all []decision) {
	say := func(what, why string) { all = append(all, decision{r.Updated, what, why}) }
	switch {
	case before.ID == "" && r.Revision > 1:
		say(string(r.State)+", cause "+r.Cause+" (what came before is not kept)", reasonText(r.Reason))
	case before.State != r.State || before.Cause != r.Cause || before.Kind != r.Kind:
		what := string(r.State) + ", cause " + r.Cause
		if before.ID != "" && before.Cause != r.Cause {
			what += " instead of " + before.Cause
		}
		say(what, reasonText(r.Reason))
	case before.Reason.Code != r.Reason.Code:
		say(string(r.State), reasonText(r.Reason))
	}
	if r.Suspected && !before.Suspected {
		say("the cause is suspected: nobody could verify it", "")
	}
	if r.Urgency != before.Urgency && r.Urgency != "" {
		say("urgency "+string(r.Urgency), r.Severity)
	}
	if now, then := reasonsText(r.Muted), reasonsText(before.Muted); now != then {
		if now == "" {
			say("nothing holds pages back any more", "")
		} else {
			say("nobody is called", now)
		}
	}
	lookedAfterSince(before, r, say)
	if r.Step > before.Step || r.Round > before.Round {
		say(fmt.Sprintf("step %d of the escalation, round %d", r.Step, r.Round+1), "")
	}
	return all
}

func reasonsText(all []event.Reason) string {
	var said []string
	for _, r := range all {
		said = append(said, reasonText(r))
	}
	return strings.Join(said, "; ")
}

func pageDecided(p *event.Page) string {
	to := p.Receiver
	if p.Person != "" {
		to = p.Person + " by " + p.Receiver
	}
	return fmt.Sprintf("page (%s) to %s: %s", p.Kind, to, p.Stage)
}
