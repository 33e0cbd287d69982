package mem

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/driver/outlet"
)

// group is one group of a topic: leases of a Log or Latest topic, tasks of a Work topic.
type group struct {
	t       *topic
	leases  []*lease
	members []*owner
	work    *work
}

// lease is who owns a partition and how far the group came.
type lease struct {
	owner *owner
	epoch uint64
	// next is the position after the last commit; 0 when the group never began here.
	next int64
	// until is the end of the snapshot that a group which never committed begins with.
	until  int64
	cursor int64
	// open are the positions that were delivered in this epoch and not acknowledged.
	open []int64
	// leaving: the partition is to move. Nothing more is delivered; it moves when all is acknowledged, or then.
	leaving bool
	leaveBy time.Time
}

func (t *topic) group(name string) *group {
	g := t.groups[name]
	if g == nil {
		g = &group{t: t}
		for range t.Partitions {
			g.leases = append(g.leases, &lease{})
		}
		t.groups[name] = g
	}
	return g
}

// rebalance gives free partitions to the members that have fewest and asks those that have more than their share
// to hand over. What is owned rightly stays where it is.
func (g *group) rebalance(now time.Time) {
	if len(g.members) == 0 {
		return
	}
	share := g.shares()
	held := map[*owner]int{}
	for p, l := range g.leases {
		switch {
		case l.owner == nil:
		case held[l.owner] < share[l.owner]:
			held[l.owner]++
			l.leaving = false
		case len(l.open) == 0:
			g.release(p)
		case !l.leaving:
			l.leaving, l.leaveBy = true, now.Add(g.t.b.options.Handover)
		}
	}
	for p, l := range g.leases {
		if l.owner != nil {
			continue
		}
		for _, m := range g.members {
			if held[m] < share[m] {
				held[m]++
				g.give(p, m)
				break
			}
		}
	}
	g.t.wake()
}

// shares is how many partitions each member should have: equally many, and one more for those that have most now.
func (g *group) shares() map[*owner]int {
	now := map[*owner]int{}
	for _, l := range g.leases {
		if l.owner != nil {
			now[l.owner]++
		}
	}
	order := slices.Clone(g.members)
	slices.SortStableFunc(order, func(a, b *owner) int { return now[b] - now[a] })
	share := map[*owner]int{}
	for i, m := range order {
		share[m] = len(g.leases) / len(order)
		if i < len(g.leases)%len(order) {
			share[m]++
		}
	}
	return share
}

// give begins an epoch.
func (g *group) give(p int, m *owner) {
	l := g.leases[p]
	if l.next == 0 {
		l.next = g.t.begin(p, m.s.Start)
		if m.s.Start.Snapshot {
			l.until = g.t.last
		}
	}
	l.owner, l.epoch, l.cursor, l.open, l.leaving = m, l.epoch+1, l.next, nil, false
	m.events = append(m.events, driver.Delivery{Event: driver.Assigned, Partition: p, Epoch: l.epoch, Position: l.next})
}

// release ends an epoch and tells the owner.
func (g *group) release(p int) {
	l := g.leases[p]
	l.owner.events = append(l.owner.events, driver.Delivery{Event: driver.Revoked, Partition: p, Epoch: l.epoch})
	l.owner, l.open, l.leaving = nil, nil, false
}

// overdue takes partitions from owners that did not finish in time, and says when to look again.
func (g *group) overdue(now time.Time) time.Duration {
	var again time.Duration
	moved := false
	for p, l := range g.leases {
		if !l.leaving {
			continue
		}
		left := l.leaveBy.Sub(now)
		if left <= 0 {
			g.release(p)
			moved = true
		} else if again == 0 || left < again {
			again = left
		}
	}
	if moved {
		g.rebalance(now)
	}
	return again
}

// owner is a member's feed of a Log or Latest topic.
type owner struct {
	*feed
	name   string
	g      *group
	events []driver.Delivery
	away   bool // It was lost and has not been told everything yet.
}

func newOwner(d *Driver, t *topic, s driver.Subscription) *owner {
	d.b.members++
	o := &owner{feed: newFeed(d, t, s), g: t.group(s.Group), name: "member-" + strconv.Itoa(d.b.members)}
	o.join()
	return o
}

func (o *owner) join() {
	o.away = false
	o.g.members = append(o.g.members, o)
	o.g.rebalance(time.Now())
}

// leave gives all partitions of o to others.
func (o *owner) leave() {
	o.g.members = slices.DeleteFunc(o.g.members, func(m *owner) bool { return m == o })
	for p, l := range o.g.leases {
		if l.owner == o {
			o.g.release(p)
		}
	}
	o.g.rebalance(time.Now())
}

// Next implements driver.Feed.
func (o *owner) Next(ctx context.Context) ([]driver.Delivery, error) {
	return o.wait(ctx, func(now time.Time) ([]driver.Delivery, time.Duration) {
		if o.away && len(o.events) == 0 {
			o.join()
		}
		again := o.g.overdue(now)
		out := o.events
		o.events = nil
		for range atOnce {
			s, l := o.first()
			if s == nil {
				break
			}
			l.cursor = s.position + 1
			l.open = append(l.open, s.position)
			del := delivery(s)
			del.Epoch = l.epoch
			out = append(out, del)
		}
		return out, again
	})
}

// first is the oldest record that was not delivered yet of the owned partitions that have room in their window.
func (o *owner) first() (*stored, *lease) {
	var first *stored
	var of *lease
	for p, l := range o.g.leases {
		if l.owner != o || l.leaving || len(l.open) >= o.s.Window {
			continue
		}
		s := o.t.next(p, l.cursor, l.until)
		if s == nil {
			l.cursor = max(l.cursor, o.t.last+1)
			continue
		}
		l.cursor = s.position // What was passed over need not be looked at again.
		if first == nil || s.position < first.position {
			first, of = s, l
		}
	}
	return first, of
}

// Ack implements driver.Feed.
func (o *owner) Ack(_ context.Context, d driver.Delivery) error {
	o.d.b.mu.Lock()
	defer o.d.b.mu.Unlock()
	if err := o.ackable(); err != nil || d.Event != driver.Data {
		return err
	}
	l := o.g.leases[d.Partition]
	if l.owner != o || l.epoch != d.Epoch {
		return fmt.Errorf("commit %s/%d for %s at epoch %d: %w", o.t.Name, d.Partition, o.s.Group, d.Epoch, driver.ErrFenced)
	}
	if d.Position < l.next {
		return nil
	}
	l.next = d.Position + 1
	for len(l.open) > 0 && l.open[0] <= d.Position {
		l.open = l.open[1:]
	}
	if len(l.open) == 0 && l.leaving {
		o.g.release(d.Partition)
		o.g.rebalance(time.Now())
	}
	o.nudge()
	return nil
}

// Nack implements driver.Feed.
func (o *owner) Nack(context.Context, driver.Delivery, time.Duration) error { return outlet.ErrNotWork }

// Close implements driver.Feed.
func (o *owner) Close() error {
	o.d.b.mu.Lock()
	defer o.d.b.mu.Unlock()
	o.shut()
	delete(o.d.feeds, o)
	return nil
}

func (o *owner) shut() {
	if o.end() {
		o.leave()
	}
}

func (o *owner) lose() {
	if !o.closed && !o.away {
		o.away = true
		o.leave()
		o.nudge() // Even when nobody is left who takes over.
	}
}
