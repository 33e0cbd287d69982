package nats

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/internal/pause"
)

const (
	inBatch   = 1000 // Messages a server takes in one atomic batch.
	batchFrom = 40   // A batch costs some 25 ms, a synced message by itself 0.4 to 1 ms (measured with 2.15).
	underWay  = 4000 // Messages that are sent before their answers are awaited.
	tryPeriod = 100 * time.Millisecond
)

// parcel is what one Publish has for one topic.
type parcel struct {
	t    *topic
	msgs []*nats.Msg
}

// Publish implements driver.Driver. While the servers are away it waits for them, until the context's deadline or, when it
// has none, for 30 s.
//
// A fence is checked twice. First against the lease this driver holds: whether it was renewed recently enough, by the
// local monotonic clock, that nobody else can own the partition yet; an older one is renewed first, by compare-and-swap.
// Nothing is buffered for a later connection. Then by the server, when it stores the record (see fence.go): that covers a
// process that was stopped between the check and the write to its socket, and a machine whose clock stood still. A server
// before 2.11, or a stream made by an older Kemi, does not do that: there such records are stored after the hand-over.
// They carry the old epoch in the header Kemi-Epoch, and have identities, so that whoever reads them can tell.
func (d *Driver) Publish(ctx context.Context, records []driver.Record, fence *driver.Fence) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	ctx, cancel, err := d.ready(ctx)
	defer cancel()
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	if len(records) == 0 {
		if _, err := d.guard(ctx, fence); err != nil {
			return fmt.Errorf("ask for %w", err)
		}
		return nil
	}
	parcels, err := d.pack(ctx, records, fence)
	if err == nil {
		err = d.short(parcels)
	}
	if err != nil {
		return err
	}
	for _, p := range parcels {
		if err := d.deliver(ctx, p, fence); err != nil {
			if d.isClosed() {
				err = errors.Join(driver.ErrClosed, err)
			}
			return fmt.Errorf("publish %d to %s: %w", len(p.msgs), p.t.Name, p.t.link.explain(err))
		}
	}
	return nil
}

// pack encodes everything before anything is sent.
func (d *Driver) pack(ctx context.Context, records []driver.Record, fence *driver.Fence) ([]*parcel, error) {
	var parcels []*parcel
	var last *parcel
	for i := range records {
		r := &records[i]
		if last == nil || last.t.Name != r.Topic {
			last = nil
			for _, p := range parcels {
				if p.t.Name == r.Topic {
					last = p
				}
			}
		}
		if last == nil {
			t, err := d.topic(ctx, r.Topic)
			if err != nil {
				return nil, fmt.Errorf("publish to %s: %w", r.Topic, err)
			}
			last = &parcel{t: t, msgs: make([]*nats.Msg, 0, len(records))}
			parcels = append(parcels, last)
		}
		m, err := last.t.encode(r, fence, last.t.link.nc.MaxPayload())
		if err != nil {
			return nil, fmt.Errorf("publish %.100q to %s: %w", r.Key, r.Topic, err)
		}
		last.msgs = append(last.msgs, m)
	}
	return parcels, nil
}

