package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/listgroups"

	"kemi.dev/kemi/bus/driver"
)

var (
	_ driver.Inspector = (*Driver)(nil)
	_ driver.Sizer     = (*Driver)(nil)
)

// Health implements driver.Inspector.
func (d *Driver) Health() error {
	if d.isClosed() {
		return driver.ErrClosed
	}
	d.mu.Lock()
	l, gone := d.link, d.gone
	d.mu.Unlock()
	if l == nil {
		return errors.New("kafka was not asked for anything yet")
	}
	if err := l.health(); err != nil {
		return err
	}
	if err := d.refusals.health(time.Now()); err != nil {
		return err
	}
	return gone
}

// Inspect implements driver.Inspector. Records are not counted: positions have gaps where Kafka cleaned up and where
// transactions end, and no broker says how many.
func (d *Driver) Inspect(ctx context.Context, name string) (driver.Info, error) {
	ctx, cancel, err := d.ready(ctx)
	defer cancel()
	if err != nil {
		return driver.Info{}, fmt.Errorf("inspect %s: %w", name, err)
	}
	t, err := d.topic(ctx, name)
	if err == nil {
		var info driver.Info
		if info, err = d.inspect(ctx, t); err == nil {
			return info, nil
		}
	}
	return driver.Info{}, fmt.Errorf("inspect %s: %w", name, explain(err))
}

func (d *Driver) inspect(ctx context.Context, t *topic) (driver.Info, error) {
	have, err := d.describe(ctx, t.name)
	if err != nil {
		return driver.Info{}, err
	}
	info := driver.Info{Topic: have.as(t.Topic, t.parts), Bytes: -1}
	used, err := d.used(ctx, t)
	switch {
	case err == nil:
		info.Bytes = used
	case !errors.Is(err, kafkago.ClusterAuthorizationFailed): // Who may not know is told all the rest.
		return info, err
	}
	var all []int
	for p := range t.parts {
		all = append(all, p)
	}
	first, err := d.offsets(ctx, t, all, kafkago.FirstOffset)
	if err != nil {
		return info, err
	}
	ends, err := d.offsets(ctx, t, all, kafkago.LastOffset)
	if err != nil {
		return info, err
	}
	oldest, err := d.oldest(ctx, t, all)
	if err != nil {
		return info, err
	}
	for p := range t.parts {
		one := driver.PartitionInfo{Partition: p, First: positionOf(first[p]), End: positionOf(ends[p]), Records: -1, Oldest: oldest[p]}
		if one.First == one.End {
			one.Records = 0
		}
		info.Partitions = append(info.Partitions, one)
	}
	info.Groups, err = d.groupsOf(ctx, t, ends)
	return info, err
}

// as is the topic with what Kafka says of it.
func (k kept) as(t driver.Topic, parts int) driver.Topic {
	t.Partitions = parts
	if ms, err := strconv.ParseInt(k.configs["retention.ms"], 10, 64); err == nil && slices.Contains(policies(k.configs["cleanup.policy"]), "delete") {
		t.Keep = time.Duration(max(ms, 0)) * time.Millisecond
	}
	if bytes, err := strconv.ParseInt(k.configs["retention.bytes"], 10, 64); err == nil && bytes > 0 && bytes != max(t.MaxBytes/int64(parts), 1) {
		t.MaxBytes, t.DropOldest = bytes*int64(parts), true
	}
	return t
}

// oldest is when the oldest record of each partition was stored.
func (d *Driver) oldest(ctx context.Context, t *topic, partitions []int) (map[int]time.Time, error) {
	var out map[int]time.Time
	return out, d.insist(ctx, func() error {
		found, err := d.listOffsets(ctx, t, partitions, 0)
		if err != nil {
			d.link.stale(t.name)
			return fmt.Errorf("look up the oldest records of %s: %w", t.name, err)
		}
		out = map[int]time.Time{}
		for p, at := range found {
			if at.offset >= 0 && at.millis >= 0 {
				out[p] = time.UnixMilli(at.millis)
			}
		}
		return nil
	})
}

