package alerting

import (
	"slices"
	"time"

	"kemi.dev/kemi/bus/event"
)

// chain is the pages by which one person is told of one thing, by one way after the other. Once one of them is taken the
// others end: who is reached is not called again for it.
type chain struct {
	pages []string // IDs.
	// reached is the way that a page was taken by; empty is none yet.
	reached string
}

// chain notes that a page goes by another way because an earlier one did not work. That one is the first of its causes, also
// when it was stored as sent.
func (l *Ledger) chain(p *event.Page) {
	if p.Person == "" || !wakes(p) || len(p.Reason.Causes) == 0 {
		return
	}
	before := p.Reason.Causes[0]
	if before == p.ID || !l.Known(before) {
		return // Causes of other pages are findings and alerts.
	}
	c := l.chains[before]
	if c == nil {
		c = &chain{pages: []string{before}}
		l.chains[before] = c
	}
	later := []string{p.ID}
	if own := l.chains[p.ID]; own != nil { // What went on from it was read first.
		later = own.pages
	}
	for _, id := range later {
		if !slices.Contains(c.pages, id) {
			c.pages = append(c.pages, id)
		}
		l.chains[id] = c
	}
}

// reached notes that a page was taken.
func (l *Ledger) reached(p *event.Page) {
	if c := l.chains[p.ID]; c != nil && c.reached == "" {
		c.reached = p.Receiver
		l.ends = append(l.ends, c)
	}
}

// endReached holds what else is pending to people who were reached. What is under way at that moment ends when it fails.
func (l *Ledger) endReached(now time.Time) {
	l.ends = slices.DeleteFunc(l.ends, func(c *chain) bool {
		under := false
		for _, id := range c.pages {
			e := l.pages[id]
			switch {
			case e == nil:
			case e.sending:
				under = true
			default:
				at := e.lane
				l.hold(e, event.Reason{Code: ReasonReached, Text: "reached by " + c.reached}, now)
				l.tidy(at, now)
			}
		}
		return !under
	})
}

// refused has people told by their next way at once when a receiver begins to refuse whatever it gets.
func (l *Ledger) refused(now time.Time) {
	var begun []*queue
	for _, q := range l.queues {
		_, is := l.refuses(q.receiver)
		if is == q.refused {
			continue
		}
		if q.refused = is; is && l.after != nil {
			begun = append(begun, q)
		}
	}
	if len(begun) == 0 {
		return
	}
	var waiting []*entry
	for _, e := range l.pages {
		if slices.Contains(begun, e.lane.queue) && e.page.Person != "" && wakes(e.page) {
			waiting = append(waiting, e)
		}
	}
	slices.SortFunc(waiting, func(a, b *entry) int { return inOrder(a.page, b.page) })
	for _, e := range waiting {
		l.wake(now, e)
	}
}

// mayHave says whether whoever a settled page was for may have it. Before there was Arrival, attempts counted.
func mayHave(p *event.Page) bool {
	switch {
	case p.Stage == event.PageSent, p.Reason.Code == ReasonOverUnknown:
		return true
	case p.Arrival != "":
		return p.Arrival != event.NotArrived
	}
	return p.Stage == event.PageFailed || p.Attempts > 0
}
