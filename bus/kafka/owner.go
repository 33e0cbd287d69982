package kafka

import (
	"context"
	"fmt"
	"slices"
	"time"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/driver/outlet"
)

// atOnce bounds what one Next of a group returns.
const atOnce = 256

// owner is a member's feed of a Log or Latest topic.
//
// An Ack is accepted when the partition is this member's for certain, and committed within tuning.commit. A position that
// was accepted and not yet committed when the process dies is delivered again; it is never taken back in favour of a
// later owner that began before it, because that owner could not begin while the lease was valid.
type owner struct {
	*member
	events []driver.Delivery // Guarded by the mutex.
}

// line keeps the books of a partition whose records are handled in order.
type line struct {
	acked int64   // The position after the last acknowledged record.
	read  int64   // The position up to which the log was read: what is between is no record.
	held  []int64 // What was handed out and is not acknowledged.
	buf   outlet.Buffer
}

func (s *line) idle() bool { return len(s.held) == 0 }
func (s *line) room() bool { return s.buf.Room() > 0 }

func (s *line) put(ds []driver.Delivery, next int64, _ time.Time) {
	s.buf.Put(ds...)
	s.read = next
}

// point passes over what ends transactions when there is nothing else, so that nothing seems to wait.
func (s *line) point() (int64, []run, []held) {
	if len(s.held) == 0 && s.buf.Len() == 0 {
		return max(s.acked, s.read), nil, nil
	}
	return s.acked, nil, nil
}

// take hands out as many as the window allows.
func (s *line) take(window, most int) []driver.Delivery {
	n := min(s.buf.Len(), window-len(s.held), most)
	if n <= 0 {
		return nil
	}
	out := s.buf.Take(n)
	for i := range out {
		s.held = append(s.held, out[i].Position)
	}
	return out
}

// ack takes everything up to and with a position as done, if that is held: one that comes late takes nothing back.
func (s *line) ack(position int64) {
	if at, held := slices.BinarySearch(s.held, position); held {
		s.held, s.acked = s.held[at+1:], position+1
	}
}

func newOwner(d *Driver, t *topic, s driver.Subscription) *owner {
	o := &owner{member: newMember(d, t, s)}
	o.desks = o
	return o
}

func (o *owner) open(l *lease) {
	l.desk = &line{acked: l.begin}
	o.events = append(o.events, driver.Delivery{Event: driver.Assigned, Partition: l.partition, Epoch: l.epoch, Position: l.begin})
}

func (o *owner) over(l *lease) {
	o.events = append(o.events, driver.Delivery{Event: driver.Revoked, Partition: l.partition, Epoch: l.epoch})
}

func (o *owner) tick(time.Time) {}

// Next implements driver.Feed.
func (o *owner) Next(ctx context.Context) ([]driver.Delivery, error) {
	return o.Wait(ctx, func() []driver.Delivery {
		out := o.events
		o.events = nil
		if !time.Now().Before(o.valid) {
			return out
		}
		room := atOnce
		for _, l := range o.leases { // In any order: none is always the first.
			s, ok := l.desk.(*line)
			if !ok || l.leaving || room <= 0 {
				continue
			}
			some := s.take(o.s.Window, room)
			for i := range some {
				some[i].Epoch = l.epoch
			}
			out = append(out, some...)
			room -= len(some)
			l.nudge()
		}
		return out
	})
}

// Ack implements driver.Feed.
func (o *owner) Ack(ctx context.Context, d driver.Delivery) error {
	if err := o.Open(); err != nil || d.Event != driver.Data {
		return err
	}
	l, err := o.mine(ctx, d)
	if err != nil {
		return err
	}
	o.Mu.Lock()
	defer o.Mu.Unlock()
	if l.lost {
		return o.fenced(d)
	}
	l.desk.(*line).ack(d.Position)
	if l.leaving && l.desk.idle() {
		signal(o.kick)
	}
	o.Nudge()
	return nil
}

// mine is the lease of a delivery, which is valid.
func (m *member) mine(ctx context.Context, d driver.Delivery) (*lease, error) {
	m.Mu.Lock()
	l := m.leases[d.Partition]
	m.Mu.Unlock()
	if l == nil || l.epoch != d.Epoch {
		return nil, m.fenced(d)
	}
	if err := m.hold(ctx, l, time.Time{}); err != nil {
		return nil, fmt.Errorf("commit %s/%d for %s at epoch %d: %w", m.t.Name, d.Partition, m.s.Group, d.Epoch, err)
	}
	return l, nil
}

func (m *member) fenced(d driver.Delivery) error {
	return fmt.Errorf("commit %s/%d for %s at epoch %d: %w", m.t.Name, d.Partition, m.s.Group, d.Epoch, driver.ErrFenced)
}

// Close implements driver.Feed.
func (o *owner) Close() error {
	if o.close() {
		o.d.forget(o)
	}
	return nil
}
