package alerting

import (
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
	// endless says that a receiver is set not to be told that something is over; nil is that none is.
	endless func(receiver string) bool
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
	// ReasonEndless: the receiver is set not to be told that something is over.
	ReasonEndless = "not-wanted"
	// ReasonRateLimited: whoever it is for was told of so much already; a summary says it.
	ReasonRateLimited = "rate-limited"
)

// NewLedger makes an empty ledger with a gate of its own.
func NewLedger(policy Policy, dedups func(receiver string) bool) *Ledger {
	gates := NewGates(policy)
	return &Ledger{
		policy: policy, dedups: dedups, gate: gates, refuses: gates.Refuses, lanes: map[string]*lane{}, pages: map[string]*entry{},
		queues: map[string]*queue{}, known: map[string]time.Time{}, piles: newPiles(), chains: map[string]*chain{},
	}
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
	if p.Snapshot != nil {
		e.severity = severity(p.Snapshot.Severity)
	}
	l.known[p.ID] = p.Updated
	l.pages[p.ID] = e
	e.lane.entries, e.lane.touched = append(e.lane.entries, e), p.Updated
	e.lane.settleIn()
	return e
}

// tidy holds what is at the head of a lane and need not be told any more: calls to somebody about what is over, what goes on
// about a thing that nobody was told of, and the end of it where nobody wants to hear of ends. A page that is under way is waited for.
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
		case e.page.Kind == event.PageResolved && l.endless != nil && l.endless(e.page.Receiver):
			l.hold(e, event.Reason{Code: ReasonEndless, Text: "send_resolved: false: by " + e.page.Receiver + " nobody is told that it is over"}, now)
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
