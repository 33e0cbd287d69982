package alerting

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"kemi.dev/kemi/bus/event"
)

// gatherFor is how long after the first page that is held because there are too many a summary of them may be sent: it
// can say more then.
const gatherFor = time.Minute

// pile is the pages to one of whom is told that are held because there are too many, and that one summary stands for. Its
// ID is known before the summary is, and stands in every page of it: so each is in exactly one, whatever is stored when.
type pile struct {
	id    string
	who   string
	first time.Time // When the first of them was held.
	items []*item   // In the order in which they were held, one for each lane.
	lanes map[string]*item
	open  int // Those that are not over.
	// summary is the page that stands for them, once it is decided; nil before.
	summary *event.Page
	ways    []string // Who was told by it: the next way, too, when the first does not work.
	ended   bool     // That all of it is over was said, or need not be.
}

// item is what a summary says of one incident.
type item struct {
	page *event.Page
	over bool
}

// piles are those that are not ended.
type piles struct {
	byID   map[string]*pile
	unsaid map[string]*pile // By who, and domain.
	done   []*pile          // Everything in them is over, and nobody was told.
}

func newPiles() piles { return piles{byID: map[string]*pile{}, unsaid: map[string]*pile{}} }

func pileOf(p *event.Page) string { return whoOf(p) + "\x00" + p.Domain }

// add puts a page into a pile that is not said yet, or into one that was restored.
func (s *pile) add(at *lane, p *event.Page) {
	if s.who == "" {
		s.who, s.first = whoOf(p), p.Updated
	}
	if i := s.lanes[at.key]; i != nil { // Somebody was to be called for it again.
		if i.over {
			i.page, i.over = p, false // It was over, and fires again.
			s.open++
		}
		return
	}
	at.piles = append(at.piles, s)
	i := &item{page: p}
	s.items, s.lanes[at.key] = append(s.items, i), i
	s.open++
}

// over takes in that a lane is over.
func (all *piles) over(at *lane) {
	for _, s := range at.piles {
		i := s.lanes[at.key]
		if i.over {
			continue
		}
		i.over = true
		if s.open--; s.open == 0 && s.summary != nil && !s.ended {
			all.done = append(all.done, s)
		}
	}
	at.piles = slices.DeleteFunc(at.piles, func(s *pile) bool { return s.ended })
}

// again takes in that what a lane is about was over, and fires again: so do the summaries that it is in.
func (all *piles) again(at *lane) {
	for _, s := range at.piles {
		if i := s.lanes[at.key]; i.over && !s.ended {
			i.over = false
			s.open++
			all.done = slices.DeleteFunc(all.done, func(other *pile) bool { return other == s })
		}
	}
}

// way takes in who is told by a summary.
func (all *piles) way(p *event.Page) {
	if s := all.byID[p.Summary]; s != nil && p.Kind == event.PageSummary && !slices.Contains(s.ways, whoOf(p)) {
		s.ways = append(s.ways, whoOf(p))
	}
}

// restore takes in a stored page.
func (all *piles) restore(p *event.Page, at *lane) {
	if p.Summary == "" {
		return
	}
	s := all.byID[p.Summary]
	if s == nil {
		s = &pile{id: p.Summary, lanes: map[string]*item{}}
		all.byID[p.Summary] = s
	}
	switch {
	case p.Several() && p.Kind == event.PageSummary:
		if s.summary == nil || p.ID == s.id {
			s.summary = p
		}
		s.ended = s.ended || p.ID == s.id && p.Reason.Code == ReasonOver || p.Stage == event.PageHeld && p.Reason.Code == ReasonOverUnsent
		all.way(p)
	case p.Several():
		s.ended = true
	case p.Kind == event.PageFiring:
		s.add(at, p)
	}
}

// restored comes after everything was.
func (all *piles) restored() {
	for _, id := range slices.Sorted(maps.Keys(all.byID)) {
		switch s := all.byID[id]; {
		case s.ended || len(s.items) == 0 && s.summary == nil:
			delete(all.byID, id)
		case s.summary == nil:
			all.unsaid[pileOf(s.items[0].page)] = s
		case s.open == 0 && !slices.Contains(all.done, s):
			all.done = append(all.done, s) // Those of long ago are not read any more.
		}
	}
}

// granted says whether a page that is due is told by itself.
func (l *Ledger) granted(e *entry, now time.Time) bool {
	p := e.page
	switch {
	case p.Kind != event.PageFiring || p.Attempts > 0:
		return true
	case e.tried:
		l.gate.Count(p, now)
		return true
	case l.piles.unsaid[pileOf(p)] != nil && !passes(p):
		return false // Those before it wait, too.
	}
	return l.gate.Grant(p, now)
}

// limit holds a page that is one too many: a summary stands for it.
func (l *Ledger) limit(e *entry, now time.Time) {
	key := pileOf(e.page)
	s := l.piles.unsaid[key]
	if s == nil {
		s = &pile{id: event.ComputeID("summary", key, e.page.ID), lanes: map[string]*item{}}
		l.piles.unsaid[key], l.piles.byID[s.id] = s, s
	}
	p := *e.page
	p.Summary, p.Updated = s.id, now
	e.page = &p
	at := e.lane
	s.add(at, &p)
	who := cmp.Or(p.Person, p.Receiver)
	l.hold(e, event.Reason{Code: ReasonRateLimited, Text: who + " was told of too much within " + l.policy.LimitWithin.String() + ": a summary says it"}, now)
	l.tidy(at, now)
}

// summarise decides the summaries that are due, and says of those that were said that everything in them is over.
func (l *Ledger) summarise(now time.Time) {
	for _, key := range slices.Sorted(maps.Keys(l.piles.unsaid)) {
		s := l.piles.unsaid[key]
		waited := now.Sub(s.first)
		if waited < min(gatherFor, l.policy.LimitWithin) {
			continue
		}
		p := s.tell(l.policy.LimitWithin, now)
		switch {
		case s.open == 0 && p.Person != "":
			p.Stage, p.Reason = event.PageHeld, event.Reason{Code: ReasonOverUnsent, Text: "everything in it was over before it could be sent"}
		case waited >= l.policy.LimitWithin:
			l.gate.Count(p, now)
		case !l.gate.Grant(p, now):
			continue
		}
		s.summary, s.ended = p, s.open == 0
		delete(l.piles.unsaid, key)
		if s.ended {
			delete(l.piles.byID, s.id)
		}
		if p.Stage == event.PageHeld {
			l.known[p.ID] = now
			l.lines = append(l.lines, p)
		} else {
			l.Take(p, now)
		}
	}
	done := l.piles.done
	l.piles.done = nil
	for _, s := range done {
		if s.ended {
			continue
		}
		s.ended = true
		delete(l.piles.byID, s.id)
		for _, who := range s.ways {
			l.Take(s.end(who, now), now)
		}
	}
}