// deliver stores one topic's messages in order.
func (d *Driver) deliver(ctx context.Context, p *parcel, fence *driver.Fence) error {
	atOnce := underWay
	batch := p.t.Sync && p.t.atomic
	if batch || p.t.replicated {
		atOnce = inBatch
	}
	for len(p.msgs) > 0 {
		some := p.msgs[:min(len(p.msgs), atOnce)]
		for refused := 0; ; {
			if err := p.t.link.connected(ctx); err != nil {
				return err
			}
			n, err := p.t.admit(ctx, some)
			l, over := d.guard(ctx, fence)
			if over != nil {
				return over
			}
			if err == nil {
				some = some[:n]
				if l != nil && p.t.fences {
					err = l.fence(p.t).store(ctx, some, batch)
				} else {
					err = p.t.link.send(ctx, some, batch, p.t.PerKey() > 0)
				}
				if errors.Is(full(err), driver.ErrFull) && p.t.reserves() {
					p.t.reserve.credit.Store(0)
					// What others have under way may fill the reserve for a moment.
					if refused++; refused < 10 && pause.For(ctx, time.Duration(refused)*time.Millisecond) {
						continue
					}
				}
			}
			if err == nil {
				p.t.link.stores()
				break
			}
			if !unheard(err) {
				return full(err)
			}
			// No stream answered: it is gone, its server is just starting or away, or its cluster is choosing a leader.
			p.t.link.note(p.t.stream, err, time.Now())
			err = fmt.Errorf("nobody answers for stream %s (its server is away, or more than half of the cluster's are): %w", p.t.stream, err)
			d.unknow(p.t)
			if _, err := d.seek(ctx, p.t.Name); errors.Is(err, driver.ErrNoTopic) || errors.As(err, new(*refusal)) {
				return err
			}
			if !pause.For(ctx, tryPeriod) {
				return err
			}
		}
		p.msgs = p.msgs[len(some):]
	}
	return nil
}

// unheard says that nobody took what was sent, as far as one can tell, and that it is to be sent again.
func unheard(err error) bool {
	return errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, errUnanswered) ||
		errors.Is(err, nats.ErrReconnectBufExceeded) // The connection was lost just now.
}

// send stores messages of one stream: in one atomic batch, or one after the other without waiting in between. replaces
// says that a message may go for each: a full stream refuses their batch, yet takes them one by one.
func (l *link) send(ctx context.Context, msgs []*nats.Msg, batch, replaces bool) error {
	ctx, done := l.during(ctx, func(subject string) bool {
		return slices.ContainsFunc(msgs, func(m *nats.Msg) bool { return m.Subject == subject })
	})
	defer done()
	if len(msgs) == 1 {
		_, err := l.sendOne(ctx, msgs[0])
		return err
	}
	if batch && len(msgs) >= batchFrom {
		if err := l.sendBatch(ctx, msgs); !oneByOne(err, replaces) {
			return err
		}
	}
	return l.sendEach(ctx, msgs)
}

// sendOne stores a message and gives its sequence.
func (l *link) sendOne(ctx context.Context, m *nats.Msg) (uint64, error) {
	ctx, _, done := l.answering(ctx)
	defer done()
	answer, err := l.nc.RequestMsgWithContext(ctx, m)
	if err != nil {
		return 0, ended(ctx, err)
	}
	return acked(answer)
}

// oneByOne says that what was refused as a batch may be taken message by message.
func oneByOne(err error, replaces bool) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && (errNotAsBatch[api.ErrorCode] || replaces && api.ErrorCode == errFull)
}

// errFull: the stream is over its limit.
const errFull jetstream.ErrorCode = 10077

// The errors of a batch as such, after which its records are stored one by one: 10175 to 10177 and 10179 malformed or
// lost on the way, 10199 too large, 10201 an ID of it was stored shortly before, 10210 too many batches at once.
var errNotAsBatch = map[jetstream.ErrorCode]bool{10174: true, 10175: true, 10176: true, 10177: true, 10179: true, 10199: true, 10201: true, 10210: true}

