package alerting

import (
	"cmp"
	"container/heap"
	"time"

	"kemi.dev/kemi/bus/event"
)

// Fallback returns the page that tells a person by the next way when the one of line, a page as it is now, does not work;
// nil when there is no need or no other way. It is to be taken in and published before a line that says that the page
// failed, and the desk is to know of it.
func (l *Ledger) Fallback(line *event.Page, now time.Time) *event.Page {
	if line.Person == "" || !wakes(line) || line.Stage == event.PageSent || line.Stage == event.PageHeld || l.after == nil {
		return nil
	}
	refused, refuses := l.refuses(line.Receiver)
	if line.Stage != event.PageFailed && now.Sub(line.Created) < l.policy.FallbackAfter && !refuses {
		return nil
	}
	if c := l.chains[line.ID]; c != nil && c.reached != "" {
		return nil
	}
	if _, is := l.hushed(line); is {
		return nil
	}
	way := l.after(line.Receiver, line.Person)
	if at := l.lanes[laneOf(line)]; way == "" || at != nil && at.over >= roundOf(line) {
		return nil
	}
	p := *line
	p.Receiver, p.Stage, p.Attempts, p.Response, p.PossibleDuplicate, p.Arrival = way, event.PageIntent, 0, "", false, ""
	p.Calling, p.Unreached = without(line.Calling, whoOf(&p)), without(line.Unreached, whoOf(&p))
	if line.Stage == event.PageFailed || refuses && line.Arrival == event.NotArrived {
		p.Unreached = append(p.Unreached, whoOf(line))
	} else {
		p.Calling = append(p.Calling, whoOf(line))
	}
	p.ID = event.ComputeID("page", line.ID, way)
	p.DedupKey = DedupKey(p.Incident, whoOf(&p))
	p.Created, p.Updated, p.NextTry = now, now, time.Time{}
	p.Reason = event.Reason{Code: ReasonFallback, Text: line.Receiver + " does not work: " + cmp.Or(line.Response, refused, "no answer yet"), Causes: []string{line.ID}}
	if l.Known(p.ID) {
		return nil
	}
	return &p
}

// arm has a page looked after that is still not settled at a time: a person is told by the next way from fallback on.
func (l *Ledger) arm(e *entry, fallback time.Time) {
	at := e.page.Created.Add(l.policy.RetryFor)
	if l.after != nil && e.page.Person != "" && wakes(e.page) && fallback.Before(at) {
		if at = fallback; e.lane.queue.refused {
			at = e.page.Created
		}
	}
	l.wake(at, e)
}

// Review decides what time alone decides: that a person is told by another way, that a page is given up, that a summary is
// due. It returns the pages by another way, of which the desk is to know.
func (l *Ledger) Review(now time.Time) (fallbacks []*event.Page) {
	l.refused(now)
	for len(l.alarms) > 0 && !now.Before(l.alarms[0].at) {
		a, _ := heap.Pop(&l.alarms).(alarm)
		e := a.entry
		switch {
		case e.gone:
		case e.sending: // What comes of it decides.
			l.wake(now.Add(grace), e)
		case now.Sub(e.page.Created) >= l.policy.RetryFor:
			line, at := *e.page, e.lane
			line.Stage, line.Reason = event.PageFailed, l.gaveUp(e.page)
			l.lines = append(l.lines, &line)
			l.settle(e, &line, now)
			l.tidy(at, now)
		default:
			if other := l.Fallback(e.page, now); other != nil {
				l.Take(other, now)
				fallbacks = append(fallbacks, other)
			}
			l.wake(e.page.Created.Add(l.policy.RetryFor), e)
		}
	}
	l.summarise(now)
	return fallbacks
}
