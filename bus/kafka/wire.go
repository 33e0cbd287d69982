package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/segmentio/kafka-go/protocol"
)

// Some requests are written here by hand: kafka-go shows neither where a batch of records ends after compaction nor what is
// to be left out of a transaction, does not know of the sizes of logs, and copies records twice on their way out.
// Source: the Kafka protocol guide, https://kafka.apache.org/protocol.html.

// Versions of the requests that are written by hand, and where they come from.
const (
	versionProduce = 8  // Kafka 2.4
	versionFetch   = 11 // Kafka 2.3
	versionLogDirs = 1  // Kafka 2.0
)

// maxAnswer is the largest answer that is read, in bytes.
const maxAnswer = 256 << 20

// message is a request in bytes.
type message struct {
	api  protocol.ApiKey
	node int32
	data []byte // With room for the size at its beginning.
}

// answerBytes is what came back, without its header.
type answerBytes struct {
	api  protocol.ApiKey
	data []byte
}

// newMessage begins a request of about so many bytes.
func (l *link) newMessage(api protocol.ApiKey, version int16, node int32, size int) *message {
	return l.messageIn(make([]byte, 0, size+64), api, version, node)
}

// messageIn begins a request, with the header of version 1, in an empty buffer.
func (l *link) messageIn(buffer []byte, api protocol.ApiKey, version int16, node int32) *message {
	m := &message{api: api, node: node, data: append(buffer, 0, 0, 0, 0)}
	m.int16(int16(api))
	m.int16(version)
	m.int32(1) // A connection carries one request at a time.
	m.text(l.clientID)
	return m
}

func (m *message) int8(v int8)   { m.data = append(m.data, byte(v)) }
func (m *message) int16(v int16) { m.data = binary.BigEndian.AppendUint16(m.data, uint16(v)) }
func (m *message) int32(v int32) { m.data = binary.BigEndian.AppendUint32(m.data, uint32(v)) }
func (m *message) int64(v int64) { m.data = binary.BigEndian.AppendUint64(m.data, uint64(v)) }
func (m *message) text(v string) { m.int16(int16(len(v))); m.data = append(m.data, v...) }
func (m *message) length(n int)  { m.int32(int32(n)) }

// compact is a length as requests from 2020 on have it, tags is none of what may be added to them. Source: KIP-482.
func (m *message) compact(n int) { m.data = binary.AppendUvarint(m.data, uint64(n)+1) }
func (m *message) tags()         { m.data = append(m.data, 0) }

func (m *message) nullable(v string) {
	if v == "" {
		m.int16(-1)
		return
	}
	m.text(v)
}

// ApiKey implements protocol.Message.
func (m *message) ApiKey() protocol.ApiKey { return m.api }

// Broker implements protocol.BrokerMessage.
func (m *message) Broker(protocol.Cluster) (protocol.Broker, error) {
	return protocol.Broker{ID: m.node}, nil
}

// Required implements protocol.RawExchanger.
func (m *message) Required(map[protocol.ApiKey]int16) bool { return true }

// RawExchange implements protocol.RawExchanger.
func (m *message) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	binary.BigEndian.PutUint32(m.data, uint32(len(m.data)-4))
	if _, err := rw.Write(m.data); err != nil {
		return nil, err
	}
	var head [8]byte
	if _, err := io.ReadFull(rw, head[:]); err != nil {
		return nil, err
	}
	size := int64(binary.BigEndian.Uint32(head[:4])) - 4
	if size < 0 || size > maxAnswer || binary.BigEndian.Uint32(head[4:]) != 1 {
		return nil, fmt.Errorf("read an answer of %d bytes: %w", size, errNonsense)
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(rw, data); err != nil {
		return nil, err
	}
	return &answerBytes{m.api, data}, nil
}

// ApiKey implements protocol.Message.
func (a *answerBytes) ApiKey() protocol.ApiKey { return a.api }

// send sends a request and returns its answer.
func (l *link) send(ctx context.Context, m *message) (*parser, error) {
	res, err := l.RoundTrip(ctx, l.addr, m)
	if err != nil {
		return nil, err
	}
	return &parser{data: res.(*answerBytes).data}, nil
}

// errNonsense is bytes that are not what the protocol says.
var errNonsense = errors.New("the bytes make no sense")

// parser reads bytes from front to back. After the first mistake it yields zeros, and bad says so.
type parser struct {
	data []byte
	bad  bool
}

func (p *parser) err() error {
	if p.bad {
		return errNonsense
	}
	return nil
}

// take returns the next n bytes, which stay part of what is parsed.
func (p *parser) take(n int) []byte {
	if p.bad || n < 0 || n > len(p.data) {
		p.bad = true
		return nil
	}
	out := p.data[:n:n]
	p.data = p.data[n:]
	return out
}

func (p *parser) int8() int8 {
	if b := p.take(1); b != nil {
		return int8(b[0])
	}
	return 0
}

func (p *parser) int16() int16 {
	if b := p.take(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (p *parser) int32() int32 {
	if b := p.take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (p *parser) int64() int64 {
	if b := p.take(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

func (p *parser) varint() int64 {
	v, n := binary.Varint(p.data)
	if p.bad || n <= 0 {
		p.bad = true
		return 0
	}
	p.data = p.data[n:]
	return v
}

// text reads a string, "" when it is null.
func (p *parser) text() string { return string(p.take(max(int(p.int16()), 0))) }

// length reads how many elements follow, of at least so many bytes each.
func (p *parser) length(least int) int {
	n := int(p.int32())
	if n > len(p.data)/least {
		p.bad = true
	}
	if p.bad {
		return 0
	}
	return max(n, 0)
}

func (p *parser) uvarint() uint64 {
	v, n := binary.Uvarint(p.data)
	if p.bad || n <= 0 {
		p.bad = true
		return 0
	}
	p.data = p.data[n:]
	return v
}

// compact reads how many elements follow, of at least so many bytes each, as requests from 2020 on have it.
func (p *parser) compact(least int) int {
	n := p.uvarint()
	if n > uint64(len(p.data)/least)+1 {
		p.bad = true
	}
	if p.bad || n == 0 {
		return 0
	}
	return int(n - 1)
}

// skipTags passes over what may be added to requests.
func (p *parser) skipTags() {
	for n := p.uvarint(); n > 0 && !p.bad; n-- {
		_ = p.uvarint()
		size := p.uvarint()
		if size > uint64(len(p.data)) {
			p.bad = true
			return
		}
		_ = p.take(int(size))
	}
}

// varbytes reads bytes whose length is a varint; nil when there are none, which is not the same as empty.
func (p *parser) varbytes() []byte {
	n := p.varint()
	if n < 0 || p.bad {
		return nil
	}
	if n > int64(len(p.data)) {
		p.bad = true
		return nil
	}
	if n == 0 {
		return []byte{}
	}
	return p.take(int(n))
}
