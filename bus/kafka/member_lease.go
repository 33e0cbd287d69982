package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/internal/pause"
)

// place is a partition in a group.
type place struct {
	topic, group string
	partition    int
}

// groups is what a driver knows of its members: which partitions they own. The driver's mutex guards it.
type groups struct{ leases map[place]*lease }

// drop takes a lease off the list.
func (m *member) drop(l *lease) {
	m.d.mu.Lock()
	defer m.d.mu.Unlock()
	if m.d.groups.leases[l.place] == l {
		delete(m.d.groups.leases, l.place)
	}
}

// list puts a lease on the list.
func (m *member) list(l *lease) {
	m.d.mu.Lock()
	defer m.d.mu.Unlock()
	if m.d.groups.leases == nil {
		m.d.groups.leases = map[place]*lease{}
	}
	m.d.groups.leases[l.place] = l
}

// lease is a partition that this member owns. The feed's mutex guards what has no comment.
type lease struct {
	m         *member
	place     place
	partition int
	epoch     uint64          // It does not change.
	begin     int64           // The position where the epoch begins; it does not change.
	era       uint64          // Of the log that it is a position in; it does not change.
	from      mark            // What former owners left, in positions; it does not change.
	ctx       context.Context // Ends with the lease.
	cancel    context.CancelFunc
	more      chan struct{} // There may be room for more records.
	writer    *writer       // What fences its records.
	desk      desk

	lost    bool
	leaving bool // It is to be given back: nothing more is handed out.
	wrote   string
	unsure  bool // A commit was sent, and no answer came.
	cramped bool // Not everything that is done fits into a commit.
}

// desk keeps the books of a partition: pure, the feed's mutex guards it.
type desk interface {
	// point is the position after what is done, what is done behind it and what is in hand.
	point() (int64, []run, []held)
	// idle says that nothing is in hand.
	idle() bool
	// room says that more records can be put.
	room() bool
	// put takes what was read, in order, and the position up to which it was read.
	put(ds []driver.Delivery, next int64, now time.Time)
}

func (l *lease) nudge() { signal(l.more) }

// mark is what is to be committed of the lease, with the feed locked.
func (l *lease) mark() (int64, mark) {
	position, done, inHand := l.desk.point()
	return max(0, offsetOf(position)), mark{epoch: l.epoch, done: done, held: inHand}.moved(-1)
}

// text is that as it is written.
func (l *lease) text() (int64, string) {
	offset, m := l.mark()
	text, complete := m.encode(offset)
	l.cramped = !complete
	return offset, text
}

// moved is the mark with everything moved: between positions and offsets.
func (m mark) moved(by int64) mark {
	out := mark{epoch: m.epoch}
	for _, r := range m.done {
		out.done = append(out.done, run{r.begin + by, r.end + by})
	}
	for _, h := range m.held {
		out.held = append(out.held, held{h.position + by, h.attempts, h.due})
	}
	return out
}

// due are the leases with something to commit.
func (m *member) due() []*lease {
	m.Mu.Lock()
	defer m.Mu.Unlock()
	var out []*lease
	for _, l := range m.leases {
		if offset, text := l.text(); l.unsure || l.wrote != written(offset, text) {
			out = append(out, l)
		}
	}
	return out
}

func written(offset int64, text string) string { return fmt.Sprint(offset, " ", text) }

// commit writes down how far the partitions are. The broker refuses it when the member is none any more.
func (m *member) commit(leases []*lease) error {
	if len(leases) == 0 {
		return nil
	}
	m.commits.Lock()
	defer m.commits.Unlock()
	return m.commitNow(leases)
}

// commitNow does that with the commits locked.
func (m *member) commitNow(leases []*lease) error {
	m.Mu.Lock()
	var all []kafkago.OffsetCommit
	wrote := map[*lease]string{}
	for _, l := range leases {
		if l.lost {
			continue
		}
		offset, text := l.text()
		all = append(all, kafkago.OffsetCommit{Partition: l.partition, Offset: offset, Metadata: text})
		wrote[l] = written(offset, text)
		l.unsure = true
	}
	m.Mu.Unlock()
	ctx, cancel := m.call()
	defer cancel()
	if err := m.write(ctx, all); err != nil {
		return err
	}
	m.Mu.Lock()
	defer m.Mu.Unlock()
	for l, text := range wrote {
		l.wrote, l.unsure = text, false
	}
	return nil
}

