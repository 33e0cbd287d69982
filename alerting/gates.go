package alerting

import (
	"cmp"
	"strings"
	"sync"
	"time"

	"kemi.dev/kemi/bus/event"
)

// Gate is what the ledgers of one process share: how much people and receivers can take. It is safe for concurrent use.
type Gate interface {
	// Begin says whether an attempt to send a page may begin now; if so End is to follow.
	Begin(receiver, page string, now time.Time) bool
	// End tells what came of an attempt.
	End(receiver string, o Outcome, now time.Time)
	// Grant says whether a page may be told by itself, within what whoever it is for can take, and counts it.
	Grant(p *event.Page, now time.Time) bool
	// Count counts a page that was told anyway.
	Count(p *event.Page, at time.Time)
}

const (
	// breakAfter is how many different pages a receiver must fail in a row, none of any page taken in between, for its breaker
	// to open. Of pages that it refuses for good one counts for each incident: what it does not like may be in its text.
	breakAfter = 3
	// longestBreak bounds the time between the trials of an open breaker, and with it how much later a receiver that is
	// well again is told.
	longestBreak = 15 * time.Second
	// longestPause bounds the pause that a receiver may ask for.
	longestPause = time.Hour
)

// Gates are a breaker for each receiver, and for each person (or receiver, of what names no person) a count of the pages
// of late.
type Gates struct {
	policy Policy
	// limits of receivers that have one of their own.
	limits map[string]int
	// says is told when a breaker opens or closes; it may be nil.
	says func(receiver string, open bool, why string)

	mu       sync.Mutex
	breakers map[string]*breaker
	told     map[string]*tally // By person, or receiver with a slash before it.
}

// tally is the pages that somebody was told by of late, oldest first.
type tally struct {
	grants []grant
	pages  map[string]bool
}

// grant is a page that somebody was told by.
type grant struct {
	page string
	at   time.Time
}

// breaker follows whether a receiver works.
type breaker struct {
	failed map[string]bool // Different pages, and incidents whose pages were refused, since something was taken.
	open   bool
	trials int       // Since it opened.
	no     string    // What it said when it refused for good what it got last; empty when that failed otherwise.
	next   time.Time // No attempt before: of an open one, or because the receiver asked for it.
	trial  string    // The page that is on trial, since.
	since  time.Time
}

// NewGates makes gates that are all open.
func NewGates(policy Policy) *Gates {
	return &Gates{policy: policy, breakers: map[string]*breaker{}, told: map[string]*tally{}}
}

// Begin implements Gate.
func (g *Gates) Begin(receiver, page string, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	b := g.breakers[receiver]
	switch {
	case b == nil:
		return true
	case now.Before(b.next):
		return false
	case !b.open:
		return true
	case b.trial != "" && now.Sub(b.since) < g.policy.SendTimeout+2*grace: // What came of an older one is not known any more.
		return false
	}
	b.trial, b.since = page, now
	return true
}

// End implements Gate.
func (g *Gates) End(receiver string, o Outcome, now time.Time) {
	said, open, why := g.end(receiver, o, now)
	if said && g.says != nil {
		g.says(receiver, open, why)
	}
}

func (g *Gates) end(receiver string, o Outcome, now time.Time) (said, open bool, why string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	b := g.breakers[receiver]
	onTrial := b != nil && b.open && b.trial == o.Page
	if onTrial {
		b.trial = ""
	}
	switch {
	case o.Unsent, o.Personal:
		return false, false, ""
	case o.Err == nil:
		delete(g.breakers, receiver)
		return b != nil && b.open, false, ""
	}
	if b == nil {
		b = &breaker{failed: map[string]bool{}}
		g.breakers[receiver] = b
	}
	if b.no = ""; o.Permanent {
		b.no = cut(o.Err.Error(), maxResponse)
	}
	later := func(t time.Time) {
		if t.After(b.next) {
			b.next = t
		}
	}
	if o.RetryAfter > 0 {
		later(now.Add(min(o.RetryAfter, longestPause)))
	}
	if onTrial {
		b.trials++
		later(now.Add(min(retryIn(b.trials+1), longestBreak)))
	}
	if !b.open {
		failed := o.Page
		if o.Permanent { // It is not tried again, unless it opens the breaker.
			delete(b.failed, o.Page)
			failed = cmp.Or(o.Incident, o.Page)
		}
		b.failed[failed] = true
		if b.open = len(b.failed) >= breakAfter; b.open {
			b.failed = nil
			later(now.Add(retryIn(1)))
			return true, true, cut(o.Err.Error(), maxResponse)
		}
	}
	return false, false, ""
}

// Refuses says that a receiver's breaker is open because it refuses for good whatever it gets, and what it says: waiting does
// not help.
func (g *Gates) Refuses(receiver string) (why string, is bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	b := g.breakers[receiver]
	if b == nil || !b.open {
		return "", false
	}
	return b.no, b.no != ""
}

// Grant implements Gate. The last of what is allowed is kept for the summary of what is not.
func (g *Gates) Grant(p *event.Page, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	limit := g.limitOf(p)
	if limit == 0 {
		return true
	}
	if p.Kind == event.PageFiring && limit > 1 {
		limit--
	}
	if told := g.recent(p, now); len(told.grants) >= limit && !told.pages[p.ID] && !passes(p) {
		return false
	}
	g.count(p, now)
	return true
}

// Count implements Gate.
func (g *Gates) Count(p *event.Page, at time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.limitOf(p) > 0 {
		g.count(p, at)
	}
}

func (g *Gates) count(p *event.Page, at time.Time) {
	if told := g.recent(p, at); !told.pages[p.ID] {
		told.grants, told.pages[p.ID] = append(told.grants, grant{p.ID, at}), true
	}
}

// recent is what whoever a page is for was told of late. What was before is forgotten.
func (g *Gates) recent(p *event.Page, now time.Time) *tally {
	who := budgetOf(p)
	told := g.told[who]
	if told == nil {
		told = &tally{pages: map[string]bool{}}
		g.told[who] = told
	}
	for len(told.grants) > 0 && now.Sub(told.grants[0].at) >= g.policy.LimitWithin {
		delete(told.pages, told.grants[0].page)
		told.grants = told.grants[1:]
	}
	return told
}

func (g *Gates) limitOf(p *event.Page) int {
	if p.Person != "" {
		return g.policy.PersonLimit
	}
	if n, own := g.limits[p.Receiver]; own {
		return n
	}
	return g.policy.ReceiverLimit
}

// budgetOf is whose count a page is in: a person's, by whatever way, or a receiver's.
func budgetOf(p *event.Page) string {
	if p.Person != "" {
		return p.Person
	}
	return "/" + p.Receiver
}

// passes says whether a page is told however many there were: what is critical, what somebody gave to the person by hand,
// and what is only told by another way.
func passes(p *event.Page) bool {
	if p.Reason.Code == ReasonFallback || p.Reason.Code == ReasonAssigned {
		return true
	}
	if p.Snapshot == nil {
		return false
	}
	switch strings.ToLower(p.Snapshot.Severity) {
	case "critical", "crit", "emergency", "emerg", "alert", "page", "fatal", "disaster", "sev1", "p1":
		return true
	}
	return false
}
