package subscription

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kemi.dev/kemi/alerting/notify"
	"kemi.dev/kemi/alerting/notify/post"
	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/internal/obs"
	"kemi.dev/kemi/internal/pause"
)

// At once, at most: how many requests one endpoint gets from a process, and how many events a partition begins with. While some
// are not taken it gets more, so many with each round, up to four batches: that is more rounds than patience, so there are
// others to try the endpoint with for as long as it takes to see whose fault it is.
const (
	requests = 4
	batch    = 64
	more     = 16
)

// patience is how many answers of the kind "I broke on this" an event gets, such as 500, before it is its own fault; and how
// many of any other kind while the endpoint takes others in between, but then for as long as hold.
const (
	patience = 10
	hold     = 10 * time.Minute
)

// sender makes one attempt; see post.Client.
type sender interface {
	Send(ctx context.Context, r post.Request) (answer string, err error)
}

// endpoint is where the events of one subscription go.
type endpoint struct {
	name   string
	config Config
	client sender
	keys   func() keys
	scope  obs.Scope
	gate   gate
	slots  chan struct{}

	outcomes *prometheus.CounterVec
	took     atomic.Int64 // How many events were delivered.

	mu    sync.Mutex
	parts map[*partition]bool
}

// send makes one attempt.
func (e *endpoint) send(ctx context.Context, it *item) (answer string, err error) {
	headers := e.keys().headers(it.id, time.Now(), it.body)
	if it.again != "" {
		headers["kemi-again"] = it.again
	}
	return e.client.Send(ctx, post.Request{ContentType: "application/cloudevents+json", Body: it.body, Headers: headers})
}

// wants reports whether the subscription is for the event. That a thing is gone is told to every team: it says no more
// whose it was.
func (e *endpoint) wants(it *item) bool {
	return !it.canary && (it.team == nil || e.config.Team == "" || *it.team == e.config.Team)
}

// partition delivers what one partition of a topic has, in order per key. Deliver is called by one goroutine.
type partition struct {
	endpoint *endpoint
	// commit says that everything up to an event needs nothing more.
	commit     func(ctx context.Context, position int64, stored time.Time) error
	committing sync.Mutex
	ahead      ahead

	mu sync.Mutex
	// Of the events that the bus has handed over and not committed, by position: those that need nothing more, those that
	// are to be dead letters, and how those fared that were tried.
	done  map[int64]bool
	bad   map[int64]error
	tried map[int64]*trial
	last  int64 // The last position of all that was handed over.
	// items are those that deliver has in hand; settled is up to which position, and how many of them, nothing more is needed.
	items   []item
	settled int64
	first   int
	// open is whether some are in hand that may tell whether the endpoint works: it was not seen to take others in their place.
	open bool
	// oldest is when the oldest event in hand was stored that is not delivered; zero when there is none.
	oldest time.Time
}

// trial is how an event fared that was not taken.
type trial struct {
	tries   int
	since   time.Time // The first attempt.
	took    int64     // endpoint.took at the last attempt.
	against int       // Attempts that failed though the endpoint took others since the one before.
}

// suspect reports whether it may well be the event's own fault.
func (t *trial) suspect() bool { return t != nil && t.against >= patience }

// failed notes an attempt, and reports whether it is the event's own fault: it was not taken again and again for a while,
// and others were in between. When the endpoint took none since the attempt before, it may be down by now; that is not
// asked any more once there is nothing left to try it with.
func (t *trial) failed(now time.Time, took int64, open bool) bool {
	others := t.tries > 0 && took > t.took
	if t.tries++; t.tries == 1 {
		t.since = now
	}
	if t.took = took; others {
		t.against++
	}
	return t.suspect() && now.Sub(t.since) >= hold && (others || !open)
}

func (e *endpoint) partition(ctx context.Context, o *bus.Ownership) *partition {
	p := &partition{endpoint: e, commit: o.Commit, ahead: newAhead(o), done: map[int64]bool{}, bad: map[int64]error{}, tried: map[int64]*trial{}, last: -1, settled: -1}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.parts[p] = true
	context.AfterFunc(ctx, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.parts, p)
	})
	return p
}

// oldest is when the oldest event was stored that is in hand anywhere here; zero when there is none.
func (e *endpoint) oldest() (at time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for p := range e.parts {
		p.mu.Lock()
		if !p.oldest.IsZero() && (at.IsZero() || p.oldest.Before(at)) {
			at = p.oldest
		}
		p.mu.Unlock()
	}
	return at
}

