package bus

import (
	"context"
	"fmt"
	"slices"
	"time"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/event"
)

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
// the same key is left alone: the old record would become the newest. What a group of AloneGroup could not handle goes to that
// group alone, by again.v1, whatever is newer.
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
	// listening says by group why what goes to it alone cannot be put back, "" when it can.
	listening map[string]string
}

func (b *Bus) settling(ctx context.Context, ids []int64, d Done) (*settling, error) {
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	s := &settling{bus: b, done: d, all: make([]Settled, 0, len(ids)), listening: map[string]string{}}
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
		case l.alone():
			r, why, err := s.redeliver(ctx, l)
			if err != nil {
				return err
			}
			if why != "" {
				s.why(l.ID, why)
				continue
			}
			records = append(records, r)
			ids[&records[len(records)-1]] = l.ID
		case newer[l.ID]:
			s.why(l.ID, "there is a newer record of this key by now, which it would replace: drop the letter")
		default:
			records = append(records, anywhere(l.Record, s.bus.topics[l.Topic]))
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

// anywhere is a record with a partition that its topic has: those of work are the broker's own, which may have more of them.
func anywhere(r driver.Record, t event.Topic) driver.Record {
	if t.Kind == event.Work {
		r.Partition %= t.Partitions
	}
	return r
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
		if b.topics[l.Topic].Kind != event.Latest || l.alone() || l.stuck(b.topics) != "" {
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
