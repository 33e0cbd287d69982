package nats

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"

	"kemi.dev/kemi/bus/driver"
)

// Header names on the wire. What a record brings travels under its own name, unless NATS would act on it.
const (
	headerID      = nats.MsgIdHdr
	headerQuietID = "Kemi-Id" // The ID of a record of a Latest topic, of which the server is to drop none.
	headerRemoved = "Kemi-Removed"
	headerEpoch   = "Kemi-Epoch"
	headerShield  = "Kemi-Header-"
)

// maxSubject keeps a subject well inside what a server reads as one control line (4 KiB).
const maxSubject = 2048

// room is what a batch's own headers and the driver's may add to a record.
const room = 1024

// encode makes the message of a record.
func (t *topic) encode(r *driver.Record, fence *driver.Fence, maxPayload int64) (*nats.Msg, error) {
	if r.Partition < 0 || r.Partition >= t.Partitions {
		return nil, fmt.Errorf("partition %d of %d", r.Partition, t.Partitions)
	}
	if strings.IndexByte(r.Key, 0) >= 0 {
		return nil, fmt.Errorf("key %q has a NUL", r.Key)
	}
	m := &nats.Msg{Subject: t.subject(r.Partition, r.Key), Data: r.Value, Header: make(nats.Header, len(r.Headers)+3)}
	if len(m.Subject) > maxSubject {
		return nil, fmt.Errorf("a key of %d bytes: %w", len(r.Key), driver.ErrTooLarge)
	}
	size := len(r.Value)
	for _, h := range r.Headers {
		if !isName(h.Name) {
			return nil, fmt.Errorf("header name %q is not a token", h.Name)
		}
		name, value := shield(h.Name), escape(h.Value)
		m.Header[name] = append(m.Header[name], value)
		size += len(name) + len(value) + 4
	}
	if r.ID != "" {
		name := headerID
		if t.Kind == driver.Latest {
			name = headerQuietID
		}
		m.Header[name] = []string{escape(r.ID)}
		size += len(name) + len(r.ID) + 4
	}
	if r.Value == nil {
		m.Header[headerRemoved] = []string{"1"}
	}
	if fence != nil {
		// For people who look into a stream: under which ownership this was said.
		m.Header[headerEpoch] = []string{escape(fence.Topic) + "/" + strconv.Itoa(fence.Partition) + " " + escape(fence.Group) + " " + strconv.FormatUint(fence.Epoch, 10)}
	}
	if int64(size+room) > maxPayload {
		return nil, fmt.Errorf("%d bytes, the server takes %d: %w", size, maxPayload-room, driver.ErrTooLarge)
	}
	return m, nil
}

// decode makes the record of a message. It owns the message's bytes.
func (t *topic) decode(m *nats.Msg) (driver.Record, error) {
	r := driver.Record{Topic: t.Name}
	rest, ours := strings.CutPrefix(m.Subject, t.before+"p")
	partition, key, whole := strings.Cut(rest, ".")
	var err error
	if r.Partition, err = strconv.Atoi(partition); !ours || !whole || err != nil || r.Partition < 0 || r.Partition >= t.Partitions {
		return r, fmt.Errorf("read subject %q of topic %s: no such partition", m.Subject, t.Name)
	}
	// Others write to our subjects, too: a token that is none of ours is the key as it is. Whether the record is one the bus
	// decides, which keeps what it cannot read.
	if r.Key, err = untoken(key); err != nil {
		r.Key = key
	}
	if r.Value = m.Data; r.Value == nil {
		r.Value = []byte{}
	}
	for name, values := range m.Header {
		switch {
		case name == headerID || name == headerQuietID:
			r.ID = unescape(values[0])
		case name == headerRemoved:
			if len(r.Value) == 0 {
				r.Value = nil
			}
		case name == headerEpoch || isNats(name):
		default:
			name = strings.TrimPrefix(name, headerShield)
			for _, v := range values {
				r.Headers = append(r.Headers, driver.Header{Name: name, Value: unescape(v)})
			}
		}
	}
	if len(r.Headers) > 1 {
		slices.SortStableFunc(r.Headers, func(a, b driver.Header) int { return strings.Compare(a.Name, b.Name) })
	}
	return r, nil
}

// isNats reports whether NATS might act on a header.
func isNats(name string) bool { return len(name) >= 5 && strings.EqualFold(name[:5], "nats-") }

// shield keeps a record's header from meaning something to NATS, or to this driver.
func shield(name string) string {
	if isNats(name) || len(name) >= 5 && strings.EqualFold(name[:5], "kemi-") && (name == headerQuietID || name == headerRemoved || name == headerEpoch || strings.HasPrefix(name, headerShield)) {
		return headerShield + name
	}
	return name
}

// isName reports whether a header name is a token as RFC 9110, 5.6.2 says.
func isName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return false
		}
	}
	return s != ""
}

// escape writes as %XX what a header line cannot carry: controls, and spaces at its ends; and the % itself.
func escape(s string) string {
	needs := func(i int) bool {
		c := s[i]
		return c < ' ' || c == 0x7f || c == '%' || c == ' ' && (i == 0 || i == len(s)-1)
	}
	for i := range len(s) {
		if !needs(i) {
			continue
		}
		var b strings.Builder
		for i := range len(s) {
			if needs(i) {
				fmt.Fprintf(&b, "%%%02X", s[i])
			} else {
				b.WriteByte(s[i])
			}
		}
		return b.String()
	}
	return s
}

// unescape is the inverse of escape; what others wrote with a lone % stays.
func unescape(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+3 <= len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				out = append(out, byte(c))
				i += 2
				continue
			}
		}
		out = append(out, s[i])
	}
	return string(out)
}

// errBroken: a server's answer is not what it should be.
var errBroken = errors.New("the answer of the server is not understood")
