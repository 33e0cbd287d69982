package snmp

import (
	"errors"
	"fmt"
)

// BER tags of SNMP messages (RFC 1157, RFC 2578, RFC 3416).
const (
	tagInteger    = 0x02
	tagOctets     = 0x04
	tagNull       = 0x05
	tagOID        = 0x06
	tagSequence   = 0x30
	tagIPAddress  = 0x40
	tagCounter32  = 0x41
	tagGauge32    = 0x42
	tagTimeTicks  = 0x43
	tagOpaque     = 0x44
	tagCounter64  = 0x46
	tagUinteger32 = 0x47
	tagNoObject   = 0x80
	tagNoInstance = 0x81
	tagEndOfMib   = 0x82
	pduGet        = 0xa0
	pduResponse   = 0xa2
	pduGetBulk    = 0xa5
)

// Versions as messages carry them.
const version2c = 1

// errMalformed is wrapped by every error of the decoder.
var errMalformed = errors.New("the answer cannot be decoded")

func malformed(what string) error { return fmt.Errorf("%w: %s", errMalformed, what) }

// answer is one decoded response. Its slices point into the packet.
type answer struct {
	version   int32
	community []byte
	id        int32
	// status and index tell what was wrong with the request, 0 when nothing was (RFC 3416, 3).
	status, index int32
	// bindings is the content of the list of variable bindings, to be taken apart by next.
	bindings []byte
}

// decode reads a response of SNMP v1 or v2c. It looks at everything but the bindings and allocates nothing.
func decode(packet []byte) (answer, error) {
	var a answer
	tag, message, _, ok := element(packet)
	if !ok || tag != tagSequence {
		return a, malformed("no message, or one that is cut")
	}
	if a.version, message, ok = integer(message); !ok || a.version < 0 || a.version > version2c {
		return a, malformed("not a message of SNMP v1 or v2c")
	}
	if tag, a.community, message, ok = element(message); !ok || tag != tagOctets {
		return a, malformed("the community is no text")
	}
	tag, pdu, _, ok := element(message)
	if !ok || tag != pduResponse {
		return a, malformed("not a response")
	}
	if a.id, pdu, ok = integer(pdu); !ok {
		return a, malformed("no request id")
	}
	if a.status, pdu, ok = integer(pdu); !ok {
		return a, malformed("no error status")
	}
	if a.index, pdu, ok = integer(pdu); !ok {
		return a, malformed("no error index")
	}
	if tag, a.bindings, _, ok = element(pdu); !ok || tag != tagSequence {
		return a, malformed("no list of bindings")
	}
	return a, nil
}

// binding is one name with its value. Whether the name is a valid object identifier is for its reader to check.
type binding struct {
	name  oid
	tag   byte
	value []byte
}

// next splits the first binding off a list.
func next(list []byte) (b binding, rest []byte, err error) {
	// The usual binding is short, with lengths of one octet: SEQUENCE n, OID m.
	if len(list) > 6 && list[0] == tagSequence && list[2] == tagOID && list[1] < 0x80 && list[3] < 0x80 {
		end, nameEnd := 2+int(list[1]), 4+int(list[3])
		if end <= len(list) && nameEnd+2 <= end && list[nameEnd+1] < 0x80 && nameEnd+2+int(list[nameEnd+1]) <= end {
			b = binding{name: list[4:nameEnd], tag: list[nameEnd], value: list[nameEnd+2 : nameEnd+2+int(list[nameEnd+1])]}
			return b, list[end:], nil
		}
	}
	tag, content, rest, ok := element(list)
	if !ok || tag != tagSequence {
		return b, nil, malformed("a binding is cut")
	}
	var name []byte
	if tag, name, content, ok = element(content); !ok || tag != tagOID {
		return b, nil, malformed("a binding has no name")
	}
	b.name = name
	if b.tag, b.value, _, ok = element(content); !ok {
		return b, nil, malformed("a binding has no value")
	}
	return b, rest, nil
}

// element splits the first tag, length and content off b. Lengths must be definite and of at most four octets.
func element(b []byte) (tag byte, content, rest []byte, ok bool) {
	if len(b) < 2 {
		return 0, nil, nil, false
	}
	tag = b[0]
	n, at := uint64(b[1]), 2
	if n >= 0x80 {
		octets := int(n & 0x7f)
		if octets == 0 || octets > 4 || len(b) < 2+octets {
			return 0, nil, nil, false
		}
		n = 0
		for _, c := range b[2 : 2+octets] {
			n = n<<8 | uint64(c)
		}
		at += octets
	}
	if n > uint64(len(b)-at) {
		return 0, nil, nil, false
	}
	return tag, b[at : at+int(n)], b[at+int(n):], true
}

// integer splits an INTEGER of 32 bits off b.
func integer(b []byte) (v int32, rest []byte, ok bool) {
	tag, content, rest, ok := element(b)
	if !ok || tag != tagInteger {
		return 0, nil, false
	}
	wide, ok := signed(content)
	if !ok || wide != int64(int32(wide)) {
		return 0, nil, false
	}
	return int32(wide), rest, true
}

// signed reads two's complement of one to eight octets.
func signed(content []byte) (int64, bool) {
	if len(content) == 0 || len(content) > 8 {
		return 0, false
	}
	v := int64(int8(content[0]))
	for _, c := range content[1:] {
		v = v<<8 | int64(c)
	}
	return v, true
}

// unsigned reads a counter or gauge of one to eight octets, or nine with a leading zero. Some agents leave the leading
// zero out of large values, so the first bit is no sign.
func unsigned(content []byte) (uint64, bool) {
	if len(content) == 9 && content[0] == 0 {
		content = content[1:]
	}
	if len(content) == 0 || len(content) > 8 {
		return 0, false
	}
	var v uint64
	for _, c := range content {
		v = v<<8 | uint64(c)
	}
	return v, true
}

// requestID finds the request id of a message without caring whether the rest of it is whole: an answer that is cut is
// to be told to the one who waits for it.
func requestID(packet []byte) (id int32, ok bool) {
	skipHeader := func(b []byte) []byte { // over tag and length, to the content
		if len(b) < 2 {
			return nil
		}
		at := 2
		if b[1] > 0x80 {
			at += int(b[1] & 0x7f)
		}
		return b[min(at, len(b)):]
	}
	if len(packet) == 0 || packet[0] != tagSequence {
		return 0, false
	}
	_, message, ok := integer(skipHeader(packet))
	if !ok {
		return 0, false
	}
	tag, _, message, ok := element(message)
	if !ok || tag != tagOctets || len(message) == 0 || message[0]&0xe0 != 0xa0 {
		return 0, false
	}
	id, _, ok = integer(skipHeader(message))
	return id, ok
}
