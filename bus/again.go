package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/pause"
)

// Again is how far SayAgain has come.
type Again struct {
	// Records and Bytes that were stored again.
	Records int64 `json:"records"`
	Bytes   int64 `json:"bytes"`
	// Unreadable records were left out: they would be dead letters once more.
	Unreadable int64 `json:"unreadable,omitempty"`
	// Late jobs were left out: they are past their deadline, and were told as late before or never will be.
	Late int64 `json:"late,omitempty"`
	// At is when the last of them was stored first.
	At time.Time `json:"at,omitzero"`
}

// again reads a span, which ends now if it has no end. take stores what is to be said again of a batch and counts it; what
// could not be stored does not count. progress is told after every batch; it may be nil.
func (b *Bus) again(ctx context.Context, s Span, take func(batch []driver.Delivery, a *Again) error, progress func(Again)) (a Again, err error) {
	if s.To.IsZero() {
		s.To = time.Now()
	}
	err = b.read(ctx, s, func(batch []driver.Delivery) error {
		next := a
		if err := take(batch, &next); err != nil {
			return err
		}
		next.At = batch[len(batch)-1].Stored
		if a = next; progress != nil {
			progress(a)
		}
		return nil
	})
	if err == nil {
		err = ctx.Err()
	}
	return a, err
}

// mayAgain says why records of a topic may not be said again on another, or the same.
func mayAgain(from, into event.Topic) error {
	switch {
	case from.Word == topicState.Word || into.Word == topicState.Word:
		return fmt.Errorf("%s is what the groups know: it is never said again", topicState.Name)
	case from.Word == topicDead.Word || into.Word == topicDead.Word:
		return fmt.Errorf("letters of %s go back where they came from: kemi dead retry", topicDead.Name)
	case from.Word == topicAgain.Word || into.Word == topicAgain.Word:
		return fmt.Errorf("%s is for one group alone: kemi replay TOPIC --webhook NAME puts something there", topicAgain.Name)
	case from.Word != into.Word:
		return fmt.Errorf("%s carries %s, %s carries %s: records go to a topic of the same word only", from.Name, from.Word, into.Name, into.Word)
	case from.Kind == event.Latest:
		return fmt.Errorf("%s keeps the newest record of each key: said again, an old one would be the newest, and what is over would be there again. Read it with -o json", from.Name)
	}
	return nil
}

// MaySayAgain is nil when records of a topic may be said again on another, or the same.
func (b *Bus) MaySayAgain(topic, into string) error {
	from, err := b.Topic(topic)
	if err != nil {
		return err
	}
	to, err := b.Topic(into)
	if err != nil {
		return err
	}
	return mayAgain(from, to)
}

// SayAgain publishes the records of a span to a topic of the same word, which may be the same topic: with their own bytes,
// headers and key, in their order per partition. Their identities are what they were, so that whoever heard them before
// is not misled. A span without an end ends now. progress is told after every batch; it may be nil.
func (b *Bus) SayAgain(ctx context.Context, s Span, into string, progress func(Again)) (Again, error) {
	if err := b.MaySayAgain(s.Topic, into); err != nil {
		return Again{}, err
	}
	from, to := b.topics[s.Topic], b.topics[into]
	a, err := b.again(ctx, s, func(batch []driver.Delivery, a *Again) error {
		records := make([]driver.Record, 0, len(batch))
		for i := range batch {
			r := &batch[i].Record
			switch e, err := b.readable(r); {
			case err != nil:
				a.Unreadable++
			case isLate(e, time.Now()):
				a.Late++
			default:
				records = append(records, moved(r, from, to))
				a.Records++
				a.Bytes += int64(len(r.Value))
			}
		}
		return b.storePatiently(ctx, records)
	}, progress)
	if err != nil {
		return a, fmt.Errorf("say %s again: %w", s.Topic, err)
	}
	b.scope.Log().Info("said again", "topic", s.Topic, "into", into, "records", a.Records, "bytes", a.Bytes, "late", a.Late, "unreadable", a.Unreadable)
	return a, nil
}

// moved is a record in its new place. It has no ID: a broker that drops what has one would drop it.
func moved(r *driver.Record, from, to event.Topic) driver.Record {
	m := anywhere(original(*r), from)
	m.Topic, m.ID = to.Name, ""
	if from.Name != to.Name {
		route := r.Header(headerRoute)
		if route == "" {
			route = r.Key
		}
		m.Partition = Partition(route, to.Partitions)
	}
	return m
}

// isLate reports whether an event is a job that nobody would run any more.
func isLate(e event.Event, now time.Time) bool {
	j, ok := e.(*event.Job)
	return ok && !j.Deadline.IsZero() && !j.Deadline.After(now)
}

// storePatiently waits while the topic is full.
func (b *Bus) storePatiently(ctx context.Context, records []driver.Record) error {
	for attempt := 0; ; attempt++ {
		err := b.store(ctx, records, nil)
		if !errors.Is(err, driver.ErrFull) {
			return err
		}
		if !pause.For(ctx, backoff(attempt)) {
			return ctx.Err()
		}
	}
}