// sendBatch stores messages all or none, with one fsync. Source: NATS ADR-50.
func (l *link) sendBatch(ctx context.Context, msgs []*nats.Msg) error {
	id := nuid.Next()
	inbox := l.nc.NewInbox()
	// One answer comes, or one for each that is wrong. SubscribeSync would make room for 65,536.
	answers := make(chan *nats.Msg, len(msgs))
	sub, err := l.nc.ChanSubscribe(inbox, answers)
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }()
	for i, m := range msgs {
		// The messages stay as they are, for another attempt.
		h := make(nats.Header, len(m.Header)+3)
		for k, v := range m.Header {
			if i == 0 || k != headerExpected && k != headerExpectedSubject { // All or none: one condition is enough.
				h[k] = v
			}
		}
		h["Nats-Batch-Id"], h["Nats-Batch-Sequence"] = []string{id}, []string{strconv.Itoa(i + 1)}
		out := &nats.Msg{Subject: m.Subject, Data: m.Data, Header: h}
		if i == len(msgs)-1 {
			h["Nats-Batch-Commit"] = []string{"1"}
			out.Reply = inbox
		}
		if err := l.nc.PublishMsg(out); err != nil {
			return err
		}
	}
	ctx, _, done := l.answering(ctx)
	defer done()
	select {
	case m := <-answers:
		_, err = acked(m)
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// sendEach stores messages one by one and waits for all answers.
func (l *link) sendEach(ctx context.Context, msgs []*nats.Msg) error {
	inbox := l.nc.NewInbox()
	answers := make(chan *nats.Msg, len(msgs))
	sub, err := l.nc.ChanSubscribe(inbox, answers)
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }()
	for _, m := range msgs {
		if err := l.nc.PublishMsg(&nats.Msg{Subject: m.Subject, Data: m.Data, Header: m.Header, Reply: inbox}); err != nil {
			return err
		}
	}
	ctx, heard, done := l.answering(ctx)
	defer done()
	var first error
	for range msgs {
		select {
		case m := <-answers:
			heard()
			if _, err := acked(m); err != nil && first == nil {
				first = err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return first
}

// ended prefers the reason why the context ended.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// acked reads the answer to one message: the sequence it has.
func acked(m *nats.Msg) (uint64, error) {
	if len(m.Data) == 0 && m.Header.Get("Status") == "503" {
		return 0, nats.ErrNoResponders
	}
	if seq := sequence(m.Data); seq > 0 {
		return seq, nil
	}
	var answer struct {
		Error    *jetstream.APIError `json:"error"`
		Stream   string              `json:"stream"`
		Sequence uint64              `json:"seq"`
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return 0, errors.Join(errBroken, err)
	}
	switch {
	case answer.Error != nil:
		return 0, answer.Error
	case answer.Stream == "" || answer.Sequence == 0:
		return 0, errBroken
	}
	return answer.Sequence, nil
}

// sequence reads the usual answers, {"stream":"…","seq":7} and that to a duplicate; 0 when it is another. There is one for
// each record, and most of the time that JSON takes is saved.
func sequence(answer []byte) uint64 {
	rest, ok := bytes.CutPrefix(answer, []byte(`{"stream":"`))
	name := bytes.IndexByte(rest, '"')
	if !ok || name < 1 {
		return 0
	}
	rest, ok = bytes.CutPrefix(rest[name:], []byte(`","seq":`))
	if !ok {
		rest, ok = bytes.CutPrefix(rest, []byte(`", "seq":`))
	}
	if !ok {
		return 0
	}
	var seq uint64
	for i, c := range rest {
		if c < '0' || c > '9' {
			if end := string(rest[i:]); end == "}" || end == `,"duplicate": true}` {
				return seq
			}
			return 0
		}
		if i > 18 {
			return 0
		}
		seq = seq*10 + uint64(c-'0')
	}
	return 0
}

// full turns what a server says into the driver's words. 10077 is a stream over its limit; 10002, 10023, 10028 and
// 10047 are an account or a server over its own; 10054 is a message over the stream's limit.
func full(err error) error {
	if errors.Is(err, nats.ErrMaxPayload) {
		return fmt.Errorf("%w: %w", driver.ErrTooLarge, err)
	}
	if errors.Is(err, nats.ErrConnectionClosed) {
		return fmt.Errorf("%w: %w", driver.ErrClosed, err)
	}
	var api *jetstream.APIError
	if errors.As(err, &api) {
		switch api.ErrorCode {
		case errFull, 10002, errResources, 10028, 10047:
			return fmt.Errorf("%w: %w", driver.ErrFull, err)
		case 10054:
			return fmt.Errorf("%w: %w", driver.ErrTooLarge, err)
		}
	}
	return err
}
