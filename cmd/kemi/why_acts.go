package main

import (
	"slices"
	"time"

	"kemi.dev/kemi/bus/event"
)

// lookedAfterSince says what became of acknowledgement and snooze from one revision of an incident to the next: until when they
// hold, and how they ended. Who did what stands among the acts, too.
func lookedAfterSince(before, r *event.Incident, say func(what, why string)) {
	over := r.State == event.IncidentResolved
	switch then, now := before.Ack, r.Ack; {
	case now != nil && then != nil && now.At.Equal(then.At) && now.By == then.By, now == nil && then == nil:
	case now != nil && then != nil:
		say(now.By+" looks after it"+untilStamp(now.Until)+", instead of "+then.By+untilStamp(then.Until), "")
	case now != nil:
		say(now.By+" looks after it"+untilStamp(now.Until), "")
	default:
		say("the acknowledgement of "+then.By+" is over", ended(then.Until, over, r, event.Unacknowledge, then.At))
	}
	switch then, now := before.SnoozedUntil, r.SnoozedUntil; {
	case now.Equal(then):
	case now.IsZero():
		say("the snooze is over", ended(then, over, r, "", time.Time{}))
	case then.IsZero():
		say("nobody is to be called before "+localTime(now), "")
	default:
		say("nobody is to be called before "+localTime(now)+", instead of "+localTime(then), "")
	}
}

// ended says why something that was to hold until a time does not hold in a revision: somebody took it back by an act of a kind,
// it expired, or the incident is over.
func ended(until time.Time, over bool, r *event.Incident, by event.CommandKind, since time.Time) string {
	for _, a := range slices.Backward(r.Acts) {
		if by != "" && a.Kind == by && !a.At.Before(since) {
			return a.By + " took it back at " + localTime(a.At)
		}
	}
	switch {
	case !until.IsZero() && !r.Updated.Before(until):
		return "it expired at " + localTime(until)
	case over:
		return "the incident is"
	}
	return ""
}
