package snmp

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// oid is an object identifier in the form it has on the wire: the content octets of its BER encoding (X.690, 8.19).
// One row of a table is told from another without ever decoding it.
type oid []byte

// maxArcs bounds an object identifier (RFC 2578, 3.5).
const maxArcs = 128

// parseOID reads dotted numbers, with or without a dot before the first.
func parseOID(s string) (oid, error) {
	parts := strings.Split(strings.TrimPrefix(s, "."), ".")
	if len(parts) < 2 || len(parts) > maxArcs {
		return nil, errors.New("an object identifier has 2 to 128 numbers with dots between them, like 1.3.6.1.2.1.1.3.0")
	}
	arcs := make([]uint32, len(parts))
	for i, p := range parts {
		v, err := strconv.ParseUint(p, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("%q is not a number from 0 to 4294967295", p)
		}
		arcs[i] = uint32(v)
	}
	if arcs[0] > 2 || (arcs[0] < 2 && arcs[1] >= 40) {
		return nil, fmt.Errorf("an object identifier cannot begin with %d.%d", arcs[0], arcs[1])
	}
	o := appendArc(make(oid, 0, len(arcs)+4), uint64(arcs[0])*40+uint64(arcs[1]))
	for _, a := range arcs[2:] {
		o = appendArc(o, uint64(a))
	}
	return o, nil
}

func appendArc(o oid, v uint64) oid {
	for shift := 63; shift > 0; shift -= 7 {
		if v>>shift != 0 {
			o = append(o, byte(v>>shift)|0x80)
		}
	}
	return append(o, byte(v)&0x7f)
}

// nextArc splits the first arc off; ok is false for an arc that is cut, padded or over 35 bits.
func nextArc(o oid) (v uint64, rest oid, ok bool) {
	for i, c := range o {
		if i == 0 && c == 0x80 || i == 5 {
			return 0, nil, false
		}
		v = v<<7 | uint64(c&0x7f)
		if c < 0x80 {
			return v, o[i+1:], true
		}
	}
	return 0, nil, false
}

// valid reports whether o is what an encoder would have written.
func (o oid) valid() bool {
	const top = math.MaxUint32
	v, rest, ok := nextArc(o)
	if !ok || v > top+80 {
		return false
	}
	for n := 2; len(rest) > 0; n++ {
		if v, rest, ok = nextArc(rest); !ok || v > top || n == maxArcs {
			return false
		}
	}
	return true
}

// validIndex reports whether the end of an object identifier is what an encoder would have written.
func (o oid) validIndex() bool {
	for len(o) > 0 {
		if o[0] < 0x80 {
			o = o[1:]
			continue
		}
		v, rest, ok := nextArc(o)
		if !ok || v > math.MaxUint32 {
			return false
		}
		o = rest
	}
	return true
}

// String gives the dotted form.
func (o oid) String() string {
	v, rest, ok := nextArc(o)
	if !ok {
		return ""
	}
	first := min(v/40, 2)
	b := strconv.AppendUint(make([]byte, 0, 4*len(o)), first, 10)
	b = append(b, '.')
	b = strconv.AppendUint(b, v-first*40, 10)
	if len(rest) > 0 {
		b = append(b, '.')
	}
	return string(appendDotted(b, rest))
}

// appendDotted appends the arcs of an index, that is of an object identifier without its beginning.
func appendDotted(b []byte, index oid) []byte {
	for first := true; len(index) > 0; first = false {
		v, rest, ok := nextArc(index)
		if !ok {
			return b
		}
		if !first {
			b = append(b, '.')
		}
		b, index = strconv.AppendUint(b, v, 10), rest
	}
	return b
}

// compare orders object identifiers arc by arc; both must be valid, or the ends of valid ones.
func compare(a, b oid) int {
	n := min(len(a), len(b))
	i := 0
	for i < n && a[i] == b[i] {
		i++
	}
	if i == n {
		return len(a) - len(b)
	}
	// They differ within an arc: without padding the longer arc is the larger one, and of equally long ones the
	// first octet that differs decides.
	if la, lb := arcEnd(a, i), arcEnd(b, i); la != lb {
		return la - lb
	}
	return int(a[i]) - int(b[i])
}

// arcEnd is where the arc that octet i belongs to ends.
func arcEnd(o oid, i int) int {
	for i < len(o) && o[i] >= 0x80 {
		i++
	}
	return i
}

// under returns what follows base in o; ok is false when o is base itself or lies elsewhere.
func (o oid) under(base oid) (index oid, ok bool) {
	if len(o) <= len(base) || string(o[:len(base)]) != string(base) {
		return nil, false
	}
	return o[len(base):], true
}
