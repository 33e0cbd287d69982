package nats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/internal/pause"
)

// fenceToken begins, in each stream, the subjects that keep former owners out: <prefix>.<topic>.=fence.<group>.<topic it
// reads>.<partition>. No topic and no key makes such a token, and no reader's filter matches one.
//
// Whoever takes a partition over publishes there, in every stream it writes to, before it is told to be the owner. All it
// stores afterwards carries the condition that its record is still the last one on that subject; the server checks that
// when it stores, so that what a former owner had under way is refused, however long it was paused.
const fenceToken = "=fence"

// The headers of the condition. Source: NATS ADR-8 and nats-server 2.11.
const (
	headerExpected        = jetstream.ExpectedLastSubjSeqHeader
	headerExpectedSubject = "Nats-Expected-Last-Subject-Sequence-Subject"
)

// What a server says when the condition does not hold: another was the last, or it cannot tell yet because a message
// with a condition on the subject is under way.
const (
	errNotLast  = jetstream.JSErrCodeStreamWrongLastSequence
	errUnderWay = jetstream.ErrorCode(10164)
)

// fence is one lease's record in one stream.
type fence struct {
	l       *lease
	t       *topic
	subject string
	turn    chan struct{} // Holds one: who publishes to a replicated stream, which takes one conditional message at a time.

	mu  sync.Mutex
	seq uint64 // Of the record; 0 when there is none.
}

// fencing is what the record says: for people, and to let none with an older epoch follow. It is always of the same
// size, so that a full stream that keeps the newest of a key takes it too.
type fencing struct {
	Epoch string `json:"epoch"`
	Owner string `json:"owner"`
}

func (l *lease) fence(t *topic) *fence {
	l.fencing.Lock()
	defer l.fencing.Unlock()
	f := l.fences[t.stream]
	if f == nil || f.t != t {
		f = &fence{l: l, t: t, turn: make(chan struct{}, 1)}
		f.subject = t.before + fenceToken + "." + token(l.place.group) + "." + token(l.place.topic) + ".p" + strconv.Itoa(l.partition)
		if l.fences == nil {
			l.fences = map[string]*fence{}
		}
		l.fences[t.stream] = f
	}
	return f
}

// fenceAll keeps former owners out of every stream that the lease's owner writes to. One that is not there, or is full,
// is left for the first record that is published to it.
func (l *lease) fenceAll(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, l.o.d.tuning.lease)
	defer cancel()
	errs := make([]error, len(l.o.s.Writes))
	var all sync.WaitGroup
	for i, name := range l.o.s.Writes {
		all.Go(func() {
			t, err := l.o.d.topic(ctx, name)
			if err == nil && t.fences {
				_, err = l.fence(t).last(ctx)
			}
			if err = full(err); err != nil && !errors.Is(err, driver.ErrNoTopic) && !errors.Is(err, driver.ErrFull) {
				errs[i] = fmt.Errorf("keep former owners out of %s: %w", name, err)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// last is the sequence of the record, which is published when there is none. As others wait for it meanwhile, an answer
// that is lost is not waited for long: it is errUnanswered then, and whoever asks again finds what became of it.
func (f *fence) last(ctx context.Context) (seq uint64, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.seq != 0 {
		return f.seq, nil
	}
	stream := concerns(f.t.stream)
	about := func(subject string) bool { return subject == f.subject || stream(subject) }
	err = f.t.link.briefly(ctx, f.l.o.d.tuning.lease/2, about, func(ctx context.Context) error {
		seq, err = f.put(ctx)
		return err
	})
	return seq, err
}

// put publishes the record, with mu held.
func (f *fence) put(ctx context.Context) (uint64, error) {
	value, err := json.Marshal(fencing{Epoch: fmt.Sprintf("%020d", f.l.epoch), Owner: fmt.Sprintf("%-64.64s", f.l.o.name)})
	if err != nil {
		return 0, fmt.Errorf("encode fence: %w", err)
	}
	for range 20 {
		before, epoch, err := f.found(ctx)
		if err != nil {
			return 0, fmt.Errorf("read fence %s: %w", f.subject, err)
		}
		if epoch > f.l.epoch {
			f.l.o.over(f.l)
			return 0, driver.ErrFenced
		}
		m := &nats.Msg{Subject: f.subject, Data: value, Header: nats.Header{headerExpected: {strconv.FormatUint(before, 10)}}}
		seq, err := f.t.link.sendOne(ctx, m)
		switch {
		case err == nil:
			// Whoever was paused between taking the lease and this, and found no record because it went by age or by
			// size, learns here that it is late.
			if err := f.l.hold(ctx); err != nil {
				return 0, err
			}
			f.seq = seq
			return seq, nil
		case isMismatch(err):
			if !pause.For(ctx, time.Millisecond) {
				return 0, ctx.Err()
			}
		default:
			return 0, fmt.Errorf("write fence %s: %w", f.subject, err)
		}
	}
	return 0, fmt.Errorf("write fence %s: others write it all the time", f.subject)
}

// found is the last record on the subject: its sequence and epoch, 0 when there is none.
func (f *fence) found(ctx context.Context) (seq, epoch uint64, err error) {
	m, err := f.t.handle.GetLastMsgForSubject(ctx, f.subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, err
	}
	var there fencing
	if json.Unmarshal(m.Data, &there) == nil {
		epoch, _ = strconv.ParseUint(there.Epoch, 10, 64)
	}
	return m.Sequence, epoch, nil
}

// gone forgets the record of that sequence.
func (f *fence) gone(seq uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.seq == seq {
		f.seq = 0
	}
}

// store stores messages on the condition that nobody took the partition over, which the server checks. When the record
// it is checked by went by age or size, and the lease is still ours, it is written anew.
func (f *fence) store(ctx context.Context, msgs []*nats.Msg, batch bool) error {
	if f.t.replicated {
		select {
		case f.turn <- struct{}{}:
			defer func() { <-f.turn }()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	for {
		seq, err := f.last(ctx)
		if err != nil {
			return err
		}
		expected, subject := []string{strconv.FormatUint(seq, 10)}, []string{f.subject}
		for _, m := range msgs {
			m.Header[headerExpected], m.Header[headerExpectedSubject] = expected, subject
		}
		if f.t.replicated {
			err = f.storeInTurn(ctx, msgs)
		} else {
			err = f.t.link.send(ctx, msgs, batch, f.t.PerKey() > 0)
		}
		var api *jetstream.APIError
		switch {
		case !errors.As(err, &api):
			return err
		case api.ErrorCode == errUnderWay:
			if !pause.For(ctx, 2*time.Millisecond) {
				return err
			}
		case api.ErrorCode == errNotLast:
			if err := f.l.write(ctx, false); err != nil {
				return err
			}
			f.gone(seq)
		default:
			return err
		}
	}
}

// storeInTurn stores messages of a replicated stream: in one batch, or one after the other.
func (f *fence) storeInTurn(ctx context.Context, msgs []*nats.Msg) error {
	if len(msgs) > 1 && f.t.atomic {
		err := f.t.link.sendBatch(ctx, msgs)
		if !oneByOne(err, f.t.PerKey() > 0) {
			return err
		}
	}
	for i := range msgs {
		if err := f.t.link.send(ctx, msgs[i:i+1], false, false); err != nil {
			return err
		}
	}
	return nil
}
