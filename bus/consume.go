package bus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/pause"
)

// Message is one event as it was delivered.
type Message[T any] struct {
	// Event is nil when the key was removed. Of a topic that is Shared others in the process have the same one: it must not
	// be changed.
	Event *T
	// Key is the record's key; of a removed event it is all there is.
	Key       string
	Partition int
	Position  int64
	// Stored is when the broker stored it.
	Stored time.Time
	// Attempt counts the deliveries of a job from 1.
	Attempt int
}

// Removed reports whether the message takes its key out of a keep-latest topic.
func (m *Message[T]) Removed() bool { return m.Event == nil }

func message[T any, W event.Word[T]](b *Bus, d *driver.Delivery) (Message[T], error) {
	m := Message[T]{Key: d.Record.Key, Partition: d.Partition, Position: d.Position, Stored: d.Stored, Attempt: d.Attempt}
	if d.Record.Value == nil {
		return m, nil
	}
	var err error
	if m.Event, err = decodeOnce[T, W](b, d); err != nil {
		return m, fmt.Errorf("read %s/%d at %d: %w", d.Record.Topic, d.Partition, d.Position, err)
	}
	return m, nil
}

// Backoff between attempts: it doubles from the first to the last, with jitter of ±20 %.
const (
	backoffFirst = 100 * time.Millisecond
	backoffLast  = 10 * time.Second
)

func backoff(attempt int) time.Duration {
	d := backoffLast
	if attempt < 7 {
		d = min(backoffFirst<<attempt, backoffLast)
	}
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64()))
}

// subscribe opens a feed, trying until ctx ends: a broker that is away comes back.
func (b *Bus) subscribe(ctx context.Context, s driver.Subscription) (driver.Feed, error) {
	for attempt := 0; ; attempt++ {
		f, err := b.d.Subscribe(ctx, s)
		switch {
		case err == nil:
			return f, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(err, driver.ErrNoTopic), errors.Is(err, driver.ErrClosed):
			return nil, err
		}
		if held, due := b.retries.Says(about(err), time.Now()); due {
			b.scope.Log().Warn("subscribe again", "topic", s.Topic, "group", s.Group, "err", err, "held_back", held)
		}
		if !pause.For(ctx, backoff(attempt)) {
			return nil, ctx.Err()
		}
	}
}

