package alerting

import (
	"cmp"
	"container/heap"
	"slices"
	"time"

	"kemi.dev/kemi/bus/event"
)

// Ledger follows every page from its intent to its outcome. It decides what to send now, what to try again when, what
// has failed for good, and what is held because it is over or because there is too much. What a pass costs depends on what
// is due, not on what waits. It is not safe for concurrent use.
type Ledger struct {
	policy Policy
	// dedups says whether a receiver folds a page that arrives twice.
	dedups func(receiver string) bool
	// after names a person's next way after one that does not work; nil and "" are none.
	after func(receiver, person string) string
	gate  Gate
	// refuses says why a receiver takes no page of anybody any more, whatever is in it; nil is that it takes them.
	refuses func(receiver string) (why string, is bool)
	// quiet says why nobody is to be called about an incident now; nil is never.
	quiet func(incident string) (why event.Reason, is bool)

	lanes  map[string]*lane
	pages  map[string]*entry // Those that are not settled, by ID.
	queues map[string]*queue // By receiver.
	alarms alarms
	woken  int // How many alarms were set.
	known  map[string]time.Time
	chains map[string]*chain // Of pages that were also tried by another way, by ID.
	ends   []*chain          // Those of them that reached somebody, and have pages under way or pending.
	piles  piles
	lines  []*event.Page // Decided, and to be published.
	swept  time.Time
}

// perReceiver bounds the pages under way to one receiver: a slow one cannot take more.
const perReceiver = 4

// maxResponse bounds what is kept of a receiver's answer, in characters.
const maxResponse = 300

// rememberPages is how long the identity of a settled page is known, so that it is not sent again.
const rememberPages = 48 * time.Hour

// Codes of the reasons for what the ledger does with a page.
const (
	// ReasonFallback: another way to the person did not work.
	ReasonFallback = "fallback"
	// ReasonOverUnsent: it was over before the page could be sent.
	ReasonOverUnsent = "over-before-sent"
	// ReasonOverUnknown: it was over before anybody knew whether the page had arrived.
	ReasonOverUnknown = "over-before-known"
	// ReasonReached: another way reached the person meanwhile.
	ReasonReached = "reached"
	// ReasonNotTold: whoever it is for was never told of what it goes on about.
	ReasonNotTold = "never-told"
	// ReasonRateLimited: whoever it is for was told of so much already; a summary says it.
	ReasonRateLimited = "rate-limited"
)

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

// NewLedger makes an empty ledger with a gate of its own.
func NewLedger(policy Policy, dedups func(receiver string) bool) *Ledger {
	gates := NewGates(policy)
	return &Ledger{
		policy: policy, dedups: dedups, gate: gates, refuses: gates.Refuses, lanes: map[string]*lane{}, pages: map[string]*entry{},
		queues: map[string]*queue{}, known: map[string]time.Time{}, piles: newPiles(), chains: map[string]*chain{},
	}
}

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

func inOrder(a, b *event.Page) int {
	rank := func(k event.PageKind) int {
		return slices.Index([]event.PageKind{event.PageFiring, event.PageSummary, event.PageUpdate, event.PageResolved}, k)
	}
	return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(rank(a.Kind), rank(b.Kind)), cmp.Compare(a.ID, b.ID))
}

func settled(p *event.Page) bool {
	return p.Stage == event.PageSent || p.Stage == event.PageFailed || p.Stage == event.PageHeld
}

// wakes says whether a page calls somebody: the others only say more to who was called.
func wakes(p *event.Page) bool { return p.Kind == event.PageFiring || p.Kind == event.PageSummary }

// Known reports whether the ledger has the page already: then it is not to be stored again.
func (l *Ledger) Known(id string) bool {
	_, known := l.known[id]
	return known
}

// Take takes in a page that was decided. What is to be published of it, before it is sent, is among Lines.
func (l *Ledger) Take(p *event.Page, now time.Time) {
	if l.Known(p.ID) {
		return
	}
	e := l.add(p)
	l.chain(p)
	switch e.lane.note(p); p.Kind {
	case event.PageResolved:
		l.piles.over(e.lane)
	case event.PageFiring:
		l.piles.again(e.lane)
	}
	l.piles.way(p)
	if l.tidy(e.lane, now); !e.gone {
		l.lines = append(l.lines, p)
		l.arm(e, p.Created.Add(l.policy.FallbackAfter))
	}
}

// Lines hands over the lines that were decided since it was asked last: to be published, in this order.
func (l *Ledger) Lines() []*event.Page {
	lines := l.lines
	l.lines = nil
	return lines
}

func (l *Ledger) lane(p *event.Page) *lane {
	key := laneOf(p)
	if at := l.lanes[key]; at != nil {
		return at
	}
	q := l.queues[p.Receiver]
	if q == nil {
		q = &queue{receiver: p.Receiver}
		l.queues[p.Receiver] = q
	}
	at := &lane{key: key, queue: q, at: -1}
	l.lanes[key] = at
	return at
}

func (l *Ledger) add(p *event.Page) *entry {
	e := &entry{page: p, lane: l.lane(p)}
	l.known[p.ID] = p.Updated
	l.pages[p.ID] = e
	e.lane.entries, e.lane.touched = append(e.lane.entries, e), p.Updated
	e.lane.settleIn()
	return e
}

