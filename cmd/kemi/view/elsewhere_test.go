package view_test

import (
	"fmt"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/bus/mem"
	"kemi.dev/kemi/cmd/kemi/view"
)

// Whatever is said, removed and forgotten, in whatever order it is read: the counts are those of the newest of each alert.
func TestAlertsFromElsewhereAreCounted(t *testing.T) {
	start := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		s, now := view.NewState(), start
		want := map[string]*event.Alert{}
		for range rapid.IntRange(0, 40).Draw(t, "changes") {
			now = now.Add(time.Duration(rapid.SampledFrom([]int{0, 1, 100, 200}).Draw(t, "hours")) * time.Hour)
			id := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "id")
			rule := event.RulePrefixElsewhere + id
			if id == "d" {
				rule = "ours/" + id
			}
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0:
				s.RemoveAlert(id)
				delete(want, id)
			case 1:
				s.Forget(now)
				maps.DeleteFunc(want, func(_ string, a *event.Alert) bool {
					return a.State == event.AlertResolved && a.Updated.Before(now.Add(-view.Kept))
				})
			default:
				a := &event.Alert{ID: id, Rule: rule, State: rapid.SampledFrom([]event.AlertState{event.AlertFiring, event.AlertResolved}).Draw(t, "state"), Updated: now}
				if rapid.IntRange(0, 3).Draw(t, "old") == 0 {
					a.Updated = now.Add(-time.Hour)
				}
				if was := want[id]; was == nil || !a.Updated.Before(was.Updated) {
					want[id] = a
				}
				s.SetAlert(a)
			}
			firing, known := 0, 0
			for id, a := range want {
				if s.Problem(id) != a {
					t.Fatalf("%s is %+v, not %+v", id, s.Problem(id), a)
				}
				if id == "d" {
					continue
				}
				if known++; a.State == event.AlertFiring {
					firing++
				}
			}
			if f, k := s.Elsewhere(); f != firing || k != known {
				t.Fatalf("%d fire of %d, not %d of %d", f, k, firing, known)
			}
			n := 0
			for a := range s.FromElsewhere() {
				if n++; want[a.ID] != a {
					t.Fatal(fmt.Sprint(a.ID, " is another"))
				}
			}
			if n != known {
				t.Fatalf("%d are listed of %d", n, known)
			}
		}
	})
}

// An alert whose target has moved to another domain is what it is there, whatever becomes of its older record and in
// whatever order both are read.
func TestAnOlderRecordInAnotherDomainTakesNothingAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := opened(t, mem.New())
		now := time.Now()
		for i, domain := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} { // Of them some are in other partitions than now.
			old := &event.Alert{ID: "x", Domain: domain, State: event.AlertResolved, Updated: now.Add(time.Duration(i-10) * time.Minute)}
			if err := b.Publish(t.Context(), old); err != nil {
				t.Fatal(err)
			}
		}
		fires := &event.Alert{ID: "x", Domain: "west", State: event.AlertFiring, Updated: now}
		if err := b.Publish(t.Context(), fires); err != nil {
			t.Fatal(err)
		}
		m := running(t, b)
		firing := func() (is bool) {
			synctest.Wait()
			m.Read(func(s *view.State) { is = s.FiringOne("x") != nil })
			return is
		}
		if !firing() {
			t.Error("an older record hides it")
		}
		n := (*event.Alert)(nil).Topic().Partitions
		for _, domain := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
			if bus.Partition(domain, n) != bus.Partition("west", n) {
				if err := b.Remove(t.Context(), &event.Alert{ID: "x", Domain: domain}); err != nil {
					t.Fatal(err)
				}
			}
		}
		if !firing() {
			t.Error("an older record was removed, and it went with it")
		}
		if err := b.Remove(t.Context(), fires); err != nil {
			t.Fatal(err)
		}
		if firing() {
			t.Error("removed, and it fires")
		}
	})
}
