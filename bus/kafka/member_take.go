package kafka

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

// takeOver begins an epoch in partitions that nobody owns. The broker knows of the new epoch, and of the producer that
// fences the former owner, before anybody is told that the partition is ours.
func (m *member) takeOver(fresh []int) error {
	era := m.t.era()
	begin, err := m.beginnings(fresh)
	if err != nil {
		return err
	}
	all := make([]kafkago.OffsetCommit, 0, len(fresh))
	leases := make([]*lease, 0, len(fresh))
	now := uint64(time.Now().Unix())
	m.Mu.Lock()
	past := maps.Clone(m.past)
	m.Mu.Unlock()
	for _, p := range fresh {
		b := begin[p]
		last, ok := past[p]
		switch {
		case ok && last.anew && last.mark.epoch >= b.mark.epoch:
			b = last // What is committed is of the log before.
		case ok && !last.anew && last.mark.epoch == b.mark.epoch && last.offset >= b.offset:
			b = last // Nobody else was here since: what was acknowledged and could not be committed still counts.
		}
		// At least the time, so that epochs grow even when the offsets themselves were lost.
		b.mark.epoch = max(b.mark.epoch+1, last.mark.epoch+1, now)
		text, _ := b.mark.encode(b.offset)
		all = append(all, kafkago.OffsetCommit{Partition: p, Offset: b.offset, Metadata: text})
		l := &lease{
			m: m, place: place{m.s.Topic, m.s.Group, p}, partition: p, epoch: b.mark.epoch, begin: positionOf(b.offset), more: make(chan struct{}, 1),
			wrote: written(b.offset, text), era: era,
		}
		l.ctx, l.cancel = context.WithCancel(m.Ctx)
		if m.s.Start.Snapshot && b.offset == 0 {
			l.begin = 0
		}
		l.from = b.mark.moved(1)
		l.writer = newWriter(m.d, l)
		leases = append(leases, l)
	}
	m.commits.Lock()
	ctx, cancel := m.patient()
	err = m.write(ctx, all)
	cancel()
	m.commits.Unlock()
	if err != nil {
		return err
	}
	if len(m.s.Writes) > 0 {
		if err := prepare(m.life, leases); err != nil {
			return err
		}
	}
	m.Mu.Lock()
	defer m.Mu.Unlock()
	if m.Closed || m.out || m.generation < 0 {
		return nil
	}
	for _, l := range leases {
		m.leases[l.partition] = l
		delete(m.past, l.partition)
		m.list(l)
		m.desks.open(l)
		m.Tasks.Go(l.read)
	}
	m.fresh = slices.DeleteFunc(m.fresh, func(p int) bool { return m.leases[p] != nil })
	m.Nudge()
	return nil
}

// beginning is where an owner begins, by what the one before committed.
type beginning struct {
	offset int64
	mark   mark
	anew   bool // The log began anew, and nobody was here since.
}

// beginnings reads what is committed of the partitions; where nothing is, it is where the subscription begins.
func (m *member) beginnings(partitions []int) (map[int]beginning, error) {
	ctx, cancel := m.patient()
	defer cancel()
	r, err := m.client.OffsetFetch(ctx, &kafkago.OffsetFetchRequest{GroupID: m.group, Topics: map[string][]int{m.t.name: partitions}})
	if err == nil {
		err = r.Error
	}
	if moved(err) {
		m.home.forget()
	}
	if err != nil {
		return nil, fmt.Errorf("read the offsets of group %s: %w", m.group, err)
	}
	out := map[int]beginning{}
	var never []int
	for _, p := range r.Topics[m.t.name] {
		switch {
		case p.Error != nil:
			return nil, fmt.Errorf("read the offset of %s/%d in group %s: %w", m.t.Name, p.Partition, m.group, p.Error)
		case p.CommittedOffset < 0:
			never = append(never, p.Partition)
		default:
			k, err := parseMark(p.Metadata, p.CommittedOffset)
			if err != nil {
				m.d.scope.Log().Warn("an offset was committed by somebody else: take it as it is", "group", m.s.Group, "topic", m.t.Name, "partition", p.Partition, "err", err)
			}
			out[p.Partition] = beginning{offset: p.CommittedOffset, mark: k}
		}
	}
	if len(never) > 0 {
		offsets, err := m.start(never)
		if err != nil {
			return nil, err
		}
		for p, o := range offsets {
			out[p] = beginning{offset: o}
		}
	}
	if len(out) != len(partitions) {
		return nil, fmt.Errorf("read the offsets of group %s: the broker answers about %d of %d partitions", m.group, len(out), len(partitions))
	}
	return out, nil
}

// start is where the subscription begins in partitions that the group never was in.
func (m *member) start(partitions []int) (map[int]int64, error) {
	at := int64(kafkago.FirstOffset)
	switch s := m.s.Start; {
	case s.Snapshot, s.Position > 0:
		out := map[int]int64{}
		for _, p := range partitions {
			out[p] = max(0, offsetOf(s.Position))
		}
		return out, nil
	case s.End:
		at = kafkago.LastOffset
	case !s.Time.IsZero():
		at = s.Time.UnixMilli()
	}
	ctx, cancel := m.call()
	defer cancel()
	out, err := m.d.offsets(ctx, m.t, partitions, at)
	if err != nil {
		return nil, fmt.Errorf("look where group %s begins: %w", m.group, err)
	}
	return out, nil
}
