package alerting

import (
	"context"
	"errors"
	"fmt"
	"time"

	"kemi.dev/kemi/alerting/notify"
	"kemi.dev/kemi/bus/event"
)

// send makes one attempt to deliver a page, without holding anybody up, and puts the outcome into the post. A receiver
// that does not heed its deadline is left behind: the page is tried again all the same.
func (r *Room) send(ctx context.Context, p *partition, page *event.Page) {
	receiver := r.receiver(page.Receiver)
	attempt, cancel := context.WithTimeout(ctx, r.policy.SendTimeout)
	done := make(chan Outcome, 1)
	go func() {
		defer cancel()
		response, err := notifySafely(attempt, receiver, page)
		done <- Outcome{Page: page.ID, Response: response, Err: err, Permanent: notify.IsPermanent(err), RetryAfter: notify.RetryIn(err)}
	}()
	r.sends.Add(1)
	go func() {
		defer r.sends.Done()
		var o Outcome
		select {
		case o = <-done:
		case <-attempt.Done():
			grace := time.NewTimer(time.Second) // The answer may be a moment away.
			defer grace.Stop()
			select {
			case o = <-done:
			case <-grace.C:
				o = Outcome{Page: page.ID, Err: fmt.Errorf("no answer within %s", r.policy.SendTimeout)}
			}
		}
		if ctx.Err() != nil && o.Err != nil {
			return // The partition is gone or going: whoever owns it next tries again.
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
