package nats

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"

	"kemi.dev/kemi/bus/driver"
)

// A nats-server whose disk is full says nothing when it is to store something, and answers everything else. It goes on to
// be silent when there is room again, until it is restarted (seen with 2.15). In a cluster without a majority it is
// silent too.

// mute is that a server which answers has left something without an answer.
type mute struct{ since, last time.Time }

// silence turns a timeout into words when the server answers else; nil when it does not, or the error is another.
func (l *link) silence(err error) error {
	timeout := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, errUnanswered)
	if !timeout || errors.Is(err, nats.ErrNoResponders) || l.dialer == nil || !l.there() || !l.answers() {
		return nil
	}
	now := time.Now()
	m := mute{since: now, last: now}
	if before := l.muted.Load(); before != nil {
		m.since = before.since
	}
	l.muted.Store(&m)
	return &advice{err.Error() + ": " + l.mutely(), errors.Join(driver.ErrAway, err)}
}

// mutely says what a server that answers and does not store may have.
func (l *link) mutely() string {
	text := "the server answers and does not store: its disk may be full"
	if l.clustered {
		text += ", or its cluster has no majority"
	}
	return text + "; its log says why, and after a full disk it has to be restarted"
}

// stores notes that the server stored something.
func (l *link) stores() {
	if l.muted.Load() != nil {
		l.muted.Store(nil)
	}
}
