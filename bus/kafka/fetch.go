package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/listoffsets"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/internal/pause"
)

// fetchBytes is how many bytes one fetch takes; a batch that is larger comes all the same.
const fetchBytes = 1 << 20

// readCommitted leaves out what is in a transaction that has not ended.
const readCommitted = 1

// reader reads one partition in order, what counts of it. One goroutine uses it at a time.
type reader struct {
	d         *Driver
	t         *topic
	partition int
	next      int64 // The offset to read next.

	decoder decoder
	said    string // What was last said about an error, not to say it again and again.
	damaged int    // How often the batch that is next was not what was written.
	hole    int64  // Up to where the last answer should have had something, and had nothing.
	strict  bool   // Who is refused is told; else it is logged, and may change.
	era     uint64 // Which log is read.
	begun   int    // How often it began anew.
	went    bool   // Something was read of it.
	tell    func() // Is told so, when given.
	near    *int32 // The replica that the leader would rather have us read from; nil is the leader itself. Source: KIP-392.
}

// page is what one fetch brought.
type page struct {
	ds   []driver.Delivery
	next int64 // The offset after the page.
	// Offsets: the first one there is, the first one of a transaction that has not ended, and the one after the last record.
	start, stable, high int64
}

func newReader(d *Driver, t *topic, partition int, from int64) *reader {
	return &reader{d: d, t: t, partition: partition, next: max(from, 0), era: t.era(), decoder: decoder{t: t, partition: partition}}
}

// fetch reads what is next: something, or nothing after a while. A log that began anew is read from its beginning. While the brokers are away it waits for them; its only
// error is that of ctx, and of a strict reader a refusal.
func (r *reader) fetch(ctx context.Context) (page, error) {
	for {
		if era := r.t.era(); era != r.era {
			r.anew(era)
		}
		p, err := r.once(ctx)
		switch {
		case err == nil && r.t.era() != r.era:
			continue // It may be the midst of a new log.
		case err == nil:
			r.said, r.went = "", true
			return p, nil
		case ctx.Err() != nil:
			return page{}, ctx.Err()
		case r.strict && refused(err):
			return page{}, err
		}
		var said kafkago.Error
		if errors.As(err, &said) {
			r.trouble(explain(err))
		}
		r.d.link.stale(r.t.name)
		r.near = nil
		if !pause.For(ctx, r.d.tuning.again) {
			return page{}, ctx.Err()
		}
	}
}

// trouble logs what a broker says, once.
func (r *reader) trouble(err error) {
	if text := err.Error(); text != r.said {
		r.said = text
		level := r.d.scope.Log().Warn
		if passing(err) || errors.Is(err, kafkago.UnknownTopicOrPartition) { // Who looks after the topics says that.
			level = r.d.scope.Log().Debug
		}
		level("read a partition again", "topic", r.t.Name, "partition", r.partition, "position", positionOf(r.next), "err", err)
	}
}

// once asks the leader once.
func (r *reader) once(ctx context.Context) (page, error) {
	ctx, cancel := context.WithTimeout(ctx, r.d.tuning.poll+r.d.tuning.answer)
	defer cancel()
	node, err := r.d.link.leader(ctx, r.t.name, r.partition)
	if err != nil {
		return page{}, err
	}
	if r.near != nil {
		node = *r.near
	}
	answer, err := r.d.link.send(ctx, r.request(node))
	if err != nil {
		return page{}, fmt.Errorf("fetch: %w", err)
	}
	a, err := parseFetch(answer)
	switch {
	case err != nil:
		return page{}, fmt.Errorf("fetch: %w", err)
	case a.code == kafkago.OffsetOutOfRange:
		return page{}, r.outOfRange(ctx)
	case a.code != 0:
		return page{}, fmt.Errorf("fetch: %w", a.code)
	case !a.whole: // A quota is used up: the broker says when to come again.
		pause.For(ctx, a.throttle)
		return page{next: r.next}, ctx.Err()
	}
	return r.turn(a, node)
}

// turn takes in the answer of a broker, or turns to the one that it would rather have us read from: it gives nothing itself.
func (r *reader) turn(a fetched, node int32) (page, error) {
	if a.near >= 0 && a.near != node {
		r.near = &a.near
		return page{next: r.next, start: a.start, stable: a.stable, high: a.high}, nil
	}
	p, err := r.read(a)
	if err == nil && r.near == nil { // Only the leader knows that there is nothing.
		r.leap(&p, len(a.records))
	}
	return p, err
}

