package nats

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"kemi.dev/kemi/bus/driver"
)

// A server that replicates a stream looks whether a message fits before it knows what goes for it: a full stream that keeps
// the newest of each key would take nothing at all any more, not even that a thing is gone (nats-server 2.10 to 2.15 answer
// with 10077, maximum bytes exceeded). So an eighth of such a stream is a reserve in which only what replaces something is
// stored. Which records those are the driver asks, and only when the rest is nearly full.

// reserve is how many bytes may be published without a question.
type reserve struct {
	turn   chan struct{} // Holds one: who looks at the credit, or asks.
	credit atomic.Int64
	until  time.Time
}

// reserves says whether the topic's stream has a reserve.
func (t *topic) reserves() bool {
	return t.replicated && !t.DropOldest && t.MaxBytes > 0 && t.PerKey() > 0
}

// capacity is how many bytes of the topic keys may take that were not there yet; 0 is any number.
func (t *topic) capacity() int64 {
	if t.reserves() {
		return t.MaxBytes - t.MaxBytes/8
	}
	return t.MaxBytes
}

// credit is how many bytes are published before it is asked again how full the stream is. Others publish at the same
// time, on what they were told before: up to five fill no more than the reserve however that falls, and of more none
// believes what it was told for longer than a second.
func credit(used, capacity int64) int64 { return max(0, capacity-used) / 32 }

// believed is how long a credit is good for.
const believed = time.Second

// held is what a stream has of a key: whether there is any, and the size of what goes when a newer one comes.
type held struct {
	there bool
	goes  int64
}

// fits decides whether a record is stored. One for which another as large goes always is; one of a known key that is larger
// may take of the first half of the reserve.
func fits(used, limit, size int64, key held) bool {
	return used+size <= limit-limit/8 || key.there && used+size-key.goes <= limit-limit/16 || size <= key.goes
}

// within counts the messages from the first on that are together no larger than the credit, and their bytes.
func within(msgs []*nats.Msg, credit int64) (n int, bytes int64) {
	for _, m := range msgs {
		size := sizeOf(m.Subject, m.Header, m.Data)
		if bytes+size > credit {
			break
		}
		n, bytes = n+1, bytes+size
	}
	return n, bytes
}

// admit says how many of the messages, from the first on, may be sent now: at least one, else ErrFull.
func (t *topic) admit(ctx context.Context, msgs []*nats.Msg) (int, error) {
	if !t.reserves() {
		return len(msgs), nil
	}
	select {
	case t.reserve.turn <- struct{}{}:
		defer func() { <-t.reserve.turn }()
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	n, bytes := within(msgs, t.reserve.credit.Load())
	if n == len(msgs) && time.Now().Before(t.reserve.until) {
		t.reserve.credit.Add(-bytes)
		return n, nil
	}
	t.reserve.until = time.Now().Add(believed)
	used, key, err := t.holds(ctx, msgs[0].Subject)
	if err != nil {
		return 0, fmt.Errorf("ask how full stream %s is: %w", t.stream, err)
	}
	left := credit(used, t.capacity())
	if n, bytes = within(msgs, left); n > 0 {
		t.reserve.credit.Store(left - bytes)
		return n, nil
	}
	t.reserve.credit.Store(0)
	if size := sizeOf(msgs[0].Subject, msgs[0].Header, msgs[0].Data); !fits(used, t.MaxBytes, size, key) {
		return 0, fmt.Errorf("%d of %d bytes of stream %s are used, and the rest is for what replaces something as large: %w", used, t.MaxBytes, t.stream, driver.ErrFull)
	}
	return 1, nil
}

// holds asks how many bytes the stream uses, and what it has of a subject.
func (t *topic) holds(ctx context.Context, subject string) (used int64, key held, err error) {
	err = t.link.call(ctx, t.stream, func(ctx context.Context) error {
		info, err := t.handle.Info(ctx, jetstream.WithSubjectFilter(subject))
		if err != nil {
			return err
		}
		records := info.State.Subjects[subject]
		used, key = int64(info.State.Bytes), held{there: records > 0}
		if records < uint64(t.PerKey()) {
			return nil
		}
		oldest, err := t.handle.GetMsg(ctx, 1, jetstream.WithGetMsgSubject(subject))
		if errors.Is(err, jetstream.ErrMsgNotFound) { // It went meanwhile.
			return nil
		}
		if err == nil {
			key.goes = sizeOf(oldest.Subject, oldest.Header, oldest.Data)
		}
		return err
	})
	return used, key, err
}

// sizeOf is the size of a message but for what is the same for all, and for what a fence adds.
func sizeOf(subject string, h nats.Header, data []byte) int64 {
	size := len(subject) + len(data)
	for name, values := range h {
		if name == headerEpoch || strings.HasPrefix(name, headerExpected) {
			continue
		}
		for _, v := range values {
			size += len(name) + len(v) + 4
		}
	}
	return int64(size)
}
