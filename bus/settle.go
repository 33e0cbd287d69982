package bus

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
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
	// Of is the letter whose record was put back, of another letter of the same record: nothing more was put back for it.
	Of *int64 `json:"of,omitempty"`
	// Why says why nothing was done, "" when it was.
	Why string `json:"why,omitempty"`
}

// At once, at most: how many letters share one note that they are done, and how many bytes are in hand.
const (
	settleAtOnce = 500
	settleBytes  = 4 << 20
)

// Retry puts the records of letters back where they were, with their own bytes, headers, key and partition, so that every
// group of the topic is handed them again; then it is written down that the letters are done. A record is put back once
// however many groups gave it up: its other letters are done with it, also those that are not among ids. When it is broken off in
// between a letter may be put back twice, which does no harm. A letter of a keep-latest topic that has something newer of
// the same key is left alone: the old record would become the newest. What a group of AloneGroup could not handle goes to that
// group alone, by again.v1, whatever is newer.
func (b *Bus) Retry(ctx context.Context, ids []int64, by, comment string) ([]Settled, error) {
	s, err := b.settling(ctx, ids, Done{How: Retried, By: by, Comment: comment, At: time.Now().UTC()}, true)
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
		if seen[l.ID] = true; s.put[s.of[l.ID]] {
			return nil
		}
		batch = append(batch, &l)
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
	s, err := b.settling(ctx, ids, Done{How: Dropped, By: by, Comment: comment, At: time.Now().UTC()}, false)
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
	// of says which record a letter is about, same which open letters are about a record, and put which records are back.
	of   map[int64]origin
	same map[origin][]int64
	put  map[origin]bool
	// listening says by group why what goes to it alone cannot be put back, "" when it can.
	listening map[string]string
}

func (b *Bus) settling(ctx context.Context, ids []int64, d Done, whole bool) (*settling, error) {
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	s := &settling{
		bus: b, done: d, all: make([]Settled, 0, len(ids)), listening: map[string]string{},
		of: map[int64]origin{}, same: map[origin][]int64{}, put: map[origin]bool{},
	}
	if len(ids) == 0 {
		return s, nil
	}
	from, seed := From{Position: max(ids[0], 0)}, maphash.MakeSeed()
	if whole { // Others of the same record may be older.
		from = From{}
	}
	found, err := b.letters(ctx, from, func(l *Letter) (bool, bool) {
		_, wanted := slices.BinarySearch(ids, l.ID)
		if whole {
			s.of[l.ID] = l.origin(seed)
		}
		return wanted || whole, false
	})
	if err != nil {
		return s, fmt.Errorf("look for dead letters: %w", err)
	}
	if whole {
		ids = s.withOthers(ids, found)
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

// withOthers adds to the letters that are to be retried the others that are about the same records and not done.
func (s *settling) withOthers(ids []int64, found map[int64]*Letter) []int64 {
	wanted := map[origin]bool{}
	for _, id := range ids {
		if l := found[id]; l != nil && l.Done == nil {
			wanted[s.of[id]] = true
		}
	}
	for id, l := range found {
		if of := s.of[id]; l.Done == nil && wanted[of] {
			s.same[of] = append(s.same[of], id)
			ids = append(ids, id)
		}
	}
	for _, all := range s.same {
		slices.Sort(all)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// settled finds what is said of a letter.
func (s *settling) settled(id int64) *Settled {
	i, found := slices.BinarySearchFunc(s.all, id, func(one Settled, id int64) int { return int(max(-1, min(1, one.ID-id))) })
	if !found {
		return &Settled{}
	}
	return &s.all[i]
}

// why notes that nothing was done about a letter.
func (s *settling) why(id int64, text string) { s.settled(id).Why = text }

// putBack publishes the records of letters, each once, and writes down which.
func (s *settling) putBack(ctx context.Context, batch []*Letter) error {
	newer, err := s.bus.newer(ctx, batch)
	if err != nil {
		return err
	}
	records, ids := make([]driver.Record, 0, len(batch)), map[int]int64{}
	for _, l := range batch {
		if s.put[s.of[l.ID]] {
			continue
		}
		var r driver.Record
		why := l.stuck(s.bus.topics)
		switch {
		case why != "":
		case l.alone():
			if r, why, err = s.redeliver(ctx, l); err != nil {
				return err
			}
		case newer[l.ID]:
			why = "there is a newer record of this key by now, which it would replace: drop the letter"
		default:
			r = anywhere(l.copied(), s.bus.topics[l.Topic])
		}
		if why != "" {
			s.why(l.ID, why)
			continue
		}
		records = append(records, r)
		ids[len(records)-1], s.put[s.of[l.ID]] = l.ID, true
	}
	if len(records) == 0 {
		return nil
	}
	err = s.bus.storeApart(ctx, records, 0, nil, func(at int, err error) error {
		bare := original(records[at]) // It may have been as large as may be before it was marked.
		if len(bare.Headers) < len(records[at].Headers) {
			if err = s.bus.store(ctx, []driver.Record{bare}, nil); !errors.Is(err, driver.ErrTooLarge) {
				return err
			}
		}
		for _, id := range s.same[s.of[ids[at]]] {
			s.why(id, err.Error())
		}
		delete(ids, at)
		return nil
	})
	if err != nil {
		return err
	}
	put := make([]int64, 0, len(ids))
	for i := range records {
		id, ok := ids[i]
		if !ok {
			continue
		}
		for _, other := range s.same[s.of[id]] {
			one := s.settled(other)
			if one.Why = ""; other != id {
				one.Of = &id
			}
			put = append(put, other)
		}
	}
	for some := range slices.Chunk(put, 10*settleAtOnce) {
		if err := s.write(ctx, some); err != nil {
			return err
		}
	}
	return nil
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
