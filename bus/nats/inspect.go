package nats

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/nats-io/nats.go/jetstream"

	"kemi.dev/kemi/bus/driver"
)

// asking is how many questions of one Inspect are under way at a time.
const asking = 8

// countable is how many keys are listed at most to count what the partitions of a cluster hold: some 60 bytes each.
const countable = 10000

// Inspect implements driver.Inspector. What a partition holds nobody counts, for partitions are subjects; the server counts
// for a consumer what lies before it, so one is made for a moment wherever a number is asked for: two round trips each.
//
// In a cluster all servers would have to agree on each such consumer. There the records are counted by their keys, in two
// questions, or not at all where there are too many; and a lag is the positions between, of other partitions too, though
// never more than the partition holds.
func (d *Driver) Inspect(ctx context.Context, name string) (driver.Info, error) {
	ctx, cancel, err := d.ready(ctx)
	defer cancel()
	if err != nil {
		return driver.Info{}, fmt.Errorf("inspect %s: %w", name, err)
	}
	t, err := d.seek(ctx, name)
	if err != nil {
		return driver.Info{}, fmt.Errorf("inspect %s: %w", name, err)
	}
	info := driver.Info{Topic: t.Topic, Bytes: int64(t.handle.CachedInfo().State.Bytes), Partitions: make([]driver.PartitionInfo, t.Partitions)}
	var held []int64
	if t.link.clustered {
		held, err = t.held(ctx)
	}
	if err == nil {
		err = each(t.Partitions, func(p int) (err error) {
			info.Partitions[p], err = t.inspect(ctx, p, held)
			return err
		})
	}
	if err == nil && t.Kind == driver.Work {
		info.Groups, err = t.workers(ctx)
	} else if err == nil {
		info.Groups, err = d.groupsOf(ctx, t, info.Partitions)
	}
	if err != nil {
		return driver.Info{}, t.link.explain(fmt.Errorf("inspect %s: %w", name, err))
	}
	return info, nil
}

// each asks for 0 to n-1, several at a time.
func each(n int, ask func(i int) error) error {
	errs := make([]error, n)
	slots := make(chan struct{}, asking)
	var all sync.WaitGroup
	for i := range n {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			errs[i] = ask(i)
		})
	}
	all.Wait()
	return cmp.Or(errs...)
}

