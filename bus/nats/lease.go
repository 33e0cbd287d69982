package nats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/driver/outlet"
	"kemi.dev/kemi/internal/pause"
)

// place is a partition in a group.
type place struct {
	topic, group string
	partition    int
}

// entry is what the groups bucket says about a partition: renewing the lease, committing and taking over all
// replace it by compare-and-swap on its revision, so that a member that lost the partition can do none of them.
type entry struct {
	// Owner is the member that has the lease; "" when it was given back.
	Owner string `json:"owner,omitempty"`
	// Epoch grows with every owner. It is at least the time of the take-over in seconds, so that it grows even when
	// the bucket itself was lost: its server syncs every other minute, and power may fail.
	Epoch uint64 `json:"epoch"`
	// Next is the position after the last commit; 0 when the group never began here.
	Next int64 `json:"next"`
	// At is when the record before Next was stored, in nanoseconds; 0 when nobody knows. See topic.resume.
	At int64 `json:"at,omitempty"`
	// Born is when the stream was made that Next is a position of, in nanoseconds: one that was made again has other
	// records there.
	Born int64 `json:"born,omitempty"`
}

// lease is a partition that this member owns. The feed's mutex guards what has no comment.
type lease struct {
	o         *owner
	place     place
	key       string
	partition int
	epoch     uint64
	born      int64              // When the stream was made.
	cancel    context.CancelFunc // Ends the intake.
	in        intake
	next      from  // The intake's own.
	target    int64 // The end of a snapshot.

	cas      sync.Mutex // One writer of the entry at a time.
	revision uint64     // Under cas.

	fencing sync.Mutex
	fences  map[string]*fence // By stream, under fencing.

	told    bool // Assigned was delivered.
	lost    bool
	valid   time.Time // Nobody else takes the partition before.
	written time.Time // When the entry was last replaced.
	wrote   int64     // The position in it.
	acked   int64     // The position after the last acknowledged record.
	ackedAt int64     // When that record was stored, in nanoseconds; 0 when nobody knows.
	most    int64     // No later position is written: the stream lost what was there. 0 when it lost nothing.
	// leaving: the partition is to move. Nothing more is handed out; it moves when all is acknowledged, or then.
	leaving bool
	leaveBy time.Time
	open    []int64 // What was handed out and is not acknowledged.
	buf     outlet.Buffer
}

// write renews the lease and commits what was acknowledged; with release it gives the partition back. ErrFenced when
// the partition has another owner: the lease is over then.
//
// The time for which nobody else takes the partition begins before the write is sent, and a quarter of it is kept
// in hand: others judge by their own clocks, from when they saw the new revision, which is later.
func (l *lease) write(ctx context.Context, release bool) error {
	l.cas.Lock()
	defer l.cas.Unlock()
	return l.put(ctx, release)
}

// put is write with cas held. An answer that is lost is not waited for long, for all leases of the feed are renewed one
// after the other: it is errUnanswered then.
func (l *lease) put(ctx context.Context, release bool) error {
	d := l.o.d
	return d.links[process].briefly(ctx, d.tuning.lease/2, concerns("KV_"+d.config.Prefix+"_groups"), func(ctx context.Context) error {
		return l.replace(ctx, release)
	})
}

func (l *lease) replace(ctx context.Context, release bool) error {
	for tries := 0; tries < 3; {
		l.o.Mu.Lock()
		if l.lost {
			l.o.Mu.Unlock()
			return driver.ErrFenced
		}
		e := entry{Owner: l.o.name, Epoch: l.epoch, Next: l.acked, At: l.ackedAt, Born: l.born}
		if l.most > 0 && e.Next > l.most {
			e.Next, e.At = l.most, 0
		}
		l.o.Mu.Unlock()
		if release {
			e.Owner = ""
		}
		value, err := json.Marshal(e)
		if err != nil {
			return fmt.Errorf("encode lease: %w", err)
		}
		sent := time.Now()
		revision, err := l.o.d.groups.Update(ctx, l.key, value, l.revision)
		if err == nil {
			l.revision = revision
			l.o.d.links[process].stores()
			l.o.Mu.Lock()
			l.written, l.wrote = sent, e.Next
			if !release {
				if !sent.Before(l.valid) {
					l.o.Nudge() // Next held records back.
				}
				l.valid = sent.Add(l.o.d.tuning.lease * 3 / 4)
			}
			l.o.Mu.Unlock()
			if release {
				l.o.over(l)
			}
			return nil
		}
		var api *jetstream.APIError
		if errors.As(err, &api) && api.ErrorCode == errUnderWay {
			// A replica has not stored what was written before. It will have soon.
			if !pause.For(ctx, 10*time.Millisecond) {
				return l.o.t.link.explain(fmt.Errorf("write lease %s: %w", l.key, err))
			}
		} else if tries++; !isMismatch(err) {
			return l.o.t.link.explain(fmt.Errorf("write lease %s: %w", l.key, err))
		}
		// Somebody wrote it: another member, or this one with an answer that was lost.
		have, err := l.o.d.groups.Get(ctx, l.key)
		if err != nil && !errors.Is(err, jetstream.ErrKeyNotFound) {
			return l.o.t.link.explain(fmt.Errorf("read lease %s: %w", l.key, err))
		}
		var there entry
		if err == nil && json.Unmarshal(have.Value(), &there) == nil && there.Owner == l.o.name && there.Epoch == l.epoch {
			l.revision = have.Revision()
			continue
		}
		l.o.over(l)
		return driver.ErrFenced
	}
	return fmt.Errorf("write lease %s: its revision changes all the time", l.key)
}

