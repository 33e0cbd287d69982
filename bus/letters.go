package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/event"
)

// errDone ends a reading that needs no more.
var errDone = errors.New("done")

// readStored hands over what is stored on one partition of a topic from a start on, until everything was handed over
// that was there at the beginning.
func (b *Bus) readStored(ctx context.Context, topic string, partition int, from From, handle func(*driver.Delivery) error) error {
	feed, err := b.subscribe(ctx, driver.Subscription{Topic: topic, Start: from, Partitions: []int{partition}})
	if err != nil {
		return fmt.Errorf("read %s: %w", topic, err)
	}
	defer feed.Close()
	for {
		batch, err := feed.Next(ctx)
		if err != nil {
			return err
		}
		for i := range batch {
			switch batch[i].Event {
			case driver.CaughtUp:
				return nil
			case driver.Data:
				if err := handle(&batch[i]); errors.Is(err, errDone) {
					return nil
				} else if err != nil {
					return err
				}
			}
		}
	}
}

// letters reads dead.v1 from a start on; keep says of which letters the record is wanted.
func (b *Bus) letters(ctx context.Context, from From, want func(*Letter) (take, record bool)) (map[int64]*Letter, error) {
	found := map[int64]*Letter{}
	err := b.readStored(ctx, topicDead.Name, 0, from, func(d *driver.Delivery) error {
		if m, ok := parseDone(&d.Record); ok {
			for _, id := range m.Letters {
				if l := found[id]; l != nil && l.Done == nil {
					l.Done = &m.Done
				}
			}
			return nil
		}
		l := parseLetter(d)
		take, record := want(&l)
		if !record {
			l.Record = driver.Record{}
		}
		if take {
			found[l.ID] = &l
		}
		return nil
	})
	return found, err
}

// Letters lists the letters on dead.v1 that the filter chooses, newest first, at most limit (0 is all), and says how many
// there are.
func (b *Bus) Letters(ctx context.Context, f LetterFilter, limit int) (newest []Letter, total int, err error) {
	from := From{}
	if !f.Since.IsZero() { // A letter is stored after it was given up, if clocks agree.
		from.Time = f.Since.Add(-time.Minute)
	}
	found, err := b.letters(ctx, from, func(l *Letter) (bool, bool) { return f.match(l), false })
	if err != nil {
		return nil, 0, fmt.Errorf("list dead letters: %w", err)
	}
	all := make([]Letter, 0, len(found))
	for _, l := range found {
		if l.Done == nil || f.Done {
			all = append(all, *l)
		}
	}
	return newestFirst(all, limit), len(all), nil
}

// Letter returns one letter with its record; nil when dead.v1 has none of that ID.
func (b *Bus) Letter(ctx context.Context, id int64) (*Letter, error) {
	found, err := b.letters(ctx, From{Position: id}, func(l *Letter) (bool, bool) { return l.ID == id, true })
	if err != nil {
		return nil, fmt.Errorf("look for dead letter %d: %w", id, err)
	}
	return found[id], nil
}

// Decode makes the event of a letter's record, or says why there is none.
func (b *Bus) Decode(l *Letter) (event.Event, error) {
	if l.Foreign {
		return nil, errors.New("nobody says which word it is")
	}
	return b.readable(&l.Record)
}

// Stuck says why a letter cannot be put back, "" when it can.
func (b *Bus) Stuck(l *Letter) string { return l.stuck(b.topics) }
