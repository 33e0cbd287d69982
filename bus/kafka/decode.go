package kafka

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"github.com/segmentio/kafka-go/compress"

	"kemi.dev/kemi/bus/driver"
)

// maxUnpacked is the most that a compressed batch may unpack to: a broker takes 1 MiB, many times that is an attack.
const maxUnpacked = 128 << 20

// aborted is a transaction that was not committed: the records of the producer from the offset on do not count.
type aborted struct{ producer, first int64 }

// header is the beginning of a record batch.
type header struct {
	base, last int64 // Offsets of the first and the last record, as it was before compaction.
	attributes uint16
	begin, end int64 // Times, in Unix milliseconds.
	producer   int64
	records    int
}

var (
	errTorn    = errors.New("the batch ends in the middle")
	errOld     = errors.New("the batch has a format of before Kafka 0.11")
	errDamaged = errors.New("the batch is not what was written: its checksum differs")
)

// nextBatch reads one record batch off data: its header, its records as they are stored, and what follows it.
func nextBatch(data []byte) (h header, body, rest []byte, err error) {
	p := parser{data: data}
	h.base = p.int64()
	size := int(p.int32())
	batch := p.take(size)
	if p.bad || size < batchHeader-12 {
		return h, nil, nil, errTorn
	}
	rest = p.data
	p = parser{data: batch}
	_ = p.int32() // The leader's epoch.
	if magic := p.int8(); magic != 2 {
		return h, nil, rest, errOld
	}
	sum := uint32(p.int32())
	if crc32.Checksum(p.data, castagnoli) != sum {
		return h, nil, rest, errDamaged
	}
	h.attributes = uint16(p.int16())
	h.last = h.base + int64(p.int32())
	h.begin, h.end = p.int64(), p.int64()
	h.producer = p.int64()
	_ = p.take(2 + 4) // The producer's epoch and sequence.
	h.records = int(p.int32())
	return h, p.data, rest, p.err()
}

// unpack undoes the compression of a batch.
func (h header) unpack(body []byte) ([]byte, error) {
	kind := compress.Compression(h.attributes & attrCodec)
	if kind == compress.None {
		return body, nil
	}
	codec := kind.Codec()
	if codec == nil {
		return nil, fmt.Errorf("compression %d is not known", kind)
	}
	r := codec.NewReader(bytes.NewReader(body))
	defer r.Close()
	out, err := io.ReadAll(io.LimitReader(r, maxUnpacked+1))
	if err == nil && len(out) > maxUnpacked {
		err = fmt.Errorf("it is over %d bytes", maxUnpacked)
	}
	return out, err
}

// filter knows which batches of an answer do not count.
type filter struct {
	open map[int64]bool // Producers whose records do not count until their transaction ends.
	todo []aborted      // In the order of their first records.
}

// counts says whether the records of a batch count. It is asked about each batch of an answer, in order.
func (f *filter) counts(h header, body []byte) bool {
	for len(f.todo) > 0 && f.todo[0].first <= h.last {
		if f.open == nil {
			f.open = map[int64]bool{}
		}
		f.open[f.todo[0].producer] = true
		f.todo = f.todo[1:]
	}
	if h.attributes&attrControl != 0 {
		if isAbort(body) {
			delete(f.open, h.producer)
		}
		return false
	}
	return h.attributes&attrTransactional == 0 || !f.open[h.producer]
}

// isAbort says whether a control batch ends a transaction that was not committed.
func isAbort(body []byte) bool {
	p := parser{data: body}
	_ = p.varint() // The record's length,
	_ = p.int8()   // its attributes,
	_ = p.varint() // its time,
	_ = p.varint() // and its place.
	_ = p.varint() // The key's length.
	_ = p.int16()  // The key's version.
	kind := p.int16()
	return !p.bad && kind == 0
}

// decoder makes deliveries of what was fetched from one partition.
type decoder struct {
	t         *topic
	partition int
	words     map[string]string // Texts that come again and again: names of headers, and what they say.
}

// maxWords bounds what a decoder remembers.
const maxWords = 256

// word makes a string of bytes, the same one each time.
func (d *decoder) word(b []byte) string {
	if s, ok := d.words[string(b)]; ok {
		return s
	}
	s := string(b)
	if len(s) > 64 {
		return s
	}
	if d.words == nil || len(d.words) >= maxWords {
		d.words = map[string]string{}
	}
	d.words[s] = s
	return s
}

// decode makes the deliveries of one batch from the offset on and appends them. The values stay part of body.
func (d *decoder) decode(h header, body []byte, from int64, out []driver.Delivery) ([]driver.Delivery, error) {
	p := parser{data: body}
	for range h.records {
		one := parser{data: p.varbytes()}
		if p.bad {
			return out, errNonsense
		}
		_ = one.int8()
		at, place := h.begin+one.varint(), h.base+one.varint()
		if h.attributes&attrAppendTime != 0 {
			at = h.end
		}
		if place < from && !one.bad {
			continue
		}
		r, err := d.record(&one)
		if err != nil {
			return out, err
		}
		out = append(out, driver.Delivery{
			Event: driver.Data, Partition: d.partition, Position: positionOf(place), Record: r, Stored: time.UnixMilli(at),
		})
	}
	return out, nil
}

// record reads what a record says.
func (d *decoder) record(p *parser) (driver.Record, error) {
	r := driver.Record{Topic: d.t.Name, Partition: d.partition, Key: string(p.varbytes())}
	r.Value = p.varbytes()
	if r.Value == nil && d.t.Kind != driver.Latest {
		r.Value = []byte{}
	}
	n := p.varint()
	if n < 0 || n > int64(len(p.data)/2) {
		p.bad = true
		n = 0
	}
	if n > 0 {
		r.Headers = make([]driver.Header, 0, n)
	}
	for range n {
		name := d.word(p.varbytes())
		value := p.varbytes()
		switch name {
		case headerID:
			r.ID = string(value)
		case headerEpoch:
		default:
			r.Headers = append(r.Headers, driver.Header{Name: name, Value: d.word(value)})
		}
	}
	if len(r.Headers) == 0 {
		r.Headers = nil
	}
	return r, p.err()
}
