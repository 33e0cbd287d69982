package main

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kemi.dev/kemi/bus/event"
)

var incidentColumns = []string{"id", "state", "urgency", "cause", "team", "since", "suppressed", "looked after", "muted", "next", "title"}

// incidentRow is an incident in a list: what it is, who looks after it, and what happens when nobody does.
func incidentRow(i event.Incident) []string {
	now := time.Now()
	next := "-"
	if n := i.Coming(); n != nil {
		next = in(n.At, now) + ": " + n.Text
	}
	return []string{
		brief(i.ID), string(i.State), dash(string(i.Urgency)), i.Cause, i.Team, ago(i.OpenedAt), strconv.Itoa(i.SuppressedTotal), dash(lookedAfter(&i, now)),
		dash(muted(&i)), next, i.Title,
	}
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// lookedAfter says who looks after an incident, or until when nobody is to.
func lookedAfter(i *event.Incident, now time.Time) string {
	var said []string
	if i.Ack != nil {
		text := i.Ack.By
		if !i.Ack.Until.IsZero() {
			text += " until " + hour(i.Ack.Until, now)
		}
		said = append(said, text)
	}
	if i.Assignee != "" {
		said = append(said, "for "+i.Assignee)
	}
	if i.SnoozedUntil.After(now) {
		said = append(said, "snoozed until "+hour(i.SnoozedUntil, now))
	}
	return strings.Join(said, ", ")
}

// muted says what holds the pages of an incident back.
func muted(i *event.Incident) string {
	codes := make([]string, 0, len(i.Muted))
	for _, why := range i.Muted {
		codes = append(codes, why.Code)
	}
	return strings.Join(codes, ", ")
}

// narrowIncidents adds the flags that choose incidents by what people do about them.
func narrowIncidents(cmd *cobra.Command) func(json.RawMessage) (json.RawMessage, error) {
	var urgency string
	var acked, unacked, held bool
	cmd.Flags().StringVar(&urgency, "urgency", "", "only those of this urgency: page, notify, log")
	cmd.Flags().BoolVar(&acked, "acked", false, "only those that somebody looks after")
	cmd.Flags().BoolVar(&unacked, "unacked", false, "only those that nobody looks after, of those that are not over")
	cmd.Flags().BoolVar(&held, "muted", false, "only those whose pages are held back")
	return func(data json.RawMessage) (json.RawMessage, error) {
		switch event.Urgency(urgency) {
		case "", event.UrgencyPage, event.UrgencyNotify, event.UrgencyLog:
		default:
			return nil, usageError{errors.New("--urgency " + urgency + ": there is page, notify, log")}
		}
		var all []json.RawMessage
		if err := json.Unmarshal(data, &all); err != nil {
			return nil, err
		}
		kept := []json.RawMessage{}
		for _, one := range all {
			var i event.Incident
			if err := json.Unmarshal(one, &i); err != nil {
				return nil, err
			}
			if urgency != "" && string(i.Urgency) != urgency || acked && i.Ack == nil || held && len(i.Muted) == 0 ||
				unacked && (i.Ack != nil || i.State == event.IncidentResolved) {
				continue
			}
			kept = append(kept, one)
		}
		return json.Marshal(kept)
	}
}
