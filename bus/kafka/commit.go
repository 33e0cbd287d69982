package kafka

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// mark is what is committed beside the position, in Kafka's metadata of the offset. It begins with markPrefix and the
// version, then come numbers in base64: the epoch, and for work the runs of what is done behind the position.
type mark struct {
	epoch uint64
	// done are runs of positions that are acknowledged although something before them is not.
	done []run
	// held are records that were handed out and are not acknowledged, and how often they were.
	held []held
}

// held is a record that was handed out.
type held struct {
	position int64
	attempts int
	due      int64 // When it comes again, in Unix seconds; 0 is at once.
}

// run is the positions from and with begin up to and without end.
type run struct{ begin, end int64 }

const (
	markPrefix = "kemi1:"
	// maxMark is below Kafka's default of offset.metadata.max.bytes, 4096.
	maxMark = 4000
)

// encode returns the metadata for a commit of the position; complete is false when not all runs of what is done fit. What
// does not fit comes again after a crash. What is held goes in as far as there is room: without it, it comes as if for the
// first time.
func (m mark) encode(position int64) (text string, complete bool) {
	fits := func(n int) bool { return len(markPrefix)+base64.RawStdEncoding.EncodedLen(n) <= maxMark }
	var runs []byte
	n, at := 0, position
	for _, r := range m.done {
		grown := binary.AppendUvarint(runs, uint64(r.begin-at))
		grown = binary.AppendUvarint(grown, uint64(r.end-r.begin))
		if !fits(len(grown) + 2*binary.MaxVarintLen64) {
			break
		}
		runs, at = grown, r.end
		n++
	}
	data := binary.AppendUvarint(nil, m.epoch)
	data = binary.AppendUvarint(data, uint64(n))
	data = append(data, runs...)
	at = position
	for _, h := range m.held {
		grown := binary.AppendUvarint(data, uint64(h.position-at))
		grown = binary.AppendUvarint(grown, uint64(h.attempts))
		grown = binary.AppendUvarint(grown, m.until(h.due))
		if !fits(len(grown)) {
			break
		}
		data, at = grown, h.position
	}
	return markPrefix + base64.RawStdEncoding.EncodeToString(data), n == len(m.done)
}

// until is a time as it is written: in seconds after the epoch, which is about when the owner began, so that it is short.
func (m mark) until(due int64) uint64 {
	if due <= 0 || uint64(due) <= m.epoch {
		return 0
	}
	return uint64(due) - m.epoch
}

var errMark = errors.New("the metadata of the offset is not Kemi's: does another program commit for this group?")

// parseMark reads what encode wrote for a position. No metadata at all is epoch 0, as others commit.
func parseMark(text string, position int64) (mark, error) {
	if text == "" {
		return mark{}, nil
	}
	body, ok := strings.CutPrefix(text, markPrefix)
	if !ok {
		return mark{}, fmt.Errorf("%w (%.20q)", errMark, text)
	}
	data, err := base64.RawStdEncoding.DecodeString(body)
	if err != nil {
		return mark{}, fmt.Errorf("%w (%.20q)", errMark, text)
	}
	r := numbers{data: data}
	m := mark{epoch: r.next()}
	const most = 1 << 48
	at := position
	for n := r.next(); n > 0 && !r.bad; n-- {
		skip, length := r.next(), r.next()
		if skip > most || length > most || length == 0 || at < 0 || at > 1<<62 {
			return mark{}, errMark
		}
		begin := at + int64(skip)
		m.done = append(m.done, run{begin, begin + int64(length)})
		at = begin + int64(length)
	}
	at = position
	for !r.bad && len(r.data) > 0 {
		skip, attempts, until := r.next(), r.next(), r.next()
		if skip > most || attempts > 1<<30 || until > most || at < 0 || at > 1<<62 {
			return mark{}, errMark
		}
		at += int64(skip)
		h := held{position: at, attempts: int(attempts)}
		if until > 0 && m.epoch < most {
			h.due = int64(m.epoch + until)
		}
		m.held = append(m.held, h)
	}
	if r.bad {
		return mark{}, errMark
	}
	return m, nil
}