// held counts the records of each partition by their keys; -1 where these are too many to list.
func (t *topic) held(ctx context.Context) ([]int64, error) {
	held := make([]int64, t.Partitions)
	if t.handle.CachedInfo().State.NumSubjects > countable {
		for p := range held {
			held[p] = -1
		}
		return held, nil
	}
	err := t.link.call(ctx, t.stream, func(ctx context.Context) error {
		clear(held)
		s, err := t.link.js.Stream(ctx, t.stream)
		if err != nil {
			return err
		}
		info, err := s.Info(ctx, jetstream.WithSubjectFilter(t.before+"*.*"))
		if err != nil {
			return err
		}
		for subject, n := range info.State.Subjects {
			partition, _, _ := strings.Cut(strings.TrimPrefix(subject, t.before), ".")
			if p, err := strconv.Atoi(strings.TrimPrefix(partition, "p")); err == nil && p >= 0 && p < len(held) {
				held[p] += int64(n)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("count the records of stream %s: %w", t.stream, err)
	}
	return held, nil
}

// inspect says what a partition holds, of which somebody may have counted the records.
func (t *topic) inspect(ctx context.Context, p int, held []int64) (driver.PartitionInfo, error) {
	end := int64(t.handle.CachedInfo().State.LastSeq) + 1
	info := driver.PartitionInfo{Partition: p, First: end, End: end}
	last, _, err := t.lastOf(ctx, t.filter(p))
	if err != nil || last == 0 {
		return info, err
	}
	var first *jetstream.RawStreamMsg
	err = t.link.call(ctx, t.stream, func(ctx context.Context) (err error) {
		first, err = t.handle.GetMsg(ctx, 1, jetstream.WithGetMsgSubject(t.filter(p)))
		return err
	})
	if errors.Is(err, jetstream.ErrMsgNotFound) { // It went meanwhile.
		return info, nil
	}
	if err != nil {
		return info, fmt.Errorf("read the first record of partition %d: %w", p, err)
	}
	info.First, info.End, info.Oldest = int64(first.Sequence), last+1, first.Time
	if held != nil {
		info.Records = held[p]
		return info, nil
	}
	info.Records, err = t.waiting(ctx, p, info.First)
	return info, err
}

// waiting counts the records of a partition from a position on.
func (t *topic) waiting(ctx context.Context, p int, position int64) (n int64, err error) {
	err = t.link.call(ctx, t.stream, func(ctx context.Context) error {
		c, err := t.reading(ctx, []string{t.filter(p)}, from{position: position})
		if err != nil {
			return err
		}
		info := c.CachedInfo()
		n = int64(info.NumPending)
		_ = t.link.js.DeleteConsumer(ctx, info.Stream, info.Name) // Else it goes by itself.
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("count the records of partition %d: %w", p, err)
	}
	return n, nil
}

// groupsOf reads from the bucket how far each group is.
func (d *Driver) groupsOf(ctx context.Context, t *topic, parts []driver.PartitionInfo) ([]driver.GroupInfo, error) {
	if err := d.open(ctx); err != nil {
		return nil, err
	}
	entries, err := d.entries(ctx, token(t.Name)+".")
	if err != nil {
		return nil, err
	}
	groups := map[string]*driver.GroupInfo{}
	var all []*driver.GroupPartition
	for key, e := range entries {
		partition, name, ok := cutPlace(key, t)
		if !ok {
			continue
		}
		g := groups[name]
		if g == nil {
			g = &driver.GroupInfo{Name: name}
			groups[name] = g
		}
		g.Partitions = append(g.Partitions, driver.GroupPartition{Partition: partition, Owner: e.Owner, Epoch: e.Epoch, Next: e.Next})
	}
	out := make([]driver.GroupInfo, 0, len(groups))
	for _, g := range groups {
		slices.SortFunc(g.Partitions, func(a, b driver.GroupPartition) int { return cmp.Compare(a.Partition, b.Partition) })
		for i := range g.Partitions {
			all = append(all, &g.Partitions[i])
		}
		out = append(out, *g)
	}
	slices.SortFunc(out, func(a, b driver.GroupInfo) int { return strings.Compare(a.Name, b.Name) })
	return out, each(len(all), func(i int) (err error) {
		g, p := all[i], parts[all[i].Partition]
		switch {
		case g.Next >= p.End:
		case t.link.clustered:
			if g.Lag = p.End - max(g.Next, p.First); p.Records >= 0 {
				g.Lag = min(g.Lag, p.Records)
			}
		case g.Next <= p.First:
			g.Lag = p.Records
		default:
			g.Lag, err = t.waiting(ctx, g.Partition, g.Next)
		}
		return err
	})
}

// cutPlace reads a key of the groups bucket: topic, group and partition.
func cutPlace(key string, t *topic) (partition int, group string, ok bool) {
	parts := strings.Split(key, ".")
	if len(parts) != 3 || !strings.HasPrefix(parts[2], "p") {
		return 0, "", false
	}
	partition, err := strconv.Atoi(parts[2][1:])
	if err != nil || partition < 0 || partition >= t.Partitions {
		return 0, "", false
	}
	group, err = untoken(parts[1])
	return partition, group, err == nil
}

// entries reads the groups bucket below a prefix.
func (d *Driver) entries(ctx context.Context, prefix string) (map[string]entry, error) {
	w, err := d.groups.Watch(ctx, prefix+">", jetstream.IgnoreDeletes())
	if err != nil {
		return nil, fmt.Errorf("read leases: %w", err)
	}
	defer func() { _ = w.Stop() }()
	out := map[string]entry{}
	for {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("read leases: %w", ctx.Err())
		case e, ok := <-w.Updates():
			if !ok {
				return nil, errors.New("read leases: the watch ended")
			}
			if e == nil {
				return out, nil
			}
			var x entry
			if json.Unmarshal(e.Value(), &x) == nil {
				out[e.Key()] = x
			}
		}
	}
}

// workers reads from the consumers of a Work topic how far each group is.
func (t *topic) workers(ctx context.Context) (groups []driver.GroupInfo, err error) {
	err = t.link.call(ctx, t.stream, func(ctx context.Context) error {
		groups = nil
		list := t.handle.ListConsumers(ctx)
		for c := range list.Info() {
			name, err := untoken(c.Config.Durable)
			if c.Config.Durable == "" || err != nil {
				continue // A replay's, or a stranger's.
			}
			lag := int64(c.NumPending) + int64(c.NumAckPending)
			groups = append(groups, driver.GroupInfo{Name: name, Partitions: []driver.GroupPartition{{Partition: -1, Next: int64(c.AckFloor.Stream) + 1, Lag: lag}}})
		}
		return list.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("list consumers: %w", err)
	}
	slices.SortFunc(groups, func(a, b driver.GroupInfo) int { return strings.Compare(a.Name, b.Name) })
	return groups, nil
}
