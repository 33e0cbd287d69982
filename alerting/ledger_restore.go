package alerting

import (
	"slices"
	"time"

	"kemi.dev/kemi/bus/event"
)

// Restore takes in the stored pages, newest stage each. Those that are not settled will be sent again; where the
// receiver does not fold they are marked as possible duplicates.
func (l *Ledger) Restore(pages []*event.Page, now time.Time) {
	sorted := slices.Clone(pages)
	slices.SortFunc(sorted, inOrder)
	for _, p := range sorted {
		at := l.lane(p)
		at.touched = p.Updated
		at.note(p)
		if p.Stage == event.PageSent {
			at.sent = max(at.sent, roundOf(p))
		}
		if settled(p) {
			l.known[p.ID] = p.Updated
			if mayHave(p) {
				at.reached = true
			} else {
				at.missed = true
			}
			if p.Stage == event.PageSent && now.Sub(p.Updated) < l.policy.LimitWithin && wakes(p) {
				l.gate.Count(p, p.Updated)
			}
		} else {
			again := *p
			again.PossibleDuplicate = again.PossibleDuplicate || !l.dedups(p.Receiver)
			e := l.add(&again)
			e.tried = true
			l.arm(e, laterOf(p.Created.Add(l.policy.FallbackAfter), now.Add(l.policy.SendTimeout+grace)))
		}
		l.piles.restore(p, at)
	}
	for _, p := range sorted { // A page by another way may be as old as the one before it.
		l.chain(p)
	}
	for _, p := range sorted {
		if p.Stage == event.PageSent {
			l.reached(p)
		}
	}
	l.endReached(now)
	for _, at := range l.lanes {
		if at.over >= at.round {
			l.piles.over(at)
		}
		l.tidy(at, now)
	}
	l.piles.restored()
}

func laterOf(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
