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
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kemi.dev/kemi/alerting/notify"
	"kemi.dev/kemi/alerting/notify/post"
	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/internal/obs"
)

// At once, at most: how many requests one endpoint gets from a process, and how many events a partition has in hand.
const (
	requests = 4
	batch    = 64
)

// patience is how many answers of the kind "I broke on this" an event gets, such as 500, before it is its own fault.
const patience = 10

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

	mu sync.Mutex
	// Of the events that the bus has handed over and not committed, by position: those that need nothing more, those that
	// are to be refused when they are handed over by themselves, and how often they were tried.
	done  map[int64]bool
	bad   map[int64]error
	tries map[int64]int
	last  int64 // The last position of all that was handed over.
	// oldest is when the oldest event in hand was stored that is not delivered; zero when there is none.
	oldest time.Time
}

func (e *endpoint) partition(ctx context.Context) *partition {
	p := &partition{endpoint: e, done: map[int64]bool{}, bad: map[int64]error{}, tries: map[int64]int{}, last: -1}
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

// deliver returns nil when all are delivered, or not wanted. An error has them handed over again, a Permanent one by
// themselves; what was delivered meanwhile is not delivered again.
func (p *partition) deliver(ctx context.Context, items []item) error {
	if len(items) == 0 {
		return nil
	}
	lanes := p.lanes(items)
	var failed error
	if len(lanes) > 0 {
		failed = p.drive(ctx, lanes)
	}
	p.look(items)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range items {
		if err := p.bad[items[i].position]; err != nil {
			return bus.Permanent(err)
		}
	}
	return failed
}

// lanes sorts what is to be delivered by key: those that were tried least come first, so that an event that always fails holds
// back its own key alone.
func (p *partition) lanes(items []item) [][]*item {
	p.mu.Lock()
	defer p.mu.Unlock()
	if items[0].position > p.last {
		clear(p.done)
		clear(p.bad)
		clear(p.tries)
	}
	p.last = max(p.last, items[len(items)-1].position)
	var order []string
	byKey := map[string][]*item{}
	p.oldest = time.Time{}
	for i := range items {
		it := &items[i]
		if p.done[it.position] || p.bad[it.position] != nil {
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
	all := make([][]*item, 0, len(order))
	for _, key := range order {
		all = append(all, byKey[key])
	}
	slices.SortStableFunc(all, func(a, b []*item) int { return cmp.Compare(p.tries[a[0].position], p.tries[b[0].position]) })
	return all
}

// look notes what is the oldest event that is left.
func (p *partition) look(items []item) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.oldest = time.Time{}
	for i := range items {
		if at := items[i].position; !p.done[at] && p.bad[at] == nil {
			p.oldest = items[i].stored
			return
		}
	}
}

// drive has lanes go side by side, until all are at their end or the endpoint seems to be down. It returns an error that
// one of them came upon.
func (p *partition) drive(ctx context.Context, lanes [][]*item) error {
	stop, halt := make(chan struct{}), sync.Once{}
	var mu sync.Mutex
	var failed error
	next := make(chan []*item, len(lanes))
	for _, lane := range lanes {
		next <- lane
	}
	close(next)
	var working sync.WaitGroup
	for range min(requests, len(lanes)) {
		working.Go(func() {
			for lane := range next {
				err := p.follow(ctx, stop, lane)
				if err == nil {
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
			}
		})
	}
	working.Wait()
	return failed
}

// errStopped is what is left alone because the endpoint seems to be down.
var errStopped = errors.New("the endpoint did not work for other events")

// follow delivers one key's events until one fails.
func (p *partition) follow(ctx context.Context, stop <-chan struct{}, lane []*item) error {
	e := p.endpoint
	for _, it := range lane {
		select {
		case <-stop:
			return errStopped
		case <-ctx.Done():
			return ctx.Err()
		case e.slots <- struct{}{}:
		}
		err := p.attempt(ctx, stop, it)
		<-e.slots
		if err != nil {
			return err
		}
	}
	return nil
}

// attempt tries one event once, and notes what came of it. What comes after one that is refused waits until that is on
// dead.v1: were it delivered before, and the partition another's then, the refused one might be taken after it.
func (p *partition) attempt(ctx context.Context, stop <-chan struct{}, it *item) error {
	e := p.endpoint
	turn, ok := e.gate.enter(ctx, stop)
	if !ok {
		return errStopped
	}
	answer, err := e.send(ctx, it)
	if err != nil && ctx.Err() != nil {
		e.gate.nothing(turn)
		return ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tries[it.position]++
	tries := p.tries[it.position]
	switch age := time.Since(it.stored); {
	case err == nil:
		e.gate.worked(turn)
		p.done[it.position] = true
		e.count(it, "delivered")
		return nil
	case notify.IsPermanent(err):
		e.gate.refused(turn)
		p.bad[it.position] = fmt.Errorf("deliver %s: %w", it.id, err)
		e.count(it, "refused")
		return p.bad[it.position]
	default:
		e.gate.failed(turn, notify.RetryIn(err))
		err = fmt.Errorf("deliver %s: %w", it.id, err)
		if age < e.config.GiveUpAfter && (tries < patience || !broke(answer)) {
			e.count(it, "failed")
			return err
		}
		p.bad[it.position] = fmt.Errorf("given up after %d attempts, %s after it was stored: %w", tries, age.Round(time.Second), err)
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
