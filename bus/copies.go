package bus

import (
	"hash/maphash"
	"slices"
	"strconv"

	"kemi.dev/kemi/bus/driver"
)

// headerAgain is on the copy of a record that was put back: which record it is a copy of, as TOPIC/PARTITION/POSITION. A
// copy of a copy names the first.
const headerAgain = "kemi-again"

// origin is the record that a letter is about. Each group that gives a record up writes a letter of its own: they have
// one origin, and so have the letters of its copies.
type origin struct {
	topic, record string
	// group is set where the record goes back to it alone.
	group string
	key   string
	// sum is of what the letter holds: a topic that was removed and made anew counts its positions from the beginning.
	sum uint64
	// letter is its ID, of those that share nothing with others; else it is -1.
	letter int64
}

// origin of a letter that has its record.
func (l *Letter) origin(seed maphash.Seed) origin {
	if l.Foreign || l.Position < 0 {
		return origin{letter: l.ID}
	}
	o := origin{topic: l.Topic, record: l.first(), key: l.Key, sum: maphash.Bytes(seed, l.Record.Value), letter: -1}
	if l.alone() && l.Topic != topicAgain.Name {
		o.group = l.Group
	}
	return o
}

// first names the record that the letter's record is a copy of, or its own.
func (l *Letter) first() string {
	if of := l.Record.Header(headerAgain); of != "" {
		return of
	}
	return l.Topic + "/" + strconv.Itoa(l.Partition) + "/" + strconv.FormatInt(l.Position, 10)
}

// copied is a letter's record as it is put back, with the record it is a copy of.
func (l *Letter) copied() driver.Record {
	r := l.Record
	if l.Position < 0 || r.Header(headerAgain) != "" {
		return r
	}
	r.Headers = append(slices.Clip(r.Headers), driver.Header{Name: headerAgain, Value: l.first()})
	return r
}

// original is a record without the mark of a copy.
func original(r driver.Record) driver.Record {
	r.Headers = slices.DeleteFunc(slices.Clone(r.Headers), func(h driver.Header) bool { return h.Name == headerAgain })
	return r
}
