package api

import (
	"crypto/rand"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"kemi.dev/kemi/bus/event"
)

// NewOverride is what is posted so that somebody takes over.
type NewOverride struct {
	// ID of an override that it replaces; empty for a new one.
	ID string `json:"id,omitempty"`
	// Schedule and Person: who takes over where.
	Schedule string `json:"schedule"`
	Person   string `json:"person"`
	// For is whose shifts are taken over; empty is anybody's.
	For string `json:"for,omitempty"`
	// StartsAt is when; now unless told.
	StartsAt time.Time `json:"starts_at,omitzero"`
	// EndsAt or Lasts ("8h") say until when.
	EndsAt time.Time `json:"ends_at,omitzero"`
	Lasts  string    `json:"lasts,omitempty"`
	// By is who says so, Comment why.
	By      string `json:"by"`
	Comment string `json:"comment,omitempty"`
}

// all are the overrides of some schedules, newest first within each; those that are over only if asked for.
func (d *Duty) all(schedules []string, over bool, now time.Time) []*event.Override {
	all := []*event.Override{}
	for _, name := range schedules {
		list := d.Roster.Overrides(name)
		for i := range list {
			if over || list[i].EndsAt.After(now) && list[i].EndsAt.After(list[i].StartsAt) {
				all = append(all, &list[i])
			}
		}
	}
	return all
}

func (d *Duty) overrides(w http.ResponseWriter, r *http.Request) {
	if !knows(w, r, "overrides", "schedule all") {
		return
	}
	over, err := parseBool(r, "all")
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	names, err := d.chosen(r)
	if err != nil {
		complain(w, err)
		return
	}
	answer(w, http.StatusOK, d.all(names, over, time.Now()))
}

func (d *Duty) override(w http.ResponseWriter, r *http.Request) {
	var n NewOverride
	if !body(w, r, maxCommand, "override", &n) {
		return
	}
	o, err := d.newOverride(&n, time.Now().UTC())
	if err != nil {
		complain(w, err)
		return
	}
	d.sayOverride(w, r, o, http.StatusCreated)
}

// sayOverride publishes an override and answers when it shows.
func (d *Duty) sayOverride(w http.ResponseWriter, r *http.Request, o *event.Override, code int) {
	if err := d.Bus.PublishPromptly(r.Context(), o); err != nil {
		complain(w, err)
		return
	}
	if !seen(r.Context(), func() bool {
		return slices.ContainsFunc(d.Roster.Overrides(o.Schedule), func(have event.Override) bool { return have.ID == o.ID && have.Updated.Equal(o.Updated) })
	}) {
		code = http.StatusAccepted
	}
	answer(w, code, o)
}

// newOverride is the override that somebody asks for, or why it cannot be.
func (d *Duty) newOverride(n *NewOverride, now time.Time) (*event.Override, error) {
	by, err := byOf(n.By)
	if err == nil {
		err = known("schedule", n.Schedule, d.Roster.Schedules())
	}
	if err == nil {
		err = known("person", n.Person, d.Roster.People())
	}
	if err == nil && n.For != "" {
		err = known("person", n.For, d.Roster.People())
	}
	if err != nil {
		return nil, err
	}
	if p, _ := d.Roster.Person(n.Person); len(p.Ways) == 0 {
		return nil, wrong(http.StatusBadRequest, "%s has no way to be reached: give people: %s: ways: [a receiver]", n.Person, n.Person)
	}
	o := &event.Override{
		ID: n.ID, Schedule: n.Schedule, Person: n.Person, For: n.For, StartsAt: n.StartsAt.UTC(), By: by, Comment: strings.TrimSpace(n.Comment), Updated: now,
	}
	if n.StartsAt.IsZero() {
		o.StartsAt = now
	}
	if o.EndsAt, err = end(n.EndsAt.UTC(), n.Lasts, o.StartsAt, now); err != nil {
		return nil, err
	}
	if o.EndsAt.IsZero() {
		return nil, wrong(http.StatusBadRequest, "it has no end: give ends_at, or lasts such as 8h")
	}
	if o.ID == "" {
		o.ID = event.ComputeID("override", o.Schedule, o.Person, rand.Text())
	} else {
		old, err := one("override", o.ID, d.all(d.Roster.Schedules(), true, now), overrideID, "kemi oncall overrides")
		if err != nil {
			return nil, err
		}
		o.ID = old.ID // It may have been named by its beginning.
	}
	if err := d.Roster.Check(o); err != nil {
		return nil, problem{http.StatusBadRequest, errors.New(strings.TrimPrefix(err.Error(), "check override "+o.ID+": "))}
	}
	return o, nil
}

func overrideID(o *event.Override) string { return o.ID }

func (d *Duty) endOverride(w http.ResponseWriter, r *http.Request) {
	if !knows(w, r, "overrides", "by comment") {
		return
	}
	now := time.Now().UTC()
	by, err := byOf(r.URL.Query().Get("by"))
	if err != nil {
		complain(w, err)
		return
	}
	old, err := one("override", r.PathValue("id"), d.all(d.Roster.Schedules(), true, now), overrideID, "kemi oncall overrides")
	if err != nil {
		complain(w, err)
		return
	}
	if !old.EndsAt.After(now) {
		refuse(w, http.StatusConflict, wrong(http.StatusConflict, "override %s was over at %s", old.ID, stamp(old.EndsAt)))
		return
	}
	o := *old
	if o.StartsAt.After(now) {
		o.StartsAt = now
	}
	o.EndsAt, o.Updated, o.By = now, now, by
	if comment := strings.TrimSpace(r.URL.Query().Get("comment")); comment != "" {
		o.Comment = comment
	}
	d.sayOverride(w, r, &o, http.StatusOK)
}
