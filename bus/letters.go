package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
func (b *Bus) Decode(l *Letter) (event.Event, error) { return b.readable(&l.Record) }

// Stuck says why a letter cannot be put back, "" when it can.
func (b *Bus) Stuck(l *Letter) string { return l.stuck(b.topics) }

// Settled is what became of one letter that was to be retried or dropped.
type Settled struct {
	ID    int64  `json:"id"`
	Topic string `json:"topic,omitempty"`
	Key   string `json:"key,omitempty"`
	// Why says why nothing was done, "" when it was.
	Why string `json:"why,omitempty"`
}

// At once, at most: how many letters share one note that they are done, and how many bytes are in hand.
const (
	settleAtOnce = 500
	settleBytes  = 4 << 20
)

// Retry puts the records of letters back where they were, with their own bytes, headers, key and partition, so that every
// group of the topic is handed them again; then it is written down that the letters are done. When it is broken off in
// between a letter may be put back twice, which does no harm. A letter of a keep-latest topic that has something newer of
// the same key is left alone: the old record would become the newest.
func (b *Bus) Retry(ctx context.Context, ids []int64, by, comment string) ([]Settled, error) {
	s, err := b.settling(ctx, ids, Done{How: Retried, By: by, Comment: comment, At: time.Now().UTC()})
	if err != nil || len(s.open) == 0 {
		return s.all, err
	}
	var batch []*Letter
	size, seen := 0, map[int64]bool{}
	flush := func() error {
		err := s.putBack(ctx, batch)
		batch, size = nil, 0
		return err
	}
	// Read a second time, for the records: all of them at once may be more than there is memory for.
	err = b.readStored(ctx, topicDead.Name, 0, From{Position: slices.Min(s.open)}, func(d *driver.Delivery) error {
		if _, found := slices.BinarySearch(s.open, d.Position); !found {
			return nil
		}
		l := parseLetter(d)
		batch, seen[l.ID] = append(batch, &l), true
		if size += len(l.Record.Value); len(batch) >= settleAtOnce || size >= settleBytes {
			if err := flush(); err != nil {
				return err
			}
		}
		if d.Position >= s.open[len(s.open)-1] {
			return errDone
		}
		return nil
	})
	if err == nil {
		err = flush()
	}
	if err != nil {
		return s.all, fmt.Errorf("put dead letters back: %w", err)
	}
	for _, id := range s.open {
		if !seen[id] {
			s.why(id, "there is no such letter any more")
		}
	}
	return s.all, nil
}

// Drop writes down that letters are done, and does nothing else.
func (b *Bus) Drop(ctx context.Context, ids []int64, by, comment string) ([]Settled, error) {
	s, err := b.settling(ctx, ids, Done{How: Dropped, By: by, Comment: comment, At: time.Now().UTC()})
	if err != nil {
		return s.all, err
	}
	for some := range slices.Chunk(s.open, settleAtOnce) {
		if err := s.write(ctx, some); err != nil {
			return s.all, fmt.Errorf("drop dead letters: %w", err)
		}
	}
	return s.all, nil
}

// settling is a retry or a drop under way.
type settling struct {
	bus  *Bus
	done Done
	all  []Settled // In the order of IDs.
	open []int64   // Those of them there is something to do about, ascending.
}

func (b *Bus) settling(ctx context.Context, ids []int64, d Done) (*settling, error) {
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	s := &settling{bus: b, done: d, all: make([]Settled, 0, len(ids))}
	if len(ids) == 0 {
		return s, nil
	}
	found, err := b.letters(ctx, From{Position: max(ids[0], 0)}, func(l *Letter) (bool, bool) {
		_, wanted := slices.BinarySearch(ids, l.ID)
		return wanted, false
	})
	if err != nil {
		return s, fmt.Errorf("look for dead letters: %w", err)
	}
	for _, id := range ids {
		one, l := Settled{ID: id}, found[id]
		switch {
		case l == nil:
			one.Why = "there is no such letter (any more)"
		case l.Done != nil:
			one.Why = "it was " + l.Done.How + " before, at " + l.Done.At.Format(time.RFC3339)
		default:
			s.open = append(s.open, id)
		}
		if l != nil {
			one.Topic, one.Key = l.Topic, l.Key
		}
		s.all = append(s.all, one)
	}
	return s, nil
}

// why notes that nothing was done about a letter.
func (s *settling) why(id int64, text string) {
	i, found := slices.BinarySearchFunc(s.all, id, func(one Settled, id int64) int { return int(max(-1, min(1, one.ID-id))) })
	if found {
		s.all[i].Why = text
	}
}

// putBack publishes the records of letters and writes down which.
func (s *settling) putBack(ctx context.Context, batch []*Letter) error {
	newer, err := s.bus.newer(ctx, batch)
	if err != nil {
		return err
	}
	records, ids := make([]driver.Record, 0, len(batch)), map[*driver.Record]int64{}
	for _, l := range batch {
		switch why := l.stuck(s.bus.topics); {
		case why != "":
			s.why(l.ID, why)
		case newer[l.ID]:
			s.why(l.ID, "there is a newer record of this key by now, which it would replace: drop the letter")
		default:
			records = append(records, l.Record)
			ids[&records[len(records)-1]] = l.ID
		}
	}
	if len(records) == 0 {
		return nil
	}
	err = s.bus.storeApart(ctx, records, nil, func(r *driver.Record, err error) error {
		s.why(ids[r], err.Error())
		delete(ids, r)
		return nil
	})
	if err != nil {
		return err
	}
	put := make([]int64, 0, len(ids))
	for i := range records {
		if id, ok := ids[&records[i]]; ok {
			put = append(put, id)
		}
	}
	return s.write(ctx, put)
}

// write says behind the letters, and in the log, that they are done.
func (s *settling) write(ctx context.Context, ids []int64) error {
	if len(ids) == 0 {
		return nil
	}
	r, err := (&done{Done: s.done, Letters: ids}).record()
	if err != nil {
		return err
	}
	if err := s.bus.store(ctx, []driver.Record{r}, nil); err != nil {
		return err
	}
	s.bus.scope.Log().Info("dead letters are done", "how", s.done.How, "by", s.done.By, "letters", len(ids), "first", ids[0], "last", ids[len(ids)-1], "comment", s.done.Comment)
	return nil
}

// newer says of which letters the keep-latest topic has something newer of the same key, or had it removed.
func (b *Bus) newer(ctx context.Context, batch []*Letter) (map[int64]bool, error) {
	type place struct {
		topic     string
		partition int
	}
	from, waiting := map[place]int64{}, map[place]map[string][]*Letter{}
	for _, l := range batch {
		at := place{l.Topic, l.Partition}
		if b.topics[l.Topic].Kind != event.Latest || l.stuck(b.topics) != "" {
			continue
		}
		if waiting[at] == nil {
			waiting[at], from[at] = map[string][]*Letter{}, l.Position
		}
		waiting[at][l.Key] = append(waiting[at][l.Key], l)
		from[at] = min(from[at], l.Position)
	}
	newer := map[int64]bool{}
	for at, keys := range waiting {
		err := b.readStored(ctx, at.topic, at.partition, From{Position: max(from[at], 0)}, func(d *driver.Delivery) error {
			for _, l := range keys[d.Record.Key] {
				if d.Position > l.Position {
					newer[l.ID] = true
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return newer, nil
}
