package mem

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sort"
	"time"

	"kemi.dev/kemi/bus/driver"
)

// stored is a record in its place; gone marks one that a newer record of its key replaced.
type stored struct {
	position int64
	at       time.Time
	record   driver.Record
	gone     bool
}

// topic is guarded by the broker's mutex, as is everything below it. Positions count over all partitions, so that
// those of one partition have gaps as they have with other brokers.
type topic struct {
	driver.Topic
	b      *broker
	last   int64
	bytes  int64
	logs   [][]*stored
	newest []map[string]*stored // Per log, of Latest topics.
	ids    map[string]struct{}
	idAge  []idAt
	groups map[string]*group
	feeds  map[*feed]struct{}
}

type idAt struct {
	id string
	at time.Time
}

func newTopic(b *broker, want driver.Topic) *topic {
	t := &topic{
		Topic: want, b: b, ids: map[string]struct{}{}, groups: map[string]*group{},
		feeds: map[*feed]struct{}{}, logs: make([][]*stored, want.Partitions),
	}
	if want.Kind == driver.Latest {
		t.newest = make([]map[string]*stored, want.Partitions)
		for i := range t.newest {
			t.newest[i] = map[string]*stored{}
		}
	}
	return t
}

// check says what is wrong with a subscription.
func (t *topic) check(s driver.Subscription) error {
	switch {
	case s.Start.Snapshot && t.Kind != driver.Latest:
		return errors.New("only a Latest topic has a snapshot")
	case s.Group != "" && s.Partitions != nil:
		return errors.New("only a replay is limited to partitions")
	case s.Start.Position != 0 && t.Partitions > 1 && len(s.Partitions) != 1:
		return errors.New("a position needs one partition")
	case s.Window < 0 || s.Redeliver < 0:
		return errors.New("window and redelivery time are not negative")
	}
	for _, p := range s.Partitions {
		if p < 0 || p >= t.Partitions {
			return fmt.Errorf("partition %d of %d", p, t.Partitions)
		}
	}
	return nil
}

// payload is what counts against the limit of one record.
func payload(r *driver.Record) int {
	n := len(r.Value)
	for _, h := range r.Headers {
		n += len(h.Name) + len(h.Value) + 4
	}
	return n
}

// size is what counts against MaxBytes.
func size(r *driver.Record) int64 { return int64(payload(r) + len(r.Topic) + len(r.Key) + 32) }

// append stores one record. It was checked and there is room, or the oldest go.
func (t *topic) append(r *driver.Record, now time.Time) {
	if r.ID != "" {
		if _, ok := t.ids[r.ID]; ok {
			return
		}
		t.ids[r.ID] = struct{}{}
		t.idAge = append(t.idAge, idAt{r.ID, now})
	}
	t.last++
	s := &stored{position: t.last, at: now, record: own(*r)}
	t.bytes += size(r)
	t.logs[r.Partition] = append(t.logs[r.Partition], s)
	if t.Kind == driver.Latest {
		old := t.newest[r.Partition][r.Key]
		t.newest[r.Partition][r.Key] = s
		if old != nil && t.Keep == 0 {
			t.compact(r.Partition, old)
		}
	}
	for t.DropOldest && t.MaxBytes > 0 && t.bytes > t.MaxBytes && t.dropOldest() {
	}
}

// own copies what the caller or a handler might write to.
func own(r driver.Record) driver.Record {
	r.Value = bytes.Clone(r.Value)
	r.Headers = slices.Clone(r.Headers)
	return r
}

// compact forgets a replaced record: of a Latest topic that keeps records for ever only the newest per key stay.
func (t *topic) compact(partition int, old *stored) {
	old.gone = true
	t.bytes -= size(&old.record)
	old.record.Value = nil
	if log := t.logs[partition]; len(log) > 64 && len(log) > 2*len(t.newest[partition]) {
		t.logs[partition] = slices.DeleteFunc(log, func(s *stored) bool { return s.gone })
	}
}

// dropOldest removes the oldest record of all partitions and says whether there was one.
func (t *topic) dropOldest() bool {
	oldest := -1
	for p, log := range t.logs {
		if len(log) > 0 && (oldest < 0 || log[0].position < t.logs[oldest][0].position) {
			oldest = p
		}
	}
	if oldest < 0 {
		return false
	}
	t.drop(oldest)
	return true
}

// drop removes the first record of a partition.
func (t *topic) drop(p int) {
	s := t.logs[p][0]
	t.logs[p][0] = nil
	t.logs[p] = t.logs[p][1:]
	if s.gone {
		return
	}
	t.bytes -= size(&s.record)
	if t.Kind == driver.Latest && t.newest[p][s.record.Key] == s {
		delete(t.newest[p], s.record.Key)
	}
}

// expire forgets records older than Keep and IDs older than the window.
func (t *topic) expire(now time.Time) {
	for len(t.idAge) > 0 && now.Sub(t.idAge[0].at) >= t.b.options.Dedupe {
		delete(t.ids, t.idAge[0].id)
		t.idAge = t.idAge[1:]
	}
	if t.Keep == 0 {
		return
	}
	for p := range t.logs {
		for len(t.logs[p]) > 0 && now.Sub(t.logs[p][0].at) >= t.Keep {
			t.drop(p)
		}
	}
}

// from is the index in a partition's log of the first record at or after the position.
func (t *topic) from(p int, position int64) int {
	log := t.logs[p]
	return sort.Search(len(log), func(i int) bool { return log[i].position >= position })
}

// begin is the position a start means, in one partition.
func (t *topic) begin(p int, s driver.Start) int64 {
	switch {
	case s.End:
		return t.last + 1
	case !s.Time.IsZero():
		log := t.logs[p]
		i := sort.Search(len(log), func(i int) bool { return !log[i].at.Before(s.Time) })
		if i == len(log) {
			return t.last + 1
		}
		return log[i].position
	}
	return max(s.Position, 1)
}

// next is the first record of a partition at or after the position. Below until it passes over what does not
// belong to a snapshot: replaced and removed.
func (t *topic) next(p int, position, until int64) *stored {
	log := t.logs[p]
	for i := t.from(p, position); i < len(log); i++ {
		s := log[i]
		if s.gone || (s.position <= until && (t.newest[p][s.record.Key] != s || s.record.Value == nil)) {
			continue
		}
		return s
	}
	return nil
}

// wake tells every feed of the topic to look again.
func (t *topic) wake() {
	for f := range t.feeds {
		f.nudge()
	}
}

func delivery(s *stored) driver.Delivery {
	return driver.Delivery{
		Event: driver.Data, Partition: s.record.Partition, Position: s.position, Record: own(s.record), Stored: s.at,
	}
}
