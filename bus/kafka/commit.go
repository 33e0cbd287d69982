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
}

// run is the positions from and with begin up to and without end.
type run struct{ begin, end int64 }

const (
	markPrefix = "kemi1:"
	// maxMark is below Kafka's default of offset.metadata.max.bytes, 4096.
	maxMark = 4000
)

// encode returns the metadata for a commit of the position; complete is false when not all runs fit. What does not fit
// comes again after a crash.
func (m mark) encode(position int64) (text string, complete bool) {
	data := binary.AppendUvarint(nil, m.epoch)
	at := position
	for _, r := range m.done {
		grown := binary.AppendUvarint(data, uint64(r.begin-at))
		grown = binary.AppendUvarint(grown, uint64(r.end-r.begin))
		if len(markPrefix)+base64.RawStdEncoding.EncodedLen(len(grown)) > maxMark {
			return markPrefix + base64.RawStdEncoding.EncodeToString(data), false
		}
		data, at = grown, r.end
	}
	return markPrefix + base64.RawStdEncoding.EncodeToString(data), true
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
	at := position
	for !r.bad && len(r.data) > 0 {
		skip, n := r.next(), r.next()
		const most = 1 << 48
		if skip > most || n > most || n == 0 || at < 0 || at > 1<<62 {
			return mark{}, errMark
		}
		begin := at + int64(skip)
		m.done = append(m.done, run{begin, begin + int64(n)})
		at = begin + int64(n)
	}
	if r.bad {
		return mark{}, errMark
	}
	return m, nil
}
