package alerting

import (
	"slices"
	"time"
)

// hearing is how far it has come with telling somebody of an incident.
type hearing int

const (
	hearingUnknown hearing = iota // The ledger has nothing of it: not yet, or not any more.
	hearingNow                    // A page, or a summary, is on its way.
	hearingDone                   // Something was taken.
	hearingNot                    // Nothing was, as far as is known, and nothing is on its way.
)

// hearing says how far it has come with telling one of whom an incident is told: since it fired again, if it did.
func (l *Ledger) hearing(incident, who string) hearing {
	switch at := l.lanes[incident+"\x00"+who]; {
	case at == nil:
		return hearingUnknown
	case at.sent > 0 && at.sent >= at.round:
		return hearingDone
	case len(at.entries) > 0, len(at.piles) > 0:
		return hearingNow
	}
	return hearingNot
}

// heardBy says of those an incident is told to who is only being told and whom nothing reached; the others were told.
func (d *Desk) heardBy(inc *incident, now time.Time) (calling, unreached []string) {
	if d.hearing == nil {
		return nil, nil
	}
	for _, who := range inc.rec.Told {
		switch d.hearing(inc.rec.ID, who) {
		case hearingNow:
			calling = append(calling, who)
		case hearingNot:
			unreached = append(unreached, who)
		case hearingUnknown:
			if now.Sub(inc.toldAt) < rememberPages { // What is decided now is not in the ledger yet.
				calling = append(calling, who)
			}
		}
	}
	return calling, unreached
}

func without(all []string, one string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return s == one })
}
