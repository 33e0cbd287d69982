package simulate

import "time"

// SNMP error statuses (RFC 3416, 3).
const (
	statusOK         = 0
	statusTooBig     = 1
	statusNoSuchName = 2
	statusNoAccess   = 6
)

// agent answers SNMP requests. It holds scratch memory, so each goroutine
// needs its own; it keeps no state between requests.
type agent struct {
	maxMessage int
	community  string
	request    request
	arcs       []uint32
	cursors    []cursor
}

// accept decodes packet. It reports false for what an agent is silent about:
// no request, or a wrong community.
func (a *agent) accept(packet []byte) bool {
	return a.request.decode(packet) == nil && string(a.request.community) == a.community
}

// respond writes what device d says at now to the accepted request into buf,
// or into a larger buffer where that is too small. Nil is silence: a name in
// the request is no OID.
func (a *agent) respond(buf []byte, d *device, st *state, now time.Time) []byte {
	r := &a.request
	at := headroom(r.community)
	if cap(buf) < at {
		buf = make([]byte, at, at+a.maxMessage)
	}
	buf = buf[:at]
	c := clockOf(d, st, now)
	switch r.pdu {
	case pduGetBulk:
		return a.bulk(buf, at, &c)
	case pduSet:
		if r.version == version1 {
			return a.refuse(buf, at, statusNoSuchName, 1)
		}
		return a.refuse(buf, at, statusNoAccess, 1)
	default:
		return a.get(buf, at, &c)
	}
}

// get serves Get and GetNext.
func (a *agent) get(buf []byte, at int, c *clock) []byte {
	r := &a.request
	for i, name := range r.names {
		pos, found, ok := a.find(name, c)
		if !ok {
			return nil
		}
		switch {
		case found:
			buf = c.appendBinding(buf, &c.device.tree[pos])
		case r.version == version1:
			return a.refuse(buf, at, statusNoSuchName, i+1)
		case r.pdu == pduGetNext:
			buf = appendException(buf, name, tagEndOfMib)
		default:
			buf = appendException(buf, name, c.device.tree.missing(a.arcs, pos))
		}
		if len(buf) > a.maxMessage {
			return a.refuse(buf, at, statusTooBig, 0)
		}
	}
	return finish(buf, at, r, statusOK, 0)
}

// find looks up the object that Get or GetNext asks for with name. Counter64
// does not exist in SNMP v1, so v1 does not see such objects (RFC 2089, 2).
func (a *agent) find(name []byte, c *clock) (pos int, found, ok bool) {
	if a.arcs, ok = appendArcs(a.arcs[:0], name); !ok {
		return 0, false, false
	}
	t := c.device.tree
	v1 := a.request.version == version1
	if a.request.pdu == pduGetNext {
		pos = t.after(a.arcs)
		for v1 && pos < len(t) && t[pos].field.counter64() {
			pos++
		}
		return pos, pos < len(t), true
	}
	pos, found = t.seek(a.arcs)
	if found && v1 && t[pos].field.counter64() {
		found = false
	}
	return pos, found, true
}

// cursor is where one repeating name of a GetBulk stands: the next object, and
// the name it saw last, which is what an endOfMibView carries.
type cursor struct {
	pos  int
	name []byte
}

// bulk serves GetBulk (RFC 3416, 4.2.3). The response is cut where the next
// binding would exceed the maximum message size.
func (a *agent) bulk(buf []byte, at int, c *clock) []byte {
	r := &a.request
	t := c.device.tree
	nonRepeaters := min(max(int(r.nonRepeaters), 0), len(r.names))
	a.cursors = a.cursors[:0]
	for _, name := range r.names {
		var ok bool
		if a.arcs, ok = appendArcs(a.arcs[:0], name); !ok {
			return nil
		}
		a.cursors = append(a.cursors, cursor{t.after(a.arcs), name})
	}
	full := false
	step := func(cur *cursor) (ended bool) {
		before := len(buf)
		if ended = cur.pos >= len(t); ended {
			buf = appendException(buf, cur.name, tagEndOfMib)
		} else {
			o := &t[cur.pos]
			buf = c.appendBinding(buf, o)
			cur.name = o.name[2:]
			cur.pos++
		}
		if full = len(buf) > a.maxMessage; full {
			buf = buf[:before]
		}
		return ended
	}
	for i := 0; i < nonRepeaters && !full; i++ {
		step(&a.cursors[i])
	}
	repeaters := a.cursors[nonRepeaters:]
	for n := int32(0); n < r.maxRepetitions && !full; n++ {
		ended := true
		for i := 0; i < len(repeaters) && !full; i++ {
			ended = step(&repeaters[i]) && ended
		}
		if ended {
			break
		}
	}
	if full && len(buf) == at {
		return a.refuse(buf, at, statusTooBig, 0)
	}
	return finish(buf, at, r, statusOK, 0)
}

// refuse answers with an error status. The bindings come back as they were
// asked, except with tooBig in v2c, where the list is empty.
func (a *agent) refuse(buf []byte, at, status, index int) []byte {
	r := &a.request
	buf = buf[:at]
	if status != statusTooBig || r.version == version1 {
		buf = append(buf, r.bindings...)
	}
	return finish(buf, at, r, status, index)
}

// appendException writes a binding that has no value but a reason.
func appendException(b, name []byte, tag byte) []byte {
	start := len(b)
	b = append(b, tagSequence, 0, tagOID)
	b = appendLength(b, len(name))
	b = append(b, name...)
	b = append(b, tag, 0)
	return fixLength(b, start)
}
