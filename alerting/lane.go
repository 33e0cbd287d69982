package alerting

import (
	"cmp"
	"container/heap"
	"slices"
	"time"

	"kemi.dev/kemi/bus/event"
)

// entry is a page that is not settled; the event it points to is replaced, never changed.
type entry struct {
	page     *event.Page
	lane     *lane
	severity int // Of its incident, as severity orders them.
	sending  bool
	// tried says that it may have arrived: an attempt was made of which it is not known what came, or perhaps by a process
	// that is no more.
	tried bool
	gone  bool // It is settled.
}

// lane is the pages of one incident to one of whom is told, which must not overtake each other.
type lane struct {
	key     string
	queue   *queue
	entries []*entry // Those that are not settled, in their order.
	at      int      // Where it is in the queue; -1 when it is not.
	sent    int      // The newest round of which something arrived, from 1; 0 is none.
	reached bool     // Something of it arrived, or may have.
	missed  bool     // Something of it did not arrive, and will not.
	over    int      // Up to which round a resolved page was decided, from 1; 0 is none. What fires again is of a later one.
	round   int      // The newest in which somebody was called.
	piles   []*pile  // The summaries that its held pages are in.
	touched time.Time
}

// roundOf is in which round of its incident a page was decided, from 1.
func roundOf(p *event.Page) int {
	if p.Snapshot == nil {
		return 1
	}
	return p.Snapshot.Round + 1
}

// laneOf names where pages must not overtake each other.
func laneOf(p *event.Page) string { return p.Incident + "\x00" + whoOf(p) }

// queue is what waits for one receiver: the lanes whose first page is not under way, the one that is due first before the
// others. It is a heap.
type queue struct {
	receiver string
	lanes    []*lane
	sending  int
	refused  bool // The receiver refuses everything, as of the last review.
}

func (q *queue) Len() int { return len(q.lanes) }

func (q *queue) Less(i, j int) bool {
	return dueBefore(q.lanes[i].entries[0], q.lanes[j].entries[0]) < 0
}

// ready says whether one more page of the queue may be sent, as far as the queue knows.
func (q *queue) ready() bool { return len(q.lanes) > 0 && q.sending < perReceiver }

// inTurn orders queues by the pages that are next in them.
func inTurn(a, b *queue) int { return dueBefore(a.lanes[0].entries[0], b.lanes[0].entries[0]) }

func (q *queue) Swap(i, j int) {
	q.lanes[i], q.lanes[j] = q.lanes[j], q.lanes[i]
	q.lanes[i].at, q.lanes[j].at = i, j
}

// Push implements heap.Interface.
func (q *queue) Push(x any) {
	l, _ := x.(*lane)
	l.at = len(q.lanes)
	q.lanes = append(q.lanes, l)
}

// Pop implements heap.Interface.
func (q *queue) Pop() any {
	last := len(q.lanes) - 1
	l := q.lanes[last]
	q.lanes[last], l.at = nil, -1
	q.lanes = q.lanes[:last]
	return l
}

// kindRank orders the kinds of page: those of one instant are told in this order.
func kindRank(k event.PageKind) int {
	return slices.Index([]event.PageKind{event.PageFiring, event.PageSummary, event.PageUpdate, event.PageResolved}, k)
}

func inOrder(a, b *event.Page) int {
	return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(kindRank(a.Kind), kindRank(b.Kind)), cmp.Compare(a.ID, b.ID))
}

// dueBefore orders pages by when they are to be tried: of those that were not tried yet the oldest is first, and of one moment
// the most severe.
func dueBefore(a, b *entry) int {
	if by := cmp.Or(a.page.NextTry.Compare(b.page.NextTry), a.page.Created.Compare(b.page.Created), cmp.Compare(kindRank(a.page.Kind), kindRank(b.page.Kind))); by != 0 {
		return by
	}
	return cmp.Or(cmp.Compare(b.severity, a.severity), cmp.Compare(a.page.ID, b.page.ID))
}

// note takes in how far a lane has come.
func (l *lane) note(p *event.Page) {
	if p.Kind == event.PageResolved {
		l.over = max(l.over, roundOf(p))
	} else {
		l.round = max(l.round, roundOf(p))
	}
}

// settleIn puts a lane to where it belongs in its queue, or takes it out when nothing of it can be sent now.
func (l *lane) settleIn() {
	switch waits := len(l.entries) > 0 && !l.entries[0].sending; {
	case waits && l.at < 0:
		heap.Push(l.queue, l)
	case waits:
		heap.Fix(l.queue, l.at)
	case l.at >= 0:
		heap.Remove(l.queue, l.at)
	}
}

// alarm is when something has to be done about a page that is not settled, though nothing came of it.
type alarm struct {
	at    time.Time
	n     int // In the order in which they were set.
	entry *entry
}

// wake sets an alarm.
func (l *Ledger) wake(at time.Time, e *entry) {
	l.woken++
	heap.Push(&l.alarms, alarm{at, l.woken, e})
}

// alarms is a heap, the next one first; of one instant the one that was set first.
type alarms []alarm

func (a alarms) Len() int { return len(a) }

func (a alarms) Less(i, j int) bool {
	return cmp.Or(a[i].at.Compare(a[j].at), cmp.Compare(a[i].n, a[j].n)) < 0
}

func (a alarms) Swap(i, j int) { a[i], a[j] = a[j], a[i] }

// Push implements heap.Interface.
func (a *alarms) Push(x any) {
	one, _ := x.(alarm)
	*a = append(*a, one)
}

// Pop implements heap.Interface.
func (a *alarms) Pop() any {
	last := len(*a) - 1
	one := (*a)[last]
	(*a)[last] = alarm{}
	*a = (*a)[:last]
	return one
}
