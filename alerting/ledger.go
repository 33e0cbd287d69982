package alerting

import (
	"cmp"
	"slices"
	"time"

	"kemi.dev/kemi/bus/event"
)

// Ledger follows every page from its intent to its outcome. It decides what to send now, what to try again when, and
// what has failed for good. It is not safe for concurrent use.
type Ledger struct {
	policy Policy
	// dedups says whether a receiver folds a page that arrives twice.
	dedups func(receiver string) bool
	// after names a person's next way after one that does not work; nil and "" are none.
	after func(receiver, person string) string

	open   map[string][]*entry // Unsettled pages by incident and receiver, in the order in which they must arrive.
	queues map[string]*queue   // By receiver.
	known  map[string]time.Time
	swept  time.Time
}

// entry is a page that is not settled; the event it points to is replaced, never changed.
type entry struct {
	page    *event.Page
	sending bool
}

// queue counts what is under way to one receiver.
type queue struct{ sending int }

// perReceiver bounds the pages under way to one receiver: a slow one cannot take more.
const perReceiver = 4

// maxResponse bounds what is kept of a receiver's answer, in characters.
const maxResponse = 300

// rememberPages is how long the identity of a settled page is known, so that it is not sent again.
const rememberPages = 48 * time.Hour

// Outcome is what came of one attempt to send a page.
type Outcome struct {
	Page     string // Its ID.
	Response string
	// Err is nil when the receiver took it; Permanent says that it never will, RetryAfter not to try before.
	Err        error
	Permanent  bool
	RetryAfter time.Duration
}

// NewLedger makes an empty ledger.
func NewLedger(policy Policy, dedups func(receiver string) bool) *Ledger {
	return &Ledger{policy: policy, dedups: dedups, open: map[string][]*entry{}, queues: map[string]*queue{}, known: map[string]time.Time{}}
}

// Restore takes in the stored pages, newest stage each. Those that are not settled will be sent again; where the
// receiver does not fold they are marked as possible duplicates.
func (l *Ledger) Restore(pages []*event.Page) {
	sorted := slices.Clone(pages)
	slices.SortFunc(sorted, inOrder)
	for _, p := range sorted {
		if settled(p) {
			l.known[p.ID] = p.Updated
			continue
		}
		again := *p
		again.PossibleDuplicate = again.PossibleDuplicate || !l.dedups(p.Receiver)
		l.add(&again)
	}
}

func inOrder(a, b *event.Page) int {
	rank := func(k event.PageKind) int {
		return slices.Index([]event.PageKind{event.PageFiring, event.PageUpdate, event.PageResolved}, k)
	}
	return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(rank(a.Kind), rank(b.Kind)), cmp.Compare(a.ID, b.ID))
}

func settled(p *event.Page) bool { return p.Stage == event.PageSent || p.Stage == event.PageFailed }

// Known reports whether the ledger has the page already: then it is not to be stored again.
func (l *Ledger) Known(id string) bool {
	_, known := l.known[id]
	return known
}

// Add takes in a page whose intent has been stored.
func (l *Ledger) Add(p *event.Page) {
	if !l.Known(p.ID) {
		l.add(p)
	}
}

func (l *Ledger) add(p *event.Page) {
	l.known[p.ID] = p.Updated
	l.open[lane(p)] = append(l.open[lane(p)], &entry{page: p})
}

// lane is where pages must not overtake each other.
func lane(p *event.Page) string { return p.Incident + "\x00" + whoOf(p) }

// Due returns the pages to send now; each is under way until its Outcome is given. A page waits for those of the same
// incident and receiver before it, and no receiver gets more than a few at a time.
func (l *Ledger) Due(now time.Time) []*event.Page {
	l.sweep(now)
	var due []*entry
	for _, entries := range l.open {
		if e := entries[0]; !e.sending && !now.Before(e.page.NextTry) {
			due = append(due, e)
		}
	}
	slices.SortFunc(due, func(a, b *entry) int {
		return cmp.Or(a.page.NextTry.Compare(b.page.NextTry), inOrder(a.page, b.page))
	})
	var pages []*event.Page
	for _, e := range due {
		q := l.queues[e.page.Receiver]
		if q == nil {
			q = &queue{}
			l.queues[e.page.Receiver] = q
		}
		if q.sending < perReceiver {
			q.sending++
			e.sending = true
			pages = append(pages, e.page)
		}
	}
	return pages
}