// leap passes over offsets at which nothing is left: what ended a log may have been cleaned up, and no batch says so. It is
// not believed before it was seen twice.
func (r *reader) leap(p *page, bytes int) {
	switch {
	case bytes > 0 || p.stable <= r.next:
		r.hole = 0
	case r.hole > r.next:
		r.next, p.next, r.hole = r.hole, r.hole, 0
	default:
		r.hole = p.stable
	}
}

// request asks one leader for what is next.
func (r *reader) request(node int32) *message {
	m := r.d.link.newMessage(protocol.Fetch, versionFetch, node, 128)
	m.int32(-1) // Not a replica.
	m.int32(int32(r.d.tuning.poll.Milliseconds()))
	m.int32(1) // Bytes that are worth an answer.
	m.int32(fetchBytes)
	m.int8(readCommitted)
	m.int32(0)  // No session:
	m.int32(-1) // every request says everything.
	m.length(1)
	m.text(r.t.name)
	m.length(1)
	m.int32(int32(r.partition))
	m.int32(-1) // The leader's epoch: not known.
	m.int64(r.next)
	m.int64(-1) // Only replicas say where their log begins.
	m.int32(fetchBytes)
	m.length(0) // Nothing to forget.
	m.text(r.d.config.Rack)
	return m
}

// fetched is the answer to a fetch of one partition.
type fetched struct {
	whole               bool // It is about the partition.
	throttle            time.Duration
	code                kafkago.Error
	high, stable, start int64
	aborted             []aborted
	near                int32 // The replica that the broker would rather have read from; -1 is itself.
	records             []byte
}

func parseFetch(p *parser) (fetched, error) {
	a := fetched{near: -1, throttle: time.Duration(p.int32()) * time.Millisecond, code: kafkago.Error(p.int16())}
	_ = p.int32() // The session.
	if n := p.length(6); n != 1 {
		return a, p.err()
	}
	a.whole = true
	_ = p.text()
	if n := p.length(4); n != 1 && p.err() == nil {
		return a, fmt.Errorf("an answer about %d partitions: %w", n, errNonsense)
	}
	_ = p.int32()
	a.code = kafkago.Error(p.int16())
	a.high, a.stable, a.start = p.int64(), p.int64(), p.int64()
	for range p.length(16) {
		a.aborted = append(a.aborted, aborted{p.int64(), p.int64()})
	}
	a.near = p.int32()
	if n := p.int32(); n > 0 {
		a.records = p.take(int(n))
	}
	return a, p.err()
}

// read takes out of an answer what counts, and moves on.
func (r *reader) read(a fetched) (page, error) {
	p := page{start: a.start, stable: a.stable, high: a.high}
	f := filter{todo: a.aborted}
	for data := a.records; len(data) > 0; {
		h, body, rest, err := nextBatch(data)
		if errors.Is(err, errTorn) {
			break // The answer was full; the rest comes with the next one.
		}
		if err == nil && h.last >= r.next {
			counts := f.counts(h, body)
			if counts {
				if body, err = h.unpack(body); err == nil {
					p.ds, err = r.decoder.decode(h, body, r.next, p.ds)
				}
			}
		}
		if err != nil {
			if len(p.ds) > 0 { // What was good comes first; the next fetch begins with this one.
				break
			}
			if err := r.skip(h, err); err != nil {
				return page{}, err
			}
		}
		r.next, r.damaged = max(r.next, h.last+1), 0
		data = rest
	}
	p.next = r.next
	return p, nil
}

// tries is how often a batch is read that is not what was written, before it is passed over.
const tries = 3

// skip passes over a batch that cannot be read, loudly. One that may have come to harm on the way is asked for again.
func (r *reader) skip(h header, err error) error {
	if r.damaged++; r.damaged < tries {
		return fmt.Errorf("read the batch at position %d: %w", positionOf(h.base), err)
	}
	r.d.scope.Log().Error("skip records that cannot be read", "topic", r.t.Name, "partition", r.partition,
		"from", positionOf(max(h.base, r.next)), "to", positionOf(max(h.last, h.base)), "err", err)
	return nil
}

