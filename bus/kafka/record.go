package kafka

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/bits"
	"strconv"
	"strings"

	"kemi.dev/kemi/bus/driver"
)

// Headers that carry what Kafka has no field for.
const (
	headerID    = "kemi-id"
	headerEpoch = "kemi-epoch"
)

// Positions begin with 1, offsets with 0.
func positionOf(offset int64) int64 { return offset + 1 }
func offsetOf(position int64) int64 { return position - 1 }

// sealed is records of one partition as they go into a record batch, but for their place in it.
type sealed struct {
	bodies []byte
	ends   []int // Where each record's body ends.
}

func (s *sealed) count() int { return len(s.ends) }

// Sizes of a record batch, format version 2. Source: the Kafka protocol guide, "Record Batch".
const (
	batchHeader = 61
	recordFrame = 12 // At most: length, attributes, time and offset in the batch.
)

// size is how many bytes a record batch of the records has at most.
func (s *sealed) size() int { return batchHeader + len(s.bodies) + recordFrame*len(s.ends) }

// add seals one more record; epoch 0 is none.
func (s *sealed) add(r *driver.Record, t *topic, epoch uint64) error {
	if strings.IndexByte(r.Key, 0) >= 0 {
		return errors.New("the key has a NUL")
	}
	if r.Partition < 0 || r.Partition >= t.Partitions {
		return fmt.Errorf("partition %d of %d", r.Partition, t.Partitions)
	}
	b := appendText(s.bodies, r.Key)
	if r.Value == nil && t.Kind == driver.Latest {
		b = binary.AppendVarint(b, -1)
	} else {
		b = binary.AppendVarint(b, int64(len(r.Value)))
		b = append(b, r.Value...)
	}
	n := len(r.Headers)
	if r.ID != "" {
		n++
	}
	if epoch != 0 {
		n++
	}
	b = binary.AppendVarint(b, int64(n))
	for i := range r.Headers {
		b = appendText(appendText(b, r.Headers[i].Name), r.Headers[i].Value)
	}
	if r.ID != "" {
		b = appendText(appendText(b, headerID), r.ID)
	}
	if epoch != 0 {
		b = appendText(appendText(b, headerEpoch), strconv.FormatUint(epoch, 10))
	}
	s.bodies, s.ends = b, append(s.ends, len(b))
	return nil
}

// drop takes the last record out and returns it by itself.
func (s *sealed) drop() sealed {
	last := len(s.ends) - 1
	begin := 0
	if last > 0 {
		begin = s.ends[last-1]
	}
	one := sealed{bodies: append([]byte(nil), s.bodies[begin:]...)}
	one.ends = []int{len(one.bodies)}
	s.bodies, s.ends = s.bodies[:begin], s.ends[:last]
	return one
}

func appendText(b []byte, s string) []byte {
	b = binary.AppendVarint(b, int64(len(s)))
	return append(b, s...)
}

// producer is who says that it wrote a batch; id -1 is nobody in particular.
type producer struct {
	id            int64
	epoch         int16
	sequence      int32 // Of the batch's first record in its partition; -1 with nobody in particular.
	transactional bool
}

// nobody in particular writes batches that are stored twice when they are sent twice.
var nobody = producer{id: -1, epoch: -1, sequence: -1}

// Attributes of a record batch.
const (
	attrCodec         = 0x07
	attrAppendTime    = 0x08
	attrTransactional = 0x10
	attrControl       = 0x20
)

// castagnoli is the polynomial of the batches' checksums.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendBatch makes one record batch of everything in parts, which is not nothing. at is its time in Unix milliseconds.
func appendBatch(dst []byte, p producer, at int64, parts ...*sealed) []byte {
	begin := len(dst)
	count := 0
	for _, s := range parts {
		count += s.count()
	}
	var attributes uint16
	if p.transactional {
		attributes = attrTransactional
	}
	dst = append(dst, make([]byte, 12)...)                    // Base offset, which the broker gives, and length.
	dst = binary.BigEndian.AppendUint32(dst, ^uint32(0))      // The leader's epoch: not known.
	dst = append(dst, 2)                                      // The format's version.
	dst = append(dst, make([]byte, 4)...)                     // The checksum of all that follows.
	dst = binary.BigEndian.AppendUint16(dst, attributes)      // No compression; the time is ours.
	dst = binary.BigEndian.AppendUint32(dst, uint32(count-1)) // The last record's place.
	dst = binary.BigEndian.AppendUint64(dst, uint64(at))      // The first record's time,
	dst = binary.BigEndian.AppendUint64(dst, uint64(at))      // and the newest one.
	dst = binary.BigEndian.AppendUint64(dst, uint64(p.id))
	dst = binary.BigEndian.AppendUint16(dst, uint16(p.epoch))
	dst = binary.BigEndian.AppendUint32(dst, uint32(p.sequence))
	dst = binary.BigEndian.AppendUint32(dst, uint32(count))
	place := int64(0)
	for _, s := range parts {
		from := 0
		for _, to := range s.ends {
			body := s.bodies[from:to]
			dst = binary.AppendVarint(dst, int64(2+varintSize(place)+len(body)))
			dst = append(dst, 0, 0) // No attributes, and the time of the batch.
			dst = binary.AppendVarint(dst, place)
			dst = append(dst, body...)
			from = to
			place++
		}
	}
	binary.BigEndian.PutUint32(dst[begin+8:], uint32(len(dst)-begin-12))
	seal(dst[begin:])
	return dst
}

// seal writes the checksum into a batch.
func seal(batch []byte) {
	binary.BigEndian.PutUint32(batch[17:], crc32.Checksum(batch[21:], castagnoli))
}

// varintSize is how many bytes a zigzag varint has.
func varintSize(v int64) int {
	u := uint64(v)<<1 ^ uint64(v>>63)
	return (bits.Len64(u|1) + 6) / 7
}
