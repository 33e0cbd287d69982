package oncall

import (
	"cmp"
	"fmt"
	"slices"

	"kemi.dev/kemi/bus/event"
)

// Check says what is wrong with an override that somebody wants to say. Put takes it all the same: those that were said
// long ago may name people and schedules that are gone, and are in force for nobody.
func (r *Roster) Check(o *event.Override) error {
	s := r.schedules[o.Schedule]
	switch {
	case o.ID == "":
		return fmt.Errorf("check override: it has no id")
	case s == nil:
		return fmt.Errorf("check override %s: there is no schedule %q", o.ID, o.Schedule)
	case !o.StartsAt.Before(o.EndsAt):
		return fmt.Errorf("check override %s: it ends before it starts: give a later end", o.ID)
	}
	for _, p := range []string{o.Person, o.For} {
		if p == "" && o.Person != "" {
			continue // It is for anybody's shifts.
		}
		leaves, known := s.leaves[p]
		if !known {
			return fmt.Errorf("check override %s: there is no person %q", o.ID, p)
		}
		if p == o.Person && !leaves.IsZero() && leaves.Before(o.EndsAt) {
			return fmt.Errorf("check override %s: %s leaves on %s: have it end by then, or name somebody else", o.ID, p, s.show(leaves))
		}
	}
	if o.For == o.Person {
		return fmt.Errorf("check override %s: %s cannot take over from %s: name somebody else", o.ID, o.Person, o.For)
	}
	return nil
}

// Put takes an override into account; one with the same ID is replaced unless it was said later. One of a schedule that
// is not there is ignored, one that ends before it starts is never in force.
func (r *Roster) Put(o *event.Override) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.schedules {
		i := slices.IndexFunc(s.overrides, func(old *event.Override) bool { return old.ID == o.ID })
		if i >= 0 && s.overrides[i].Updated.After(o.Updated) {
			return
		}
		if i >= 0 {
			s.overrides = slices.Delete(s.overrides, i, i+1)
		}
	}
	s := r.schedules[o.Schedule]
	if s == nil {
		return
	}
	own := *o
	at, _ := slices.BinarySearchFunc(s.overrides, &own, newestFirst)
	s.overrides = slices.Insert(s.overrides, at, &own)
}

// Drop forgets an override.
func (r *Roster) Drop(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.schedules {
		s.overrides = slices.DeleteFunc(s.overrides, func(o *event.Override) bool { return o.ID == id })
	}
}

// Overrides returns the overrides of a schedule, newest first.
func (r *Roster) Overrides(schedule string) []event.Override {
	r.mu.RLock()
	defer r.mu.RUnlock()
	s := r.schedules[schedule]
	if s == nil {
		return nil
	}
	all := make([]event.Override, 0, len(s.overrides))
	for _, o := range s.overrides {
		all = append(all, *o)
	}
	return all
}

// newestFirst orders overrides; of two that were said at once the one with the greater ID counts as the newer.
func newestFirst(a, b *event.Override) int {
	return cmp.Or(b.Updated.Compare(a.Updated), cmp.Compare(b.ID, a.ID))
}

// override returns the newest override in force that is wanted. The shifts of Override.For are those that the layers
// give that person: what somebody took over by another override is not passed on, so that two overrides make a swap.
func (s *schedule) override(k *look, wanted func(*event.Override) bool) *event.Override {
	for _, o := range s.overrides {
		if !o.StartsAt.Before(o.EndsAt) || !wanted(o) {
			continue
		}
		if k.t.Before(o.StartsAt) {
			k.narrow(zero, o.StartsAt)
			continue
		}
		if !k.t.Before(o.EndsAt) {
			k.narrow(o.EndsAt, zero)
			continue
		}
		k.narrow(o.StartsAt, o.EndsAt)
		if s.there(k, o.Person) {
			return o
		}
	}
	return nil
}
