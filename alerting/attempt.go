package alerting

import (
	"cmp"
	"slices"
	"time"

	"kemi.dev/kemi/bus/event"
)

// perReceiver bounds the pages under way to one receiver: a slow one cannot take more.
const perReceiver = 4

// maxResponse bounds what is kept of a receiver's answer, in characters.
const maxResponse = 300

// Outcome is what came of one attempt to send a page.
type Outcome struct {
	Page     string // Its ID.
	Incident string // That it tells of: the ledger says it to the gate.
	Response string
	// Err is nil when the receiver took it; Permanent says that it never will, RetryAfter not to try before.
	Err        error
	Permanent  bool
	RetryAfter time.Duration
	// Unsent says that there was no attempt.
	Unsent bool
	// Arrival is what is known of whether it arrived; empty is by the rest: what was refused for good has not, and of any
	// other error nobody knows.
	Arrival event.Arrival
	// Personal says that it is about whom the page is for, and nothing about the receiver.
	Personal bool
}

// arrival is what is known of this attempt by itself.
func (o *Outcome) arrival() event.Arrival {
	switch {
	case o.Err == nil && !o.Unsent:
		return event.Arrived
	case o.Unsent, o.Permanent && o.Arrival == "":
		return event.NotArrived
	}
	return cmp.Or(o.Arrival, event.ArrivalUnknown)
}

// Due returns the pages to send now; each is under way until its Outcome is given. A page waits for those of the same
// incident and receiver before it, no receiver gets more than a few at a time, and none what its breaker holds back. Whatever
// the receivers, the oldest goes first, and of one moment the most severe: it gets what is left of a limit.
// Everything that was decided must have been published before.
func (l *Ledger) Due(now time.Time) []*event.Page {
	l.sweep(now)
	var ready []*queue
	for _, q := range l.queues {
		if q.ready() {
			ready = append(ready, q)
		}
	}
	slices.SortFunc(ready, inTurn)
	var due []*event.Page
	for len(ready) > 0 {
		q := ready[0]
		ready = ready[1:]
		page, goesOn := l.begin(q, now)
		if page != nil {
			due = append(due, page)
		}
		if goesOn && q.ready() {
			at, _ := slices.BinarySearchFunc(ready, q, inTurn)
			ready = slices.Insert(ready, at, q)
		}
	}
	return due
}

// begin looks after the page that is next in a queue: nil means that it is not sent now. Then, when goesOn is false, no other
// of the queue is either.
func (l *Ledger) begin(q *queue, now time.Time) (page *event.Page, goesOn bool) {
	e := q.lanes[0].entries[0]
	if why, is := l.hushed(e.page); is {
		l.hold(e, why, now) // One that may have arrived counts as told.
		l.tidy(e.lane, now)
		return nil, true
	}
	if now.Before(e.page.NextTry) || !l.gate.Begin(q.receiver, e.page.ID, now) {
		return nil, false
	}
	if !l.granted(e, now) {
		l.gate.End(q.receiver, Outcome{Page: e.page.ID, Unsent: true}, now)
		l.limit(e, now)
		return nil, true
	}
	e.sending = true
	q.sending++
	e.lane.settleIn()
	return e.page, true
}

// hushed says why a page that was decided before calls nobody any more: somebody looks after its incident, or something
// holds pages back. What somebody gave to a person by hand is told.
func (l *Ledger) hushed(p *event.Page) (why event.Reason, is bool) {
	if l.quiet == nil || p.Kind != event.PageFiring || p.Reason.Code == ReasonAssigned {
		return event.Reason{}, false
	}
	return l.quiet(p.Incident)
}

// Outcome takes in what came of an attempt and returns the page's new line in the ledger, to be published before Lines;
// nil when the page is not one that is under way.
func (l *Ledger) Outcome(o Outcome, now time.Time) *event.Page {
	e := l.pages[o.Page]
	if e == nil || !e.sending {
		return nil
	}
	at := e.lane
	e.sending = false
	at.queue.sending--
	arrival := o.arrival()
	switch {
	case arrival != event.NotArrived:
		e.tried = true
	case e.tried: // An attempt before this one may have brought it.
		arrival = event.ArrivalUnknown
	}
	o.Incident = e.page.Incident
	l.gate.End(e.page.Receiver, o, now)
	p := *e.page
	p.Attempts++
	p.Updated, p.NextTry = now, time.Time{}
	p.Response, p.Arrival = cut(o.Response, maxResponse), arrival
	if o.Err != nil {
		p.Response = cut(o.Err.Error(), maxResponse)
	}
	wait := max(retryIn(p.Attempts), min(o.RetryAfter, longestPause))
	switch {
	case o.Err == nil:
		p.Stage = event.PageSent
		p.Reason = event.Reason{Code: "sent", Causes: p.Reason.Causes}
	case o.Permanent && !l.refusesAll(&p, o):
		p.Stage = event.PageFailed
		p.Reason = event.Reason{Code: "refused", Text: p.Response, Causes: p.Reason.Causes}
	case now.Add(wait).Sub(p.Created) > l.policy.RetryFor:
		p.Stage, p.Reason = event.PageFailed, l.gaveUp(&p)
	default:
		p.Stage, p.NextTry = event.PageRetrying, now.Add(wait)
	}
	e.page = &p
	if l.known[p.ID] = now; settled(&p) {
		l.settle(e, &p, now)
	}
	if p.Stage == event.PageSent {
		at.sent = max(at.sent, roundOf(&p))
		l.reached(&p)
	}
	l.endReached(now)
	at.settleIn()
	l.tidy(at, now)
	return &p
}

// refusesAll says whether a page was refused by a receiver that refuses whatever it gets. That says nothing about the page: it
// waits until the receiver works, as those do that it never got, and people are told by their next way meanwhile.
func (l *Ledger) refusesAll(p *event.Page, o Outcome) bool {
	_, is := l.refuses(p.Receiver)
	return is && !o.Personal
}

func (l *Ledger) gaveUp(p *event.Page) event.Reason {
	return event.Reason{Code: "gave-up", Text: "not delivered within " + l.policy.RetryFor.String() + ": " + cmp.Or(p.Response, "its turn never came"), Causes: p.Reason.Causes}
}

// retryIn is the pause after so many attempts: from one second it doubles up to a minute.
func retryIn(attempts int) time.Duration {
	if attempts > 6 {
		return time.Minute
	}
	return min(time.Second<<(attempts-1), time.Minute)
}