// deliver returns nil when all are delivered, or not wanted. An error has them handed over again, with others that came; of a
// PermanentAt the one it names is left out then, and until then nothing that comes after it is delivered. What was delivered
// meanwhile is not delivered again.
func (p *partition) deliver(ctx context.Context, items []item) error {
	if len(items) == 0 {
		return nil
	}
	if err := p.refused(items); err != nil {
		return err
	}
	if err := p.ahead.load(ctx, &items[0]); err != nil {
		return err
	}
	fresh, again := p.lanes(items)
	p.settle(ctx)
	failed := p.drive(ctx, fresh)
	if ctx.Err() == nil && (failed == nil || !p.endpoint.gate.down()) {
		failed = cmp.Or(p.drive(ctx, again), failed)
	}
	p.look(items)
	p.remember(ctx, items)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := p.refused(items); err != nil {
		return err
	}
	return failed
}

// refused is the error that makes the first of them a dead letter that is to be one.
func (p *partition) refused(items []item) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range items {
		if at := items[i].position; p.bad[at] != nil {
			return bus.PermanentAt(at, p.bad[at])
		}
	}
	return nil
}

// lanes sorts what is to be delivered by key: those that were not tried yet, and those that were, the least tried first. The
// fresh ones go first, so that an event that always fails holds back its own key alone: were they side by side while the
// gate is closed, the one that passes might be that event each time.
func (p *partition) lanes(items []item) (fresh, again [][]*item) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if items[0].position > p.last {
		clear(p.done)
		clear(p.bad)
		clear(p.tried)
	}
	p.last = max(p.last, items[len(items)-1].position)
	p.items, p.first = items, 0
	var order []string
	byKey := map[string][]*item{}
	p.oldest = time.Time{}
	for i := range items {
		it := &items[i]
		if p.isDone(it.position) || p.bad[it.position] != nil {
			continue
		}
		if p.ahead.has(it) {
			p.done[it.position] = true
			continue
		}
		if !p.endpoint.wants(it) {
			p.done[it.position] = true
			p.endpoint.count(it, "left out")
			continue
		}
		if p.oldest.IsZero() {
			p.oldest = it.stored
		}
		key := it.topic + "\x00" + it.key
		if byKey[key] == nil {
			order = append(order, key)
		}
		byKey[key] = append(byKey[key], it)
	}
	p.open = false
	for _, key := range order {
		lane := byKey[key]
		t := p.tried[lane[0].position]
		if p.open = p.open || !t.suspect(); t == nil {
			fresh = append(fresh, lane)
		} else {
			again = append(again, lane)
		}
	}
	slices.SortStableFunc(again, func(a, b []*item) int { return cmp.Compare(p.tried[a[0].position].tries, p.tried[b[0].position].tries) })
	return fresh, again
}

// isDone reports whether an event needs nothing more. Under p.mu.
func (p *partition) isDone(position int64) bool { return position <= p.settled || p.done[position] }

// settle commits what needs nothing more, up to the first event that does: whoever comes after this process begins there,
// also when it dies long before all that it has in hand is taken.
func (p *partition) settle(ctx context.Context) {
	p.committing.Lock() // One after the other, in their order.
	defer p.committing.Unlock()
	p.mu.Lock()
	before := p.first
	for p.first < len(p.items) && p.isDone(p.items[p.first].position) {
		at := p.items[p.first].position
		p.settled = max(p.settled, at)
		delete(p.done, at)
		delete(p.tried, at)
		p.first++
	}
	n := p.first
	if n > before && n < len(p.items) {
		p.oldest = p.items[n].stored
	}
	p.mu.Unlock()
	if n == before {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishing)
	defer cancel()
	_ = p.commit(ctx, p.items[n-1].position, p.items[n-1].stored) // What deliver returns commits the rest, or another has the partition.
}

// look notes what is the oldest event that is left.
func (p *partition) look(items []item) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.oldest = time.Time{}
	for i := range items {
		if at := items[i].position; !p.isDone(at) && p.bad[at] == nil {
			p.oldest = items[i].stored
			return
		}
	}
}

