package alerting

import (
	"maps"
	"slices"
	"time"

	"kemi.dev/kemi/bus/event"
)

// maxLeft is how many alerts that left it a record keeps.
const maxLeft = 20

// leftNow notes that an alert which people were told of is over while its incident is not: when it fires again soon it is
// nothing new to them.
func (d *Desk) leftNow(a *held, at time.Time) {
	if a.inc != nil && a.cause == nil {
		a.inc.forgo(a.event.ID, at, d.policy.ReopenWithin)
	}
}

func (inc *incident) forgo(alert string, at time.Time, within time.Duration) {
	if !inc.key.own || len(inc.told) == 0 || inc.byHand || inc.closed {
		return
	}
	left := slices.DeleteFunc(slices.Clone(inc.rec.Left), func(l event.AlertLeft) bool {
		return l.ID == alert || at.Sub(l.At) > within
	})
	left = append(left, event.AlertLeft{ID: alert, At: at})
	inc.rec.Left = left[max(0, len(left)-maxLeft):]
}

// leftLately says whether an alert left an incident within a time.
func (inc *incident) leftLately(alert string, now time.Time, within time.Duration) bool {
	return slices.ContainsFunc(inc.rec.Left, func(l event.AlertLeft) bool { return l.ID == alert && now.Sub(l.At) <= within })
}

// wasIn finds the open incident that an alert was in of which people were told: it left a moment ago, or the record of
// before a restart has no room to list it.
func (d *Desk) wasIn(a *held, k key, now time.Time) *incident {
	if a.inc != nil {
		return nil
	}
	was := func(inc *incident) bool {
		if len(inc.told) == 0 || inc.closed || inc.byHand {
			return false
		}
		if inc.leftLately(a.event.ID, now, d.policy.ReopenWithin) {
			return true
		}
		if inc.unclaimed > 0 && !a.event.StartsAt.After(inc.asOf) {
			inc.unclaimed--
			return true
		}
		return false
	}
	if k.own {
		for _, inc := range k.node.incidents {
			if inc.key == k && was(inc) {
				return inc
			}
		}
	}
	if len(d.gathered) > 0 {
		for _, inc := range d.gathered[similar(a)] {
			if was(inc) {
				return inc
			}
		}
	}
	return nil
}

// unclaim notes that what restored incidents claim and does not fire any more left them, some time after their record.
func (d *Desk) unclaim() {
	for _, id := range slices.Sorted(maps.Keys(d.claims)) {
		d.claims[id].forgo(id, d.claims[id].asOf, d.policy.ReopenWithin)
		delete(d.claims, id)
	}
}
