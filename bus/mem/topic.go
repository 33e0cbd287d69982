package mem

import (
	"bytes"
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
	eras   int // How often the log began anew.
	bytes  int64
	logs   [][]*stored
	kept   []map[string][]*stored // Per log, of Latest topics: what is there of each key, oldest first.
	gone   []int                  // Per log, how many in it are gone.
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
	t := &topic{Topic: want, b: b, groups: map[string]*group{}, feeds: map[*feed]struct{}{}}
	t.empty()
	return t
}

func (t *topic) empty() {
	t.last, t.bytes, t.ids, t.idAge = 0, 0, map[string]struct{}{}, nil
	t.logs, t.gone = make([][]*stored, t.Partitions), make([]int, t.Partitions)
	if t.Kind == driver.Latest {
		t.kept = make([]map[string][]*stored, t.Partitions)
		for i := range t.kept {
			t.kept[i] = map[string][]*stored{}
		}
	}
}

// restart begins the log anew: every owner in a later epoch, all others from its beginning.
func (t *topic) restart() {
	t.empty()
	t.eras++
	for _, g := range t.groups {
		if g.work != nil {
			for _, k := range g.work.tasks {
				if k.with != nil {
					k.with.open--
				}
			}
			clear(g.work.tasks)
			clear(g.work.cursors)
		}
	}
	t.forget()
}

// forget has every group begin anew.
func (t *topic) forget() {
	for _, g := range t.groups {
		for p, l := range g.leases {
			if l.owner != nil {
				g.release(p)
			}
			l.next, l.until = 0, 0
		}
		g.rebalance(time.Now())
	}
	t.wake()
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
	if r.ID != "" && t.Kind != driver.Latest {
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
		kept := append(t.kept[r.Partition][r.Key], s)
		if most := t.PerKey(); most > 0 && len(kept) > most {
			t.compact(r.Partition, kept[0])
			kept = slices.Delete(kept, 0, 1)
		}
		t.kept[r.Partition][r.Key] = kept
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

// compact forgets a replaced record: of a Latest topic only so many of a key stay.
func (t *topic) compact(partition int, old *stored) {
	old.gone = true
	t.bytes -= size(&old.record)
	old.record.Value = nil
	t.gone[partition]++
	if log := t.logs[partition]; len(log) > 64 && t.gone[partition] > len(log)/2 {
		t.logs[partition] = slices.DeleteFunc(log, func(s *stored) bool { return s.gone })
		t.gone[partition] = 0
	}
}

// fits says whether a full topic takes the records all the same: each of them replaces one that is as large.
func (t *topic) fits(records []driver.Record) bool {
	most := t.PerKey()
	if most == 0 {
		return false
	}
	type place struct {
		partition int
		key       string
	}
	now := map[place][]int64{} // The sizes of what is there of each key.
	bytes := t.bytes
	for i := range records {
		r := &records[i]
		if r.Topic != t.Name {
			continue
		}
		at := place{r.Partition, r.Key}
		sizes, ok := now[at]
		if !ok {
			for _, s := range t.kept[r.Partition][r.Key] {
				sizes = append(sizes, size(&s.record))
			}
		}
		sizes = append(sizes, size(r))
		var freed int64
		if len(sizes) > most {
			freed, sizes = sizes[0], sizes[1:]
		}
		if now[at] = sizes; bytes+size(r) > t.MaxBytes && freed < size(r) {
			return false
		}
		bytes += size(r) - freed
	}
	return true
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
		t.gone[p]--
		return
	}
	t.bytes -= size(&s.record)
	if t.Kind != driver.Latest {
		return
	}
	if kept := t.kept[p][s.record.Key]; len(kept) > 1 { // What is first in the log is first of its key.
		t.kept[p][s.record.Key] = slices.Delete(kept, 0, 1)
	} else {
		delete(t.kept[p], s.record.Key)
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
	case s.Position > t.last+1:
		return 1 // Of a log that is gone.
	}
	return max(s.Position, 1)
}

// next is the first record of a partition at or after the position. Below until it passes over what does not
// belong to a snapshot: replaced and removed.
func (t *topic) next(p int, position, until int64) *stored {
	log := t.logs[p]
	for i := t.from(p, position); i < len(log); i++ {
		s := log[i]
		if s.gone || (s.position <= until && (!t.isNewest(p, s) || s.record.Value == nil)) {
			continue
		}
		return s
	}
	return nil
}

func (t *topic) isNewest(p int, s *stored) bool {
	kept := t.kept[p][s.record.Key]
	return len(kept) > 0 && kept[len(kept)-1] == s
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
