package snmp

// request is what is asked in one packet.
type request struct {
	id        int32
	community string
	// scalars leading names are asked for once each (the non-repeaters of GETBULK), the others for up to repetitions
	// values that follow (RFC 3416, 4.2.3).
	names       []oid
	scalars     int
	repetitions int
}

// encode writes the request as a GETBULK of SNMP v2c into scratch, which it makes larger when needed, and returns the
// packet. It is written from its end, because lengths come before what they measure.
func (r *request) encode(scratch *[]byte) []byte {
	room := 64 + len(r.community)
	for _, n := range r.names {
		room += len(n) + 16
	}
	if len(*scratch) < room {
		*scratch = make([]byte, 2*room)
	}
	w := backward{buf: *scratch, at: len(*scratch)}
	for i := len(r.names) - 1; i >= 0; i-- {
		end := w.at
		w.bytes(tagNull, 0)
		w.octets(tagOID, r.names[i])
		w.header(tagSequence, end)
	}
	end := len(w.buf)
	w.header(tagSequence, end)
	w.integer(int64(r.repetitions))
	w.integer(int64(r.scalars))
	w.integer(int64(r.id))
	w.header(pduGetBulk, end)
	w.octets(tagOctets, []byte(r.community))
	w.integer(version2c)
	w.header(tagSequence, end)
	return w.buf[w.at:]
}

// backward writes BER from the end of buf towards its beginning.
type backward struct {
	buf []byte
	at  int
}

func (w *backward) bytes(b ...byte) {
	w.at -= len(b)
	copy(w.buf[w.at:], b)
}

func (w *backward) octets(tag byte, content []byte) {
	end := w.at
	w.at -= len(content)
	copy(w.buf[w.at:], content)
	w.header(tag, end)
}

// header writes tag and length of what was written since end.
func (w *backward) header(tag byte, end int) {
	n := end - w.at
	if n < 0x80 {
		w.bytes(tag, byte(n))
		return
	}
	octets := byte(0)
	for ; n > 0; n >>= 8 {
		w.at--
		w.buf[w.at] = byte(n)
		octets++
	}
	w.bytes(tag, 0x80|octets)
}

func (w *backward) integer(v int64) {
	end := w.at
	for {
		w.at--
		w.buf[w.at] = byte(v)
		if v >= -0x80 && v < 0x80 {
			break
		}
		v >>= 8
	}
	w.header(tagInteger, end)
}
