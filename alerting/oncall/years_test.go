package oncall_test

import (
	"sync"
	"testing"
	"time"

	"kemi.dev/kemi/alerting/oncall"
	"kemi.dev/kemi/bus/event"
)

// Ten years are walked once in every zone, a quarter of an hour at a time, and At is asked about every sixth of them.
func TestARotationIsRightTenYearsAfterItsStart(t *testing.T) {
	for _, zone := range zones {
		t.Run(zone, func(t *testing.T) {
			t.Parallel()
			monday := time.Date(2010, 1, 4, 2, 30, 0, 0, time.UTC)
			m := model{zone: zone, layers: []modelLayer{
				{every: 7 * 24 * time.Hour, start: monday, people: []string{"ann", "bob", "cho"}},
				{every: 8 * time.Hour, start: monday, people: []string{"dan", "eve"}, only: []modelHours{{days: []time.Weekday{time.Saturday, time.Sunday}, from: 150, to: 135}}},
			}}
			r, problems := m.roster(t.TempDir())
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			o := newOracle(m)
			i := 0
			for now := monday.AddDate(0, 0, -2); now.Before(monday.AddDate(11, 0, 0)); now = now.Add(quarter) {
				o.tick(now)
				if i++; i%6 != 0 {
					continue
				}
				want, _ := o.onCall(now)
				if got := r.At("network", oncall.Primary, now); got.Person != want {
					t.Fatalf("at %s: %q (%s), want %q", now.In(o.wall.loc), got.Person, got.Why.Text, want)
				}
			}
		})
	}
}

// People say overrides while others ask: every answer is one of before or after.
func TestOverridesMayBeSaidWhileOthersAsk(t *testing.T) {
	r := roster(t, weekly)
	now := at(t, "Asia/Seoul", "2026-01-06 12:00")
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 300 {
				if p := r.At("network", oncall.Primary, now).Person; p != "jo" && p != "boss" {
					t.Errorf("%q is on call", p)
				}
			}
		})
	}
	for i := range 300 {
		r.Put(&event.Override{ID: "o", Schedule: "network", Person: "boss", StartsAt: now, EndsAt: now.Add(time.Hour), Updated: now.Add(time.Duration(i))})
		r.Drop("o")
	}
	all.Wait()
}

func TestAnOverrideThatWasPutIsNotChangedFromOutside(t *testing.T) {
	r := roster(t, weekly)
	o := override(t, r, "o", "boss", "", "2026-01-06 00:00", "2026-01-07 00:00", 1)
	o.Person = "lee"
	if p := r.At("network", oncall.Primary, o.StartsAt).Person; p != "boss" {
		t.Errorf("%q is on call", p)
	}
}

// With an edit of the list instead of `leaves` the others keep their order, but turns are counted anew.
func TestWhoIsTakenOffTheListLeavesTheOrderOfTheOthers(t *testing.T) {
	r := roster(t, `
schedules:
  network: {timezone: Asia/Seoul, layers: [{start: 2026-01-05 09:00, people: [jo, lee]}]}
`)
	check(t, table(r.Shifts("network", oncall.Primary, at(t, "Asia/Seoul", "2026-01-05 09:00"), at(t, "Asia/Seoul", "2026-01-20 09:00"))), `
Mon 2026-01-05 09:00 +0900 .. Mon 2026-01-12 09:00 +0900  jo: the turn of jo in layer 1
Mon 2026-01-12 09:00 +0900 .. Mon 2026-01-19 09:00 +0900  lee: the turn of lee in layer 1
Mon 2026-01-19 09:00 +0900 .. Mon 2026-01-26 09:00 +0900  jo: the turn of jo in layer 1
`)
}