// outOfRange goes on where there is something: with the oldest record, for that loses none.
func (r *reader) outOfRange(ctx context.Context) error {
	first, err := r.d.offsets(ctx, r.t, []int{r.partition}, kafkago.FirstOffset)
	if err != nil {
		return err
	}
	end, err := r.d.offsets(ctx, r.t, []int{r.partition}, kafkago.LastOffset)
	if err != nil {
		return err
	}
	from, to := first[r.partition], end[r.partition]
	switch {
	case r.next < from:
		r.d.scope.Log().Info("records went before they were read", "topic", r.t.Name, "partition", r.partition, "position", positionOf(r.next), "oldest", positionOf(from))
		r.next = from
	case r.next > to:
		// Whoever reads learns of a new log once: by its identity where it has one, else by this.
		if _, err := r.d.identify(ctx); err != nil {
			return err
		}
		// A position that nobody read here, such as one that was written down, says nothing of the log that is there.
		if r.went && r.t.life != nil && r.t.life.eras.CompareAndSwap(r.era, r.era+1) {
			r.d.scope.Log().Warn("a partition is shorter than it was: the topic is read from its beginning", "topic", r.t.Name, "partition", r.partition, "position", positionOf(r.next), "end", positionOf(to))
		}
		r.anew(r.t.era())
	}
	return fmt.Errorf("fetch: %w", kafkago.OffsetNotAvailable) // Not for long: the next fetch finds something.
}

// offsets looks up one offset in each of the partitions: kafkago.FirstOffset, kafkago.LastOffset (after the newest record,
// of open transactions too), or the first record that was stored at a time in Unix milliseconds or later.
func (d *Driver) offsets(ctx context.Context, t *topic, partitions []int, at int64) (map[int]int64, error) {
	var out map[int]int64
	err := d.insist(ctx, func() error {
		found, err := d.offsetsOnce(ctx, t, partitions, at)
		out = found
		if err != nil {
			d.link.stale(t.name)
			return fmt.Errorf("look up offsets of %s: %w", t.name, err)
		}
		return nil
	})
	if err == nil && at >= 0 { // Times that nothing was stored after.
		var late []int
		for p, offset := range out {
			if offset < 0 {
				late = append(late, p)
			}
		}
		if len(late) > 0 {
			ends, err := d.offsets(ctx, t, late, kafkago.LastOffset)
			if err != nil {
				return nil, err
			}
			for p, offset := range ends {
				out[p] = offset
			}
		}
	}
	return out, err
}

func (d *Driver) offsetsOnce(ctx context.Context, t *topic, partitions []int, at int64) (map[int]int64, error) {
	found, err := d.listOffsets(ctx, t, partitions, at)
	out := make(map[int]int64, len(found))
	for p, one := range found {
		out[p] = one.offset
	}
	return out, err
}

// stamped is an offset and when its record was stored, in Unix milliseconds; -1 when that was not asked for, or there is none.
type stamped struct{ offset, millis int64 }

func (d *Driver) listOffsets(ctx context.Context, t *topic, partitions []int, at int64) (map[int]stamped, error) {
	byLeader := map[int32][]listoffsets.RequestPartition{}
	for _, p := range partitions {
		node, err := d.link.leader(ctx, t.name, p)
		if err != nil {
			return nil, err
		}
		byLeader[node] = append(byLeader[node], listoffsets.RequestPartition{Partition: int32(p), CurrentLeaderEpoch: -1, Timestamp: at})
	}
	out := map[int]stamped{}
	for node, ps := range byLeader {
		ctx, cancel := context.WithTimeout(ctx, d.tuning.answer)
		res, err := d.link.ask(ctx, node, &listoffsets.Request{ReplicaID: -1, Topics: []listoffsets.RequestTopic{{Topic: t.name, Partitions: ps}}})
		cancel()
		if err != nil {
			return nil, err
		}
		for _, rt := range res.(*listoffsets.Response).Topics {
			for _, p := range rt.Partitions {
				if p.ErrorCode != 0 {
					return nil, kafkago.Error(p.ErrorCode)
				}
				out[int(p.Partition)] = stamped{p.Offset, p.Timestamp}
			}
		}
	}
	return out, nil
}

// unaware says that a leader does not know its topic: one that was just made, or the leader just became it.
func unaware(err error) bool {
	return errors.Is(err, kafkago.UnknownTopicOrPartition) && !errors.Is(err, driver.ErrNoTopic)
}

// insist does something until it succeeds, what is wrong does not pass, or ctx ends; driver.ErrAway is that until then no
// broker said a word.
func (d *Driver) insist(ctx context.Context, do func() error) error {
	var last error
	unknown := 0
	for {
		err := do()
		if unaware(err) && unknown < unknowns {
			unknown++
		} else if err == nil || !passing(err) || d.isClosed() {
			return explain(err)
		}
		if last == nil || !errors.Is(err, context.DeadlineExceeded) { // What the attempt before said tells more than that time is up.
			last = err
		}
		if !pause.For(ctx, d.tuning.again) {
			return explain(fmt.Errorf("%w: %w", away(last), ctx.Err()))
		}
	}
}
