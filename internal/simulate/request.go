package simulate

import "errors"

// BER tags of SNMP messages (RFC 1157, RFC 2578, RFC 3416).
const (
	tagInteger     = 0x02
	tagOctets      = 0x04
	tagNull        = 0x05
	tagOID         = 0x06
	tagSequence    = 0x30
	tagCounter32   = 0x41
	tagGauge32     = 0x42
	tagTimeTicks   = 0x43
	tagCounter64   = 0x46
	tagNoObject    = 0x80
	tagNoInstance  = 0x81
	tagEndOfMib    = 0x82
	pduGet         = 0xa0
	pduGetNext     = 0xa1
	pduResponse    = 0xa2
	pduSet         = 0xa3
	pduGetBulk     = 0xa5
	version1       = 0
	version2c      = 1
	maxArcs        = 128 // RFC 2578, 3.5
	maxVarbindsAsk = 1024
)

// errMalformed is the answer to everything that is not an SNMP v1 or v2c
// request. An agent stays silent then, so nobody needs to know more.
var errMalformed = errors.New("malformed SNMP request")

// request is one decoded SNMP request. Its slices point into the packet.
type request struct {
	version   int
	community []byte
	pdu       byte
	id        int32
	// nonRepeaters and maxRepetitions are error-status and error-index in
	// every request but GetBulk.
	nonRepeaters, maxRepetitions int32
	bindings                     []byte   // content of the variable-bindings list
	names                        [][]byte // content of each binding's OID
}

// decode reads a request from packet, reusing r's slices. It accepts only what
// a manager sends: Get, GetNext, GetBulk and Set of SNMP v1 and v2c.
func (r *request) decode(packet []byte) error {
	r.names = r.names[:0]
	message, rest, ok := take(packet, tagSequence)
	if !ok || len(rest) != 0 {
		return errMalformed
	}
	version, message, ok := takeInt(message)
	if !ok || (version != version1 && version != version2c) {
		return errMalformed
	}
	r.version = int(version)
	if r.community, message, ok = take(message, tagOctets); !ok || len(message) == 0 {
		return errMalformed
	}
	r.pdu = message[0]
	switch r.pdu {
	case pduGet, pduGetNext, pduSet:
	case pduGetBulk:
		if r.version == version1 {
			return errMalformed
		}
	default:
		return errMalformed
	}
	pdu, rest, ok := take(message, r.pdu)
	if !ok || len(rest) != 0 {
		return errMalformed
	}
	var ok1, ok2, ok3, ok4 bool
	r.id, pdu, ok1 = takeInt(pdu)
	r.nonRepeaters, pdu, ok2 = takeInt(pdu)
	r.maxRepetitions, pdu, ok3 = takeInt(pdu)
	r.bindings, rest, ok4 = take(pdu, tagSequence)
	if !ok1 || !ok2 || !ok3 || !ok4 || len(rest) != 0 {
		return errMalformed
	}
	var arcs [maxArcs + 1]uint32
	for list := r.bindings; len(list) > 0; {
		var binding, name []byte
		if binding, list, ok = take(list, tagSequence); !ok || len(r.names) == maxVarbindsAsk {
			return errMalformed
		}
		if name, binding, ok = take(binding, tagOID); !ok || len(name) == 0 || len(binding) == 0 {
			return errMalformed
		}
		if _, ok = appendArcs(arcs[:0], name); !ok { // Names are echoed: what is no OID must not be.
			return errMalformed
		}
		if _, rest, ok = take(binding, binding[0]); !ok || len(rest) != 0 {
			return errMalformed
		}
		r.names = append(r.names, name)
	}
	return nil
}

// take splits the first element, which must have the tag, off b.
func take(b []byte, tag byte) (content, rest []byte, ok bool) {
	if len(b) < 2 || b[0] != tag {
		return nil, nil, false
	}
	n, b := int(b[1]), b[2:]
	if n >= 0x80 {
		octets := n & 0x7f
		if octets == 0 || octets > 4 || octets > len(b) {
			return nil, nil, false
		}
		n = 0
		for _, c := range b[:octets] {
			n = n<<8 | int(c)
		}
		b = b[octets:]
	}
	if n < 0 || n > len(b) {
		return nil, nil, false
	}
	return b[:n], b[n:], true
}

// takeInt splits a signed INTEGER of at most 32 bits off b.
func takeInt(b []byte) (v int32, rest []byte, ok bool) {
	content, rest, ok := take(b, tagInteger)
	if !ok || len(content) == 0 || len(content) > 4 {
		return 0, nil, false
	}
	v = int32(int8(content[0]))
	for _, c := range content[1:] {
		v = v<<8 | int32(c)
	}
	return v, rest, true
}

// appendArcs decodes the content of an OID. It refuses more than 128 arcs,
// arcs over 32 bits, padded arcs and a cut last arc.
func appendArcs(arcs []uint32, content []byte) ([]uint32, bool) {
	start := len(arcs)
	for i := 0; i < len(content); {
		if content[i] == 0x80 {
			return arcs, false
		}
		var v uint64
		for {
			if i == len(content) {
				return arcs, false
			}
			c := content[i]
			i++
			v = v<<7 | uint64(c&0x7f)
			if v > 1<<32-1+80 { // the first pair carries 40*2 on top
				return arcs, false
			}
			if c < 0x80 {
				break
			}
		}
		if len(arcs) == start {
			first := min(v/40, 2)
			arcs = append(arcs, uint32(first))
			v -= first * 40
		}
		if v > 1<<32-1 || len(arcs)-start == maxArcs {
			return arcs, false
		}
		arcs = append(arcs, uint32(v))
	}
	return arcs, len(arcs) > start
}
