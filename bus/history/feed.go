package history

import (
	"fmt"

	"kemi.dev/kemi/bus/driver"
)

// feed takes what a feed was told or asked.
func (c *Checker) feed(r *reader, e *Event) {
	switch e.Op {
	case OpCaughtUp:
		r.caughtUp = true
	case OpClose:
		for _, own := range r.own {
			if own.over == 0 {
				own.over = e.At
			}
		}
		clear(r.own)
	case OpAssigned:
		if r.g == nil {
			c.found.add(Log, fmt.Sprintf("%s, a replay, was given a partition", r), line(e))
			return
		}
		c.assigned(r, e)
	case OpRevoked:
		if own := r.own[e.Partition]; own != nil && own.epoch == e.Epoch {
			own.over = e.At
			delete(r.own, e.Partition)
		}
	case OpData:
		c.data(r, e)
	case OpAck:
		c.ack(r, e)
	}
}

func (c *Checker) assigned(r *reader, e *Event) {
	c.counts.Epochs++
	own := r.g.era(e.Partition, e.Epoch)
	if len(own.owners) > 0 {
		c.found.add(Owner, fmt.Sprintf("%s was given to two: %s and %s", own, own.owners[0], r), line(e))
	}
	if had := r.own[e.Partition]; had != nil {
		if had.epoch >= e.Epoch {
			c.found.add(Epoch, fmt.Sprintf("%s was given epoch %d of partition %d after epoch %d", r, e.Epoch, e.Partition, had.epoch), line(e))
		}
		had.over = e.At
	}
	own.owners = append(own.owners, r)
	own.from = e.Position
	r.own[e.Partition] = own
}

func (c *Checker) data(r *reader, e *Event) {
	if e.Item == nil {
		return
	}
	p := r.t.part(e.Partition)
	it := c.item(r.t, e.Partition, e.Item)
	if other := p.at[e.Position]; other == nil {
		p.at[e.Position] = it
	} else if other != it {
		c.found.add(Altered, fmt.Sprintf("%s/%d: position %d is %s and %s", r.t.name, e.Partition, e.Position, other, it), line(e))
	}
	if it.min < 0 || e.Position < it.min {
		it.min = e.Position
	}
	it.max = max(it.max, e.Position)
	s := seen{it, e.Position, e.At}
	switch {
	case r.g == nil:
		c.counts.Replayed++
		if last, ok := r.last[e.Partition]; ok && e.Position <= last {
			c.found.add(Order, fmt.Sprintf("%s, a replay, was given position %d of %s/%d after %d", r, e.Position, r.t.name, e.Partition, last), line(e))
		}
		r.last[e.Partition] = e.Position
		if r.whole {
			r.all = append(r.all, s)
		}
	case r.t.spec.Kind == driver.Work:
		c.counts.Delivered++
		j := r.g.job(e, it)
		if len(j.given) > 0 {
			c.counts.Redelivered++
		}
		j.given = append(j.given, given{e.At, r, e.Attempt, e.Epoch})
	default:
		c.counts.Delivered++
		c.inEpoch(r, e, s)
	}
}

// inEpoch takes a delivery to an owner.
func (c *Checker) inEpoch(r *reader, e *Event, s seen) {
	own := r.own[e.Partition]
	if own == nil || own.epoch != e.Epoch {
		c.found.add(Epoch, fmt.Sprintf("%s was given a record of %s/%d under epoch %d, which it does not have", r, r.t.name, e.Partition, e.Epoch), line(e))
		return
	}
	if e.Position < own.from {
		c.found.add(Epoch, fmt.Sprintf("%s begins at position %d, yet there came %d", own, own.from, e.Position), line(e))
	}
	if len(own.owners) == 1 && e.Position <= own.lastRead {
		c.found.add(Order, fmt.Sprintf("%s: position %d came after %d", own, e.Position, own.lastRead), line(e))
	}
	own.lastRead = max(own.lastRead, e.Position)
	own.tail = max(own.tail, e.At)
	own.got = append(own.got, s)
}

func (g *group) job(e *Event, it *stored) *job {
	k := jobKey{e.Partition, e.Position}
	j := g.jobs[k]
	if j == nil {
		j = &job{it: it}
		g.jobs[k] = j
	}
	return j
}

func (c *Checker) ack(r *reader, e *Event) {
	switch e.Outcome {
	case OK:
		c.counts.Accepted++
	case Fenced:
		c.counts.Refused++
	default:
		c.counts.Unclear++
	}
	if r.g == nil {
		return
	}
	if r.t.spec.Kind == driver.Work {
		j := r.g.jobs[jobKey{e.Partition, e.Position}]
		if j == nil {
			// The delivery is in the log of the same feed, before.
			c.found.add(Log, fmt.Sprintf("%s acknowledged position %d of %s/%d, which it was not given", r, e.Position, r.t.name, e.Partition), line(e))
			return
		}
		if e.Outcome == OK || e.Outcome == Unknown {
			j.it.handled |= 1 << r.g.n
		}
		if e.Outcome == OK && (j.acked == 0 || e.Ended < j.acked) {
			j.acked, j.by, j.try, j.epoch = e.Ended, r, e.Attempt, e.Epoch
		}
		return
	}
	own := r.g.era(e.Partition, e.Epoch)
	switch e.Outcome {
	case OK:
		c.acted(own, act{span: span{e.At, e.Ended}, op: OpAck, n: e.Position, process: r.process, driver: r.driver}, func(o *reader) bool { return o == r })
		own.commits = append(own.commits, seen{position: e.Position, at: e.Ended})
		own.handled = max(own.handled, e.Position)
	case Unknown:
		own.handled = max(own.handled, e.Position)
	}
}