// write commits offsets in the member's name.
func (m *member) write(ctx context.Context, all []kafkago.OffsetCommit) error {
	if len(all) == 0 {
		return nil
	}
	m.Mu.Lock()
	id, generation := m.id, m.generation
	m.Mu.Unlock()
	if generation < 0 {
		return fmt.Errorf("commit for group %s: %w", m.group, kafkago.UnknownMemberId)
	}
	r, err := m.client.OffsetCommit(ctx, &kafkago.OffsetCommitRequest{
		GroupID: m.group, GenerationID: generation, MemberID: id, Topics: map[string][]kafkago.OffsetCommit{m.t.name: all},
	})
	if err == nil {
		for _, p := range r.Topics[m.t.name] {
			err = errors.Join(err, p.Error)
		}
		if n := len(r.Topics[m.t.name]); err == nil && n != len(all) {
			err = fmt.Errorf("the broker answers about %d of %d partitions", n, len(all))
		}
	}
	if moved(err) {
		m.home.forget()
	}
	if err != nil {
		return fmt.Errorf("commit for group %s: %w", m.group, err)
	}
	return nil
}

// hold makes sure that the lease is still this member's: by the clock, or by asking the broker; by asking in any case
// when since is given, for what the broker said before it does not count then.
func (m *member) hold(ctx context.Context, l *lease, since time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, m.d.tuning.patience)
	defer cancel()
	for {
		m.Mu.Lock()
		lost, changed := l.lost || m.out, m.changed
		valid := time.Now().Before(m.valid) && !m.heard.Before(since)
		m.Mu.Unlock()
		switch {
		case lost:
			return driver.ErrFenced
		case valid:
			return nil
		}
		signal(m.pulse)
		select {
		case <-changed:
		case <-time.After(m.d.tuning.lease / 12):
		case <-ctx.Done():
			return fmt.Errorf("ask whether the partition is still ours: %w", ctx.Err())
		}
	}
}

// read fetches the records of the lease until it ends.
func (l *lease) read() {
	m := l.m
	log := m.d.scope.Log().With("topic", m.t.Name, "group", m.s.Group, "partition", l.partition)
	r := newReader(m.d, m.t, l.partition, max(0, offsetOf(l.begin)))
	r.era = l.era
	r.tell = func() { m.renew(l) }
	snapshot := l.begin == 0
	put := func(ds []driver.Delivery) error {
		next := positionOf(r.next)
		if snapshot {
			next = 0 // There may be more before that.
		}
		m.Mu.Lock()
		l.desk.put(ds, next, time.Now())
		m.Mu.Unlock()
		m.Nudge()
		return nil
	}
	for l.ctx.Err() == nil {
		var err error
		if snapshot {
			var ends map[int]int64
			if ends, err = m.d.offsets(l.ctx, m.t, []int{l.partition}, kafkago.LastOffset); err == nil {
				err = r.newest(l.ctx, ends[l.partition], put)
			}
			snapshot = err != nil
		} else if l.wait() {
			var p page
			if p, err = r.fetch(l.ctx); err == nil {
				_ = put(p.ds)
			}
		}
		if err != nil && l.ctx.Err() == nil {
			log.Error("read again", "err", explain(err))
			pause.For(l.ctx, 10*m.d.tuning.again)
		}
	}
}

// wait blocks until there is room for more; false when the lease ended.
func (l *lease) wait() bool {
	for {
		l.m.Mu.Lock()
		room := l.desk.room() && !l.lost
		l.m.Mu.Unlock()
		if room {
			return true
		}
		select {
		case <-l.ctx.Done():
			return false
		case <-l.more:
		}
	}
}
