package mem

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"kemi.dev/kemi/bus/driver"
)

// Health implements driver.Inspector: a broker in memory is well while its driver is open.
func (d *Driver) Health() error {
	d.b.mu.Lock()
	defer d.b.mu.Unlock()
	if d.closed {
		return fmt.Errorf("ask the broker: %w", driver.ErrClosed)
	}
	return nil
}

// Inspect implements driver.Inspector.
func (d *Driver) Inspect(ctx context.Context, name string) (driver.Info, error) {
	if err := ctx.Err(); err != nil {
		return driver.Info{}, fmt.Errorf("inspect %s: %w", name, err)
	}
	d.b.mu.Lock()
	defer d.b.mu.Unlock()
	t, err := d.find(name)
	if err != nil {
		return driver.Info{}, fmt.Errorf("inspect %s: %w", name, err)
	}
	t.expire(time.Now())
	info := driver.Info{Topic: t.Topic, Bytes: t.bytes}
	for p := range t.Partitions {
		info.Partitions = append(info.Partitions, t.inspect(p))
	}
	for name, g := range t.groups {
		info.Groups = append(info.Groups, g.inspect(name))
	}
	slices.SortFunc(info.Groups, func(a, b driver.GroupInfo) int { return strings.Compare(a.Name, b.Name) })
	return info, nil
}

// Size implements driver.Sizer.
func (d *Driver) Size(ctx context.Context, name string) (used, limit int64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, 0, fmt.Errorf("size of %s: %w", name, err)
	}
	d.b.mu.Lock()
	defer d.b.mu.Unlock()
	t, err := d.find(name)
	if err != nil {
		return 0, 0, fmt.Errorf("size of %s: %w", name, err)
	}
	t.expire(time.Now())
	return t.bytes, max(t.MaxBytes, 0), nil
}

// find looks a topic up for a driver that is open. Under b.mu.
func (d *Driver) find(name string) (*topic, error) {
	if d.closed {
		return nil, driver.ErrClosed
	}
	t := d.b.topics[name]
	if t == nil {
		return nil, driver.ErrNoTopic
	}
	return t, nil
}

func (t *topic) inspect(p int) driver.PartitionInfo {
	info := driver.PartitionInfo{Partition: p, First: t.last + 1, End: t.last + 1, Records: int64(len(t.logs[p]) - t.gone[p])}
	for _, s := range t.logs[p] {
		if s.gone {
			continue
		}
		if info.Oldest.IsZero() {
			info.First, info.Oldest = s.position, s.at
		}
		info.End = s.position + 1
	}
	return info
}

// waiting counts the records of a partition from a position on.
func (t *topic) waiting(p int, position int64) (n int64) {
	for _, s := range t.logs[p][t.from(p, position):] {
		if !s.gone {
			n++
		}
	}
	return n
}

func (g *group) inspect(name string) driver.GroupInfo {
	info := driver.GroupInfo{Name: name}
	if w := g.work; w != nil {
		info.Partitions = []driver.GroupPartition{w.inspect(g.t)}
		return info
	}
	for p, l := range g.leases {
		if l.epoch == 0 {
			continue
		}
		one := driver.GroupPartition{Partition: p, Epoch: l.epoch, Next: l.next, Lag: g.t.waiting(p, l.next)}
		if l.owner != nil {
			one.Owner = l.owner.name
		}
		info.Partitions = append(info.Partitions, one)
	}
	return info
}

// inspect tells of all partitions together: any member takes any record.
func (w *work) inspect(t *topic) driver.GroupPartition {
	all := driver.GroupPartition{Partition: -1, Next: t.last + 1, Lag: int64(len(w.tasks))}
	for position := range w.tasks {
		all.Next = min(all.Next, position)
	}
	for p, c := range w.cursors {
		all.Lag += t.waiting(p, c)
		if s := t.next(p, c, 0); s != nil {
			all.Next = min(all.Next, s.position)
		}
	}
	return all
}
