package snmp

import (
	"bytes"
	"encoding/hex"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxText is how many octets of a string are kept. What MIBs call text has at most 255 (RFC 2579, DisplayString).
const maxText = 1024

// isException reports whether the binding has a reason in the place of a value (RFC 3416, 3).
func (b *binding) isException() bool {
	return b.tag == tagNoObject || b.tag == tagNoInstance || b.tag == tagEndOfMib || b.tag == tagNull
}

// counter returns the value as a count; ok is false when it is none.
func (b *binding) counter() (v uint64, ok bool) {
	switch b.tag {
	case tagCounter64:
		return unsigned(b.value)
	case tagCounter32, tagGauge32, tagTimeTicks, tagUinteger32:
		return unsigned32(b.value)
	case tagInteger:
		n, ok := signed(b.value)
		return uint64(n), ok && n >= 0
	case tagOctets: // Some agents write 64-bit counts as text.
		if len(b.value) > maxText {
			return 0, false
		}
		n, err := strconv.ParseUint(text(b.value), 10, 64)
		return n, err == nil
	}
	return 0, false
}

// unsigned32 is unsigned for the types of 32 bits.
func unsigned32(content []byte) (uint64, bool) {
	v, ok := unsigned(content)
	return v, ok && v <= math.MaxUint32
}

// gauge returns the value as a number; ok is false when it is none.
func (b *binding) gauge() (v float64, ok bool) {
	switch b.tag {
	case tagInteger:
		n, ok := signed(b.value)
		return float64(n), ok
	case tagCounter64:
		n, ok := unsigned(b.value)
		return float64(n), ok
	case tagCounter32, tagGauge32, tagTimeTicks, tagUinteger32:
		n, ok := unsigned32(b.value)
		return float64(n), ok
	case tagOctets: // UCD-SNMP-MIB and many sensors write numbers as text.
		if len(b.value) > maxText {
			return 0, false
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(text(b.value)), 64)
		return n, err == nil && !math.IsNaN(n) && !math.IsInf(n, 0)
	case tagOpaque:
		return opaque(b.value)
	}
	return 0, false
}

// opaque reads the floats that net-snmp wraps in an Opaque: 9f 78 04 and four octets, or 9f 79 08 and eight
// (draft-perkins-float).
func opaque(content []byte) (float64, bool) {
	var v float64
	switch {
	case len(content) == 7 && bytes.HasPrefix(content, []byte{0x9f, 0x78, 4}):
		n, _ := unsigned(content[3:])
		v = float64(math.Float32frombits(uint32(n)))
	case len(content) == 11 && bytes.HasPrefix(content, []byte{0x9f, 0x79, 8}):
		n, _ := unsigned(content[3:])
		v = math.Float64frombits(n)
	default:
		return 0, false
	}
	return v, !math.IsNaN(v) && !math.IsInf(v, 0)
}

// text returns the value as people read it; ok is false when it has no such form.
func (b *binding) text() (s string, ok bool) {
	switch b.tag {
	case tagOctets:
		return text(b.value), true
	case tagOID:
		return oid(b.value).String(), oid(b.value).valid()
	case tagIPAddress:
		a, ok := netip.AddrFromSlice(b.value)
		return a.String(), ok
	case tagInteger:
		n, ok := signed(b.value)
		return strconv.FormatInt(n, 10), ok
	case tagOpaque:
		v, ok := opaque(b.value)
		return strconv.FormatFloat(v, 'g', -1, 64), ok
	}
	n, ok := b.counter()
	return strconv.FormatUint(n, 10), ok
}

// long reports whether text leaves out part of the value.
func (b *binding) long() bool { return b.tag == tagOctets && len(bare(b.value)) > maxText }

// bare is an octet string without what pads its end.
func bare(octets []byte) []byte { return bytes.TrimRight(octets, "\x00 \t\r\n") }

// text is an octet string as it is when it is UTF-8 that can be shown (without what pads its end), else its octets in
// hexadecimal as MIBs write them: 00:1b:21:0a:ff:01. What is long is cut, not within a letter.
func text(octets []byte) string {
	trimmed := bare(octets)
	if len(trimmed) > maxText {
		end := maxText
		for end > maxText-utf8.UTFMax && !utf8.RuneStart(trimmed[end]) {
			end--
		}
		trimmed = trimmed[:end]
	}
	if utf8.Valid(trimmed) && bytes.IndexFunc(trimmed, unshowable) < 0 {
		return string(trimmed)
	}
	octets = octets[:min(len(octets), maxText)]
	out := make([]byte, 0, 3*len(octets))
	for i := range octets {
		if i > 0 {
			out = append(out, ':')
		}
		out = hex.AppendEncode(out, octets[i:i+1])
	}
	return string(out)
}

func unshowable(r rune) bool { return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0x7f }
