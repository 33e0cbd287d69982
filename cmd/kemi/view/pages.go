package view

import (
	"strings"
	"time"

	"kemi.dev/kemi/bus/event"
)

// PageFilter narrows the ledger: every set field has to match.
type PageFilter struct {
	// Stage and Team are whole words, whatever their case; Target is the incident's cause when the page was decided.
	Stage, Team, Target string
	// Receiver and Person are whole words too.
	Receiver, Person string
	// Page, Incident and Summary are ids, or the start of one.
	Page, Incident, Summary string
	// Since leaves out pages that nothing happened to since then.
	Since time.Time
}

// Match reports whether a page is meant.
func (f PageFilter) Match(p *event.Page) bool {
	return match(f.Stage, string(p.Stage)) && match(f.Team, p.Team) && match(f.Receiver, p.Receiver) && match(f.Person, p.Person) &&
		strings.HasPrefix(p.ID, f.Page) && strings.HasPrefix(p.Incident, f.Incident) && strings.HasPrefix(p.Summary, f.Summary) && !p.Updated.Before(f.Since) &&
		(f.Target == "" || p.Snapshot != nil && match(f.Target, p.Snapshot.Cause))
}

// Ledger lists the pages of the ledger that the filter means, newest first.
func (s *State) Ledger(f PageFilter) []*event.Page {
	return list(s.pages, f.Match, func(p *event.Page) time.Time { return p.Created })
}