// groupsOf is how far the groups of a topic are.
func (d *Driver) groupsOf(ctx context.Context, t *topic, ends map[int]int64) ([]driver.GroupInfo, error) {
	ids, err := d.groupIDs(ctx, t)
	if err != nil {
		return nil, err
	}
	var out []driver.GroupInfo
	for _, id := range ids {
		g := driver.GroupInfo{Name: strings.TrimSuffix(strings.TrimPrefix(id, d.config.Prefix+"."), "."+t.Name)}
		if g.Partitions, err = d.groupOf(ctx, t, id, ends); err != nil {
			return nil, fmt.Errorf("ask about group %s: %w", id, err)
		}
		if len(g.Partitions) > 0 { // A group of another topic may be called like one of this.
			out = append(out, g)
		}
	}
	return out, nil
}

// groupIDs are the ids of groups that may read the topic.
func (d *Driver) groupIDs(ctx context.Context, t *topic) ([]string, error) {
	var out []string
	return out, d.insist(ctx, func() error {
		if _, err := d.link.look(ctx, t.name); err != nil { // It says which brokers there are.
			return err
		}
		out = nil
		for _, node := range d.link.nodes() {
			ctx, cancel := context.WithTimeout(ctx, d.tuning.answer)
			res, err := d.link.ask(ctx, node, &listgroups.Request{})
			cancel()
			if err == nil {
				if code := res.(*listgroups.Response).ErrorCode; code != 0 {
					err = kafkago.Error(code)
				}
			}
			if err != nil {
				return fmt.Errorf("list groups of broker %d: %w", node, err)
			}
			for _, g := range res.(*listgroups.Response).Groups {
				begin, end := d.config.Prefix+".", "."+t.Name
				if strings.HasPrefix(g.GroupID, begin) && strings.HasSuffix(g.GroupID, end) && len(g.GroupID) > len(begin)+len(end) {
					out = append(out, g.GroupID)
				}
			}
		}
		slices.Sort(out)
		out = slices.Compact(out)
		return nil
	})
}

// groupOf is how far one group is.
func (d *Driver) groupOf(ctx context.Context, t *topic, id string, ends map[int]int64) ([]driver.GroupPartition, error) {
	var all []int
	for p := range t.parts {
		all = append(all, p)
	}
	owners := map[int]string{}
	var committed []kafkago.OffsetFetchPartition
	err := d.insist(ctx, func() error {
		ctx, cancel := context.WithTimeout(ctx, d.tuning.answer)
		defer cancel()
		offsets, err := d.client.OffsetFetch(ctx, &kafkago.OffsetFetchRequest{GroupID: id, Topics: map[string][]int{t.name: all}})
		if err == nil {
			err = offsets.Error
		}
		if err != nil {
			return err
		}
		committed = offsets.Topics[t.name]
		described, err := d.client.DescribeGroups(ctx, &kafkago.DescribeGroupsRequest{GroupIDs: []string{id}})
		if err != nil {
			return err
		}
		clear(owners)
		for _, g := range described.Groups {
			if g.Error != nil {
				return g.Error
			}
			for _, m := range g.Members {
				for _, a := range m.MemberAssignments.Topics {
					for _, p := range a.Partitions {
						if a.Topic == t.name {
							owners[p] = m.MemberID
						}
					}
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var out []driver.GroupPartition
	for _, c := range committed {
		if g, ok := position(t, c, owners[c.Partition], ends[c.Partition]); ok {
			out = append(out, g)
		}
	}
	slices.SortFunc(out, func(a, b driver.GroupPartition) int { return a.Partition - b.Partition })
	return out, nil
}

// position is how far a group is in one partition, from what it committed there; false when it never began.
func position(t *topic, c kafkago.OffsetFetchPartition, owner string, end int64) (driver.GroupPartition, bool) {
	if c.CommittedOffset < 0 {
		return driver.GroupPartition{Partition: c.Partition, Owner: owner}, owner != "" && t.Kind != driver.Work
	}
	g := driver.GroupPartition{Partition: c.Partition, Owner: owner, Next: positionOf(c.CommittedOffset), Lag: max(end-c.CommittedOffset, 0)}
	m, err := parseMark(c.Metadata, c.CommittedOffset)
	if err == nil {
		g.Epoch = m.epoch
		for _, r := range m.done {
			g.Lag -= r.end - r.begin
		}
		g.Lag = max(g.Lag, 0)
	}
	if t.Kind == driver.Work {
		g.Owner = ""
	}
	return g, true
}