// drive has lanes go side by side, until all are at their end or the endpoint seems to be down. It returns an error that
// one of them came upon.
func (p *partition) drive(ctx context.Context, lanes [][]*item) error {
	stop, halt := make(chan struct{}), sync.Once{}
	q := &queue{lanes: slices.Clone(lanes)}
	var mu sync.Mutex
	var failed error
	var working sync.WaitGroup
	for range min(requests, len(lanes)) {
		working.Go(func() {
			for lane := q.next(nil); len(lane) > 0; {
				err := p.follow(ctx, stop, lane[0])
				if err == nil {
					p.settle(ctx)
					lane = q.next(lane[1:])
					continue
				}
				mu.Lock()
				if failed == nil || errors.Is(failed, errStopped) {
					failed = err
				}
				mu.Unlock()
				if p.endpoint.gate.down() {
					halt.Do(func() { close(stop) })
				}
				lane = q.next(nil)
			}
		})
	}
	working.Wait()
	return failed
}

// queue is what waits in lanes, of which each is worked at by one.
type queue struct {
	mu    sync.Mutex
	lanes [][]*item
}

// next gives back what is left of a lane, and takes the lane that begins with the oldest event when the one given back has
// begun, else the first: so little is delivered before something older is, and it is no more than that which whoever comes
// after this process delivers again. It is empty when nothing waits.
func (q *queue) next(rest []*item) []*item {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(rest) > 0 {
		i := slices.IndexFunc(q.lanes, func(lane []*item) bool { return lane[0].position > rest[0].position })
		if i < 0 {
			i = len(q.lanes)
		}
		q.lanes = slices.Insert(q.lanes, i, rest)
	}
	if len(q.lanes) == 0 {
		return nil
	}
	lane := q.lanes[0]
	q.lanes = q.lanes[1:]
	return lane
}

// errStopped is what is left alone because the endpoint seems to be down.
var errStopped = errors.New("the endpoint did not work for other events")

// follow delivers one event, when there is room for it.
func (p *partition) follow(ctx context.Context, stop <-chan struct{}, it *item) error {
	e := p.endpoint
	select {
	case <-stop:
		return errStopped
	case <-ctx.Done():
		return ctx.Err()
	case e.slots <- struct{}{}:
	}
	defer func() { <-e.slots }()
	return p.attempt(ctx, stop, it)
}

// finishing is how long a request that is under way may take still when the process ends, or the partition goes to another.
const finishing = 2 * time.Second

// attempt tries one event once, and notes what came of it. What comes after one that is refused waits until that is on
// dead.v1: were it delivered before, and the partition another's then, the refused one might be taken after it.
func (p *partition) attempt(ctx context.Context, stop <-chan struct{}, it *item) error {
	e := p.endpoint
	turn, ok := e.gate.enter(ctx, stop)
	if !ok {
		return errStopped
	}
	if ctx.Err() != nil {
		e.gate.nothing(turn)
		return ctx.Err()
	}
	sending, over := pause.Linger(ctx, finishing)
	answer, err := e.send(sending, it)
	over()
	if err != nil && ctx.Err() != nil {
		e.gate.nothing(turn)
		return ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.tried[it.position]
	if t == nil {
		t = &trial{}
		p.tried[it.position] = t
	}
	switch age := time.Since(it.stored); {
	case err == nil:
		e.gate.worked(turn)
		e.took.Add(1)
		p.done[it.position] = true
		e.count(it, "delivered")
		return nil
	case notify.IsPermanent(err):
		e.gate.refused(turn)
		p.bad[it.position] = fmt.Errorf("deliver %s: %w", it.id, err)
		e.count(it, "refused")
		return p.bad[it.position]
	default:
		fault, longest := t.failed(time.Now(), e.took.Load(), p.open), longestWait
		if t.against > 0 {
			longest = suspectWait
		}
		e.gate.failed(turn, notify.RetryIn(err), longest)
		err = fmt.Errorf("deliver %s: %w", it.id, err)
		if age < e.config.GiveUpAfter && !fault && (t.tries < patience || !broke(answer)) {
			e.count(it, "failed")
			return err
		}
		p.bad[it.position] = fmt.Errorf("given up after %d attempts, %s after it was stored: %w", t.tries, age.Round(time.Second), err)
		e.count(it, "given up")
		return p.bad[it.position]
	}
}

// broke reports whether an answer says that the endpoint broke on the event, and not that it, or what is before it, is not
// there now.
func broke(answer string) bool {
	code, _, _ := strings.Cut(answer, " ")
	switch status, _ := strconv.Atoi(code); status { // What is no number is no status.
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout, http.StatusInsufficientStorage:
		return false
	default:
		return status/100 == 5
	}
}

func (e *endpoint) count(it *item, outcome string) {
	e.outcomes.WithLabelValues(e.name, it.topic, outcome).Inc()
}