// Work takes jobs of a topic, any of them, in no order, at most n at once, each acknowledged by itself when handle
// returns nil. An error gives the job back, to be taken again after a backoff; Permanent or the fifth failure puts it
// on dead.v1. A job stays with its worker, however long it takes, while that lives; then it goes to another.
func Work[T any, W event.Word[T]](ctx context.Context, b *Bus, topic event.Topic, group string, n int, handle func(context.Context, Message[T]) error) error {
	const maxAttempts = 5
	feed, err := b.subscribe(ctx, driver.Subscription{Topic: topic.Name, Group: group, Window: n})
	if err != nil {
		return ended(ctx, err)
	}
	defer feed.Close()

	delay := b.delay.WithLabelValues(topic.Name, group, "")
	slots := make(chan struct{}, n)
	defer func() { // Leave only when every job in hand is done: their contexts have ended.
		for range n {
			slots <- struct{}{}
		}
	}()
	one := func(d driver.Delivery) {
		defer func() { <-slots }()
		m, err := message[T, W](b, &d)
		if err != nil {
			err = Permanent(err)
		} else {
			delay.Set(time.Since(d.Stored).Seconds())
			err = handle(ctx, m)
		}
		switch {
		case err == nil:
			b.handled.WithLabelValues(topic.Name, group).Inc()
		case ctx.Err() != nil:
			return // Neither acknowledged nor given back: another takes it after redeliver.
		case IsPermanent(err) || d.Attempt >= maxAttempts:
			if b.buryUntil(ctx, &d, group, d.Attempt, err) != nil {
				return
			}
		default:
			b.retried.WithLabelValues(topic.Name, group).Inc()
			if err := feed.Nack(ctx, d, backoff(d.Attempt)); err != nil {
				b.scope.Log().Warn("give back", "topic", topic.Name, "err", err)
			}
			return
		}
		if err := feed.Ack(ctx, d); err != nil && ctx.Err() == nil {
			b.scope.Log().Warn("acknowledge", "topic", topic.Name, "err", err)
		}
	}
	for {
		batch, err := feed.Next(ctx)
		if err != nil {
			return ended(ctx, err)
		}
		for _, d := range batch {
			if d.Event != driver.Data {
				continue
			}
			select {
			case slots <- struct{}{}:
				go one(d)
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// ended turns the error of a feed into nil when it is only that ctx is over.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// From is where a replay begins.
type From = driver.Start

// Follow replays a topic and then goes on with what comes, for ever: handle is called in order per partition, by one
// goroutine; caughtUp (may be nil) once, when all that was stored at the start has been handed over. It disturbs no
// group. A record that cannot be decoded is skipped and counted in kemi_bus_unreadable_total: the group that owns it puts
// it on dead.v1. It follows the given partitions; none means all.
func Follow[T any, W event.Word[T]](ctx context.Context, b *Bus, from From, handle func(Message[T]) error, caughtUp func(), partitions ...int) error {
	topic := W(new(T)).Topic()
	return follow[T, W](ctx, b, driver.Subscription{Topic: topic.Name, Start: from, Partitions: partitions}, "", handle, on(caughtUp), func() {})
}

// FollowKey is Follow of one record key (see event.Finding.RecordKey), which is to stand in the events as well: a broker that
// can tell keys apart sends nothing else; of what another sends, that which does not have it anywhere is not even decoded.
// handle has to look whether the key stands where it is to be.
func FollowKey[T any, W event.Word[T]](ctx context.Context, b *Bus, from From, key string, handle func(Message[T]) error, caughtUp func(), partitions ...int) error {
	s := driver.Subscription{Topic: W(new(T)).Topic().Name, Start: from, Partitions: partitions, Keys: []string{key}}
	return follow[T, W](ctx, b, s, key, handle, on(caughtUp), func() {})
}

// on is caughtUp, which may be nil, of a reader that goes on.
func on(caughtUp func()) func() bool {
	return func() bool {
		if caughtUp != nil {
			caughtUp()
		}
		return true
	}
}

// mentions says whether a record has a text in it; of one that is packed it is not known.
func mentions(r *driver.Record, text string) bool {
	return r.Value == nil || r.Header(headerEncoding) != "" || bytes.Contains(r.Value, []byte(text))
}

// Mirror follows a keep-latest topic from its snapshot as Follow does, for whoever keeps a copy of it: lost is called when
// the topic was made again because its broker lost it, before what it has now is handed over. The copy begins anew then.
func Mirror[T any, W event.Word[T]](ctx context.Context, b *Bus, handle func(Message[T]) error, caughtUp, lost func()) error {
	s := driver.Subscription{Topic: W(new(T)).Topic().Name, Start: From{Snapshot: true}}
	return follow[T, W](ctx, b, s, "", handle, on(caughtUp), lost)
}

// Snapshot hands over the newest event per key of the given partitions (none means all) of a keep-latest topic, and
// returns when it has handed over everything that was stored when it began.
func Snapshot[T any, W event.Word[T]](ctx context.Context, b *Bus, handle func(Message[T]) error, partitions ...int) error {
	topic := W(new(T)).Topic()
	done := false
	err := follow[T, W](ctx, b, driver.Subscription{Topic: topic.Name, Start: From{Snapshot: true}, Partitions: partitions}, "", handle, func() bool {
		done = true
		return false
	}, func() {})
	if err == nil && !done {
		return ctx.Err()
	}
	return err
}

// follow feeds handle until ctx ends, handle errs or onCaughtUp says no. Records without the text are left out; "" is in
// all of them.
func follow[T any, W event.Word[T]](ctx context.Context, b *Bus, s driver.Subscription, text string, handle func(Message[T]) error, onCaughtUp func() bool, lost func()) error {
	feed, err := b.subscribe(ctx, s)
	if err != nil {
		return ended(ctx, err)
	}
	defer feed.Close()
	for {
		batch, err := feed.Next(ctx)
		if err != nil {
			return ended(ctx, err)
		}
		for i := range batch {
			switch batch[i].Event {
			case driver.CaughtUp:
				if !onCaughtUp() {
					return nil
				}
			case driver.Revoked:
				lost()
			case driver.Data:
				if text != "" && !mentions(&batch[i].Record, text) {
					continue
				}
				m, err := message[T, W](b, &batch[i])
				if err != nil {
					b.skipped.WithLabelValues(s.Topic).Inc()
					b.scope.Log().Warn("skip a record that cannot be read", "topic", s.Topic, "position", batch[i].Position, "err", err)
					continue
				}
				if err := handle(m); err != nil {
					return err
				}
			}
		}
	}
}

// about is what tells one trouble from another: what is to be done, where the driver knows that, whatever it is about.
func about(err error) string {
	var a driver.Advised
	if errors.As(err, &a) {
		return a.Advice()
	}
	return err.Error()
}
