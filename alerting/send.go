package alerting

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"kemi.dev/kemi/alerting/notify"
	"kemi.dev/kemi/bus/event"
)

// grace is how long attempts may still take when the room is told to stop, or when their partition has gone to another.
// It is also how long after its deadline an answer counts.
const grace = time.Second

// underWay counts the attempts of which the ledger does not say yet what came of them, by partition.
type underWay struct {
	mu       sync.Mutex
	attempts map[*partition]int
	stopping bool
	fewer    chan struct{} // Says that there may be none left.
	cut      chan struct{} // Closed when attempts are to end at once.
}

func newUnderWay() underWay {
	return underWay{attempts: map[*partition]int{}, fewer: make(chan struct{}, 1), cut: make(chan struct{})}
}

// begin counts attempts; it refuses them when the room is stopping or ctx, the partition's, has ended.
func (u *underWay) begin(ctx context.Context, p *partition, n int) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.stopping || ctx.Err() != nil {
		return false
	}
	u.attempts[p] += n
	return true
}

// end takes back attempts whose outcome is stored, or will never be.
func (u *underWay) end(p *partition, n int) {
	u.mu.Lock()
	if u.attempts[p] -= n; u.attempts[p] <= 0 {
		delete(u.attempts, p)
	}
	u.mu.Unlock()
	u.nudge()
}

// forget takes a partition out that has gone: nothing can be stored of it any more.
func (u *underWay) forget(p *partition) {
	u.mu.Lock()
	delete(u.attempts, p)
	u.mu.Unlock()
	u.nudge()
}

func (u *underWay) nudge() {
	select {
	case u.fewer <- struct{}{}:
	default:
	}
}

// drain lets no attempt begin and waits for those under way, but not for long: then they are cut.
func (u *underWay) drain() {
	patience := time.NewTimer(grace)
	defer patience.Stop()
	defer close(u.cut)
	for {
		u.mu.Lock()
		u.stopping = true
		left := len(u.attempts)
		u.mu.Unlock()
		if left == 0 {
			return
		}
		select {
		case <-u.fewer:
		case <-patience.C:
			return
		}
	}
}

// send makes one attempt to deliver a page, without holding anybody up, and puts the outcome into the post. Nothing is
// sent unless the partition is certainly ours at that moment: a process that was stopped and comes back finds that another
// has it. A receiver that does not heed its deadline is left behind: the page is tried again all the same. The end of ctx
// does not take a page out of a receiver's hands before the grace is over.
func (r *Room) send(ctx context.Context, p *partition, page *event.Page) {
	receiver := r.receiver(page.Receiver)
	attempt, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.policy.SendTimeout)
	done := make(chan Outcome, 1)
	go func() {
		if err := p.own.Held(attempt); err != nil {
			done <- Outcome{Page: page.ID, Err: fmt.Errorf("make sure that the page is ours to send: %w", err), Unsent: true}
			return
		}
		response, err := notifySafely(attempt, receiver, page)
		done <- Outcome{Page: page.ID, Response: response, Err: err, Permanent: notify.IsPermanent(err), RetryAfter: notify.RetryIn(err), Arrival: notify.ArrivalOf(err), Personal: notify.IsPersonal(err)}
	}()
	r.sends.Add(1)
	go func() {
		defer r.sends.Done()
		defer cancel()
		o, heard := r.await(ctx, page, done)
		if !heard || ctx.Err() != nil {
			r.underWay.end(p, 1)
			r.scope.Log().Info("page tried, whoever owns it next tries again", "receiver", page.Receiver, "page", page.ID, "answered", heard, "err", o.Err)
			return
		}
		level := r.scope.Log().Debug
		if o.Err != nil {
			level = r.scope.Log().Warn
		}
		level("page tried", "receiver", page.Receiver, "page", page.ID, "kind", page.Kind, "attempt", page.Attempts+1, "err", o.Err)
		p.post.mu.Lock()
		p.post.outcomes = append(p.post.outcomes, o)
		p.post.mu.Unlock()
		p.own.Wake()
	}()
}

// await waits for what comes of an attempt; false means that nobody waits any longer.
func (r *Room) await(ctx context.Context, page *event.Page, done <-chan Outcome) (o Outcome, heard bool) {
	patience := time.NewTimer(r.policy.SendTimeout + grace)
	defer patience.Stop()
	gone := ctx.Done()
	for {
		select {
		case o = <-done:
			return o, true
		case <-patience.C:
			return Outcome{Page: page.ID, Err: fmt.Errorf("no answer within %s", r.policy.SendTimeout)}, gone != nil
		case <-r.underWay.cut:
			return o, false
		case <-gone:
			gone = nil
			patience.Reset(grace)
		}
	}
}

var errPanic = errors.New("the receiver's code gave up")

// notifySafely turns a panic in a receiver into an error: one bad receiver does not silence the others.
func notifySafely(ctx context.Context, n notify.Notifier, page *event.Page) (response string, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: %v", errPanic, v)
		}
	}()
	copied := *page
	return n.Notify(ctx, &copied)
}