// Outcome takes in what came of an attempt and returns the page's new line in the ledger, to be published; nil when the
// page is not one that is under way.
func (l *Ledger) Outcome(o Outcome, now time.Time) *event.Page {
	e := l.find(o.Page)
	if e == nil || !e.sending {
		return nil
	}
	e.sending = false
	l.queues[e.page.Receiver].sending--
	p := *e.page
	p.Attempts++
	p.Updated, p.NextTry = now, time.Time{}
	p.Response = cut(o.Response, maxResponse)
	if o.Err != nil {
		p.Response = cut(o.Err.Error(), maxResponse)
	}
	wait := max(retryIn(p.Attempts), min(o.RetryAfter, time.Hour))
	switch {
	case o.Err == nil:
		p.Stage = event.PageSent
		p.Reason = event.Reason{Code: "sent", Causes: p.Reason.Causes}
	case o.Permanent:
		p.Stage = event.PageFailed
		p.Reason = event.Reason{Code: "refused", Text: p.Response, Causes: p.Reason.Causes}
	case now.Add(wait).Sub(p.Created) > l.policy.RetryFor:
		p.Stage = event.PageFailed
		p.Reason = event.Reason{Code: "gave-up", Text: "not delivered within " + l.policy.RetryFor.String() + ": " + p.Response, Causes: p.Reason.Causes}
	default:
		p.Stage, p.NextTry = event.PageRetrying, now.Add(wait)
	}
	e.page = &p
	l.known[p.ID] = now
	if settled(&p) {
		l.close(&p)
	}
	return &p
}

// Fallback returns the page that tells a person by the next way when the one of line, which Outcome returned, does not
// work; nil when there is no need or no other way. It is to be published, added, and the desk is to know of it.
func (l *Ledger) Fallback(line *event.Page, now time.Time) *event.Page {
	if line.Person == "" || line.Kind != event.PageFiring || line.Stage == event.PageSent || l.after == nil {
		return nil
	}
	if line.Stage == event.PageRetrying && now.Sub(line.Created) < l.policy.FallbackAfter {
		return nil
	}
	way := l.after(line.Receiver, line.Person)
	if way == "" {
		return nil
	}
	p := *line
	p.Receiver, p.Stage, p.Attempts, p.Response, p.PossibleDuplicate = way, event.PageIntent, 0, "", false
	p.ID = event.ComputeID("page", line.ID, way)
	p.DedupKey = DedupKey(p.Incident, whoOf(&p))
	p.Created, p.Updated, p.NextTry = now, now, time.Time{}
	p.Reason = event.Reason{Code: ReasonFallback, Text: line.Receiver + " does not work: " + line.Response, Causes: []string{line.ID}}
	if l.Known(p.ID) {
		return nil
	}
	return &p
}

// ReasonFallback: another way to the person did not work.
const ReasonFallback = "fallback"

// retryIn is the pause after so many attempts: from one second it doubles up to a minute.
func retryIn(attempts int) time.Duration {
	if attempts > 6 {
		return time.Minute
	}
	return min(time.Second<<(attempts-1), time.Minute)
}

func (l *Ledger) find(id string) *entry {
	for _, entries := range l.open {
		if entries[0].page.ID == id {
			return entries[0]
		}
	}
	return nil
}

// close takes a settled page out of its lane: the next one's turn has come.
func (l *Ledger) close(p *event.Page) {
	if rest := l.open[lane(p)][1:]; len(rest) > 0 {
		l.open[lane(p)] = rest
	} else {
		delete(l.open, lane(p))
	}
}

// Unsent counts the pages that are not settled.
func (l *Ledger) Unsent() int {
	n := 0
	for _, entries := range l.open {
		n += len(entries)
	}
	return n
}

// sweep forgets the identities of pages that were settled long ago.
func (l *Ledger) sweep(now time.Time) {
	if now.Sub(l.swept) < time.Hour {
		return
	}
	l.swept = now
	unsettled := map[string]bool{}
	for _, entries := range l.open {
		for _, e := range entries {
			unsettled[e.page.ID] = true
		}
	}
	for id, at := range l.known {
		if now.Sub(at) > rememberPages && !unsettled[id] {
			delete(l.known, id)
		}
	}
}
