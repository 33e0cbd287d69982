package simulate

import "encoding/binary"

// appendLength writes a BER length in its shortest form.
func appendLength(b []byte, n int) []byte {
	switch {
	case n < 0x80:
		return append(b, byte(n))
	case n < 0x100:
		return append(b, 0x81, byte(n))
	default:
		return append(b, 0x82, byte(n>>8), byte(n))
	}
}

// appendInt writes a signed integer in its shortest form.
func appendInt(b []byte, tag byte, v int64) []byte {
	n := 1
	for x := v; x > 127 || x < -128; x >>= 8 {
		n++
	}
	b = append(b, tag, byte(n))
	for i := n - 1; i >= 0; i-- {
		b = append(b, byte(v>>(8*i)))
	}
	return b
}

// appendUint writes an unsigned value (Counter32, Gauge32, TimeTicks,
// Counter64) in its shortest form, with a leading zero octet where the top
// bit is set.
func appendUint(b []byte, tag byte, v uint64) []byte {
	n := 1
	for x := v >> 7; x != 0; x >>= 8 {
		n++
	}
	if n == 9 {
		b = append(b, tag, 9, 0)
		return binary.BigEndian.AppendUint64(b, v)
	}
	b = append(b, tag, byte(n))
	for i := n - 1; i >= 0; i-- {
		b = append(b, byte(v>>(8*i)))
	}
	return b
}

func appendString(b []byte, s string) []byte {
	b = append(b, tagOctets)
	b = appendLength(b, len(s))
	return append(b, s...)
}

// appendOID writes an OBJECT IDENTIFIER; arcs must hold at least two.
func appendOID(b []byte, arcs []uint32) []byte {
	start := len(b)
	b = append(b, tagOID, 0)
	b = appendArc(b, uint64(arcs[0])*40+uint64(arcs[1]))
	for _, a := range arcs[2:] {
		b = appendArc(b, uint64(a))
	}
	return fixLength(b, start)
}

func appendArc(b []byte, v uint64) []byte {
	for shift := 28; shift > 0; shift -= 7 {
		if v>>shift != 0 {
			b = append(b, byte(v>>shift)|0x80)
		}
	}
	return append(b, byte(v&0x7f))
}

// fixLength completes an element that was begun at start with its tag and one
// octet for the length; it makes room when one octet is not enough.
func fixLength(b []byte, start int) []byte {
	n := len(b) - start - 2
	if n < 0x80 {
		b[start+1] = byte(n)
		return b
	}
	extra := 1
	if n >= 0x100 {
		extra = 2
	}
	b = append(b, 0, 0)[:len(b)+extra]
	copy(b[start+2+extra:], b[start+2:start+2+n])
	appendLength(b[start+1:start+1], n)
	return b
}

// headroom is what a response's headers may take before its bindings: message,
// version, community, PDU, id, status, index and list headers.
func headroom(community []byte) int { return 4 + 3 + 4 + len(community) + 4 + 6 + 6 + 6 + 4 }

// finish writes the headers of a response backwards into the room before the
// bindings at b[at:] and returns the whole message.
func finish(b []byte, at int, r *request, status, index int) []byte {
	end := len(b)
	var scratch [8]byte
	front := func(piece []byte) {
		at -= len(piece)
		copy(b[at:], piece)
	}
	header := func(tag byte) {
		var s [4]byte
		front(appendLength(append(s[:0], tag), end-at))
	}
	header(tagSequence)
	front(appendInt(scratch[:0], tagInteger, int64(index)))
	front(appendInt(scratch[:0], tagInteger, int64(status)))
	front(appendInt(scratch[:0], tagInteger, int64(r.id)))
	header(pduResponse)
	front(r.community)
	var s [4]byte
	front(appendLength(append(s[:0], tagOctets), len(r.community)))
	front(appendInt(scratch[:0], tagInteger, int64(r.version)))
	header(tagSequence)
	return b[at:end]
}