// tidy holds what is at the head of a lane and need not be told any more: calls to somebody about what is over, and what
// goes on about a thing that nobody was told of. A page that is under way is waited for.
func (l *Ledger) tidy(at *lane, now time.Time) {
	for len(at.entries) > 0 && !at.entries[0].sending {
		e := at.entries[0]
		switch {
		case e.page.Kind != event.PageResolved && roundOf(e.page) <= at.over && e.tried:
			l.hold(e, event.Reason{Code: ReasonOverUnknown, Text: "it was over before anybody knew whether the page had arrived"}, now)
		case e.page.Kind != event.PageResolved && roundOf(e.page) <= at.over:
			l.hold(e, event.Reason{Code: ReasonOverUnsent, Text: "it was over before the page could be sent"}, now)
		case !wakes(e.page) && at.missed && !at.reached && !e.tried:
			l.hold(e, event.Reason{Code: ReasonNotTold, Text: "the page that it goes on about did not arrive"}, now)
		default:
			return
		}
	}
}

// hold settles a page that will not be sent.
func (l *Ledger) hold(e *entry, why event.Reason, now time.Time) {
	line := *e.page
	why.Causes = line.Reason.Causes
	if n := len(e.lane.piles); line.Summary == "" && why.Code == ReasonNotTold && n > 0 {
		line.Summary = e.lane.piles[n-1].id
		why.Text += ": a summary says it"
	}
	line.Stage, line.Reason = event.PageHeld, why
	l.lines = append(l.lines, &line)
	l.settle(e, &line, now)
}

// settle takes a page out of its lane, and says in its last line whether it may have arrived, so that a restart knows of it
// what is known now. The next one's turn has come.
func (l *Ledger) settle(e *entry, line *event.Page, now time.Time) {
	at := e.lane
	line.Updated, line.NextTry = now, time.Time{}
	switch {
	case line.Stage == event.PageSent:
		line.Arrival, at.reached = event.Arrived, true
	case e.tried:
		line.Arrival, at.reached = event.ArrivalUnknown, true
	default:
		line.Arrival, at.missed = event.NotArrived, true
	}
	l.known[e.page.ID], at.touched = now, now
	delete(l.pages, e.page.ID)
	if i := slices.Index(at.entries, e); i == 0 {
		at.entries[0] = nil
		at.entries = at.entries[1:]
	} else {
		at.entries = slices.Delete(at.entries, i, i+1)
	}
	if len(at.entries) == 0 {
		at.entries = nil
	}
	e.gone, e.page = true, nil // Its alarm may be far away.
	at.settleIn()
}

// Due returns the pages to send now; each is under way until its Outcome is given. A page waits for those of the same
// incident and receiver before it, no receiver gets more than a few at a time, and none what its breaker holds back.
// Everything that was decided must have been published before.
func (l *Ledger) Due(now time.Time) []*event.Page {
	l.sweep(now)
	var due []*event.Page
	for _, q := range l.queues {
		for len(q.lanes) > 0 && q.sending < perReceiver {
			e := q.lanes[0].entries[0]
			if why, is := l.hushed(e.page); is {
				l.hold(e, why, now) // One that may have arrived counts as told.
				l.tidy(e.lane, now)
				continue
			}
			if now.Before(e.page.NextTry) || !l.gate.Begin(q.receiver, e.page.ID, now) {
				break
			}
			if !l.granted(e, now) {
				l.gate.End(q.receiver, Outcome{Page: e.page.ID, Unsent: true}, now)
				l.limit(e, now)
				continue
			}
			e.sending = true
			q.sending++
			e.lane.settleIn()
			due = append(due, e.page)
		}
	}
	slices.SortFunc(due, dueBefore)
	return due
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
	case o.Permanent:
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

func (l *Ledger) gaveUp(p *event.Page) event.Reason {
	return event.Reason{Code: "gave-up", Text: "not delivered within " + l.policy.RetryFor.String() + ": " + cmp.Or(p.Response, "its turn never came"), Causes: p.Reason.Causes}
}

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
	if line.Stage == event.PageFailed {
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

// retryIn is the pause after so many attempts: from one second it doubles up to a minute.
func retryIn(attempts int) time.Duration {
	if attempts > 6 {
		return time.Minute
	}
	return min(time.Second<<(attempts-1), time.Minute)
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

// Unsent counts the pages that are not settled.
func (l *Ledger) Unsent() int { return len(l.pages) }

// sweep forgets the identities of pages that were settled long ago, and the lanes of which nothing is to be remembered.
func (l *Ledger) sweep(now time.Time) {
	if now.Sub(l.swept) < time.Hour {
		return
	}
	l.swept = now
	for id, at := range l.known {
		if now.Sub(at) > rememberPages && l.pages[id] == nil {
			delete(l.known, id)
			delete(l.chains, id)
		}
	}
	for key, at := range l.lanes {
		stands := slices.ContainsFunc(at.piles, func(s *pile) bool { return !s.ended }) // Its summary waits for its end.
		if now.Sub(at.touched) > rememberPages && len(at.entries) == 0 && !stands && (at.over > 0 || at.reached) {
			delete(l.lanes, key)
		}
	}
}
