// Package notify is what a receiver of pages is. In: one page of the ledger at a time. Out: what the receiver answered,
// or an error that says whether trying again can help. It promises nothing about order or repetition: the ledger of
// package alerting does, and hands a page over again when it does not know whether it arrived. It never changes a page.
package notify

import (
	"context"
	"errors"
	"time"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/conf"
	"kemi.dev/kemi/internal/obs"
)

// Notifier delivers pages to one receiver. It is safe for concurrent use.
type Notifier interface {
	// Notify delivers the page and returns when the receiver took it, with what it answered. An error means that
	// the page is to be tried again, unless Permanent made it. It respects ctx.
	Notify(ctx context.Context, p *event.Page) (response string, err error)
	// Dedups says that the receiver folds a page that arrives twice: by the page's ID or by its deduplication key.
	Dedups() bool
}

// Endless reports whether a receiver is set not to be told that something is over: such pages are not to be handed to it. One
// that has such a setting says so by a method SendsResolved.
func Endless(n Notifier) bool {
	one, can := n.(interface{ SendsResolved() bool })
	return can && !one.SendsResolved()
}

// Env is what every receiver is made with.
type Env struct {
	Scope obs.Scope
	// ExternalURL is where people reach Kemi's console, without a slash at the end; empty when it is not known.
	ExternalURL string
	// Contact says how a person is reached; nil when there are no people.
	Contact func(person string) (Contact, bool)
	// AckURL makes the link with which whoever gets the page acknowledges its incident; nil, or an empty link, when there
	// is none to be had.
	AckURL func(p *event.Page) string
	// Dir is the folder of the configuration file: relative paths begin there.
	Dir string
}

// Contact is how a person is reached.
type Contact struct {
	// Name is for people; empty is the person's key.
	Name string
	// Mail and Phone are addresses, empty when there is none.
	Mail, Phone string
	// Handles are addresses by receiver, or by kind of receiver: a chat's user id, a pager's routing key.
	Handles map[string]conf.Secret
}

type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

// Permanent says that the receiver will never take this page.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return permanent{err}
}

// IsPermanent reports whether Permanent made err.
func IsPermanent(err error) bool {
	var p permanent
	return errors.As(err, &p)
}

type retryAfter struct {
	error
	after time.Duration
}

func (r retryAfter) Unwrap() error { return r.error }

// RetryAfter says that the receiver wants to be left alone for so long.
func RetryAfter(err error, after time.Duration) error {
	if err == nil || after <= 0 {
		return err
	}
	return retryAfter{err, after}
}

type marked struct {
	error
	arrival event.Arrival
}

func (m marked) Unwrap() error { return m.error }

// NotArrived says that the receiver certainly does not have the page: it said so, or no byte of the page was sent.
func NotArrived(err error) error {
	if err == nil {
		return nil
	}
	return marked{err, event.NotArrived}
}

// Unclear says that the receiver may have the page, also when the error is Permanent.
func Unclear(err error) error {
	if err == nil {
		return nil
	}
	return marked{err, event.ArrivalUnknown}
}

// ArrivalOf says what is known of whether a page arrived, by what Notify returned. What is refused for good has not, unless
// it is Unclear; of an error that says nothing nobody knows.
func ArrivalOf(err error) event.Arrival {
	var m marked
	switch {
	case err == nil:
		return event.Arrived
	case errors.As(err, &m):
		return m.arrival
	case IsPermanent(err):
		return event.NotArrived
	}
	return event.ArrivalUnknown
}

type personal struct{ error }

func (p personal) Unwrap() error { return p.error }

// Personal says that only the page's person cannot be reached by the receiver, which may well work for others: they have no
// address, or one that it does not know.
func Personal(err error) error {
	if err == nil {
		return nil
	}
	return personal{err}
}

// IsPersonal reports whether Personal made err.
func IsPersonal(err error) bool {
	var p personal
	return errors.As(err, &p)
}

// RetryIn returns what RetryAfter was given, or 0.
func RetryIn(err error) time.Duration {
	var r retryAfter
	if errors.As(err, &r) {
		return r.after
	}
	return 0
}