// isMismatch says that a compare-and-swap found another revision.
func isMismatch(err error) bool {
	var api *jetstream.APIError
	return errors.Is(err, jetstream.ErrKeyExists) || errors.As(err, &api) && (api.ErrorCode == errNotLast || api.ErrorCode == errUnderWay)
}

// hold makes sure that the lease is still this member's: by the clock, or by renewing it, until ctx ends.
func (l *lease) hold(ctx context.Context) error {
	for {
		l.o.Mu.Lock()
		lost, valid := l.lost, time.Now().Before(l.valid)
		l.o.Mu.Unlock()
		switch {
		case lost:
			return driver.ErrFenced
		case valid:
			return nil
		}
		err := l.write(ctx, false)
		if !errors.Is(err, errUnanswered) || !pause.For(ctx, tryPeriod) || l.o.d.links[process].connected(ctx) != nil {
			return err
		}
	}
}

// guard refuses what is said under an epoch that is over.
func (d *Driver) guard(ctx context.Context, f *driver.Fence) (*lease, error) {
	if f == nil {
		return nil, nil
	}
	d.mu.Lock()
	l := d.leases[place{f.Topic, f.Group, f.Partition}]
	d.mu.Unlock()
	err := driver.ErrFenced
	if l != nil && l.epoch == f.Epoch {
		err = l.hold(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("epoch %d of %s/%d for %s: %w", f.Epoch, f.Topic, f.Partition, f.Group, err)
	}
	return l, nil
}

// begin keeps former owners out, says that the partition is assigned, and reads its records until ctx ends.
func (l *lease) begin(ctx context.Context, position int64) {
	log := l.o.d.scope.Log().With("topic", l.place.topic, "group", l.place.group, "partition", l.partition)
	for attempt := 0; ; attempt++ {
		err := l.fenceAll(ctx)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return
		}
		l.o.t.link.warn(log, "begin with a partition again", err)
		if !pause.For(ctx, min(20*time.Millisecond<<min(attempt, 7), time.Second)) {
			return
		}
	}
	l.o.Mu.Lock()
	if l.lost {
		l.o.Mu.Unlock()
		return
	}
	l.told = true
	l.o.events = append(l.o.events, driver.Delivery{Event: driver.Assigned, Partition: l.partition, Epoch: l.epoch, Position: position})
	l.o.Mu.Unlock()
	l.o.Nudge()
	l.in.run(ctx)
}

// reader prepares to fetch records from the position of the lease.
func (l *lease) reader(start driver.Start, position, after int64) {
	l.next = from{position: position, after: after}
	if position == 0 && start.Snapshot {
		l.next.snapshot = true
	}
	l.in = intake{
		link: l.o.t.link, log: l.o.d.scope.Log().With("topic", l.place.topic, "group", l.place.group, "partition", l.partition),
		more: make(chan struct{}, 1), own: true, take: l.take, stream: l.o.t.stream,
		room: func() int {
			l.o.Mu.Lock()
			defer l.o.Mu.Unlock()
			if l.leaving || l.lost {
				return 0
			}
			return l.buf.Room()
		},
		open: func(ctx context.Context) (jetstream.Consumer, error) {
			if err := l.same(ctx); err != nil {
				return nil, err
			}
			if l.next.snapshot && l.target == 0 {
				last, _, err := l.o.t.lastOf(ctx, l.o.t.filter(l.partition))
				if err != nil {
					return nil, err
				}
				l.target = last
				l.next.snapshot = last > 0
			}
			return l.o.t.reading(ctx, []string{l.o.t.filter(l.partition)}, l.next)
		},
	}
}

// same gives the partition back when its stream was made again: whoever takes it next begins with the new one's records.
// So it does when the stream lost its newest records: whoever takes it next begins with those that took their place.
func (l *lease) same(ctx context.Context) error {
	born, end, err := l.o.t.birth(ctx)
	if err != nil {
		return err
	}
	what := "was made again"
	if born == l.born {
		next, err := l.o.t.resumeAt(ctx, l.partition, l.next, end)
		if err != nil || next == l.next.position {
			return err
		}
		l.o.Mu.Lock()
		if l.most == 0 || next < l.most {
			l.most = next
		}
		l.o.Mu.Unlock()
		what = fmt.Sprintf("lost its newest records, it is read again from position %d instead of %d", next, l.next.position)
	}
	if err := l.write(ctx, true); err != nil {
		return err
	}
	return fmt.Errorf("go on with %s/%d: the stream %s", l.place.topic, l.partition, what)
}

// take runs in the intake's goroutine.
func (l *lease) take(m *nats.Msg, meta *nats.MsgMetadata) error {
	position := int64(meta.Sequence.Stream)
	if position < l.next.position {
		return nil
	}
	l.next.position, l.next.after = position+1, meta.Timestamp.UnixNano()
	if position > l.target {
		l.next.snapshot = false
	}
	d, err := l.o.t.delivered(m, meta)
	if err != nil || l.next.snapshot && d.Record.Value == nil {
		return err
	}
	d.Epoch = l.epoch
	l.o.Mu.Lock()
	l.buf.Put(d)
	l.o.Mu.Unlock()
	l.o.Nudge()
	return nil
}
