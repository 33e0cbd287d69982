package kafka

import (
	"bytes"
	"context"
	"slices"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/driver/outlet"
)

// heldBytes is how much a snapshot keeps of a partition while it looks for the newest record of each key. What is more is
// read a second time.
const heldBytes = 32 << 20

// newest is the newest record of a key; the delivery is nil when it is not held.
type newest struct {
	position int64
	removed  bool
	held     *driver.Delivery
}

// newest reads up to the offset end and gives the newest record of each key there to put, by position, those that were
// removed left out. After it the reader is at end or behind it: what is there belongs to what follows, and is given to put
// as well.
func (r *reader) newest(ctx context.Context, end int64, put func([]driver.Delivery) error) error {
	begin := r.next
	found, after, whole, err := r.survey(ctx, end)
	if err != nil {
		return err
	}
	if whole {
		if err := put(inOrder(found)); err != nil {
			return err
		}
	} else if err := r.again(ctx, begin, end, found, put); err != nil {
		return err
	}
	if len(after) == 0 {
		return nil
	}
	return put(after)
}

// survey finds the newest record of each key before end. after is what was read beyond it; whole says that all records are
// held.
func (r *reader) survey(ctx context.Context, end int64) (found map[string]newest, after []driver.Delivery, whole bool, err error) {
	found, whole = map[string]newest{}, true
	held, begun := 0, r.begun
	for r.next < end {
		p, err := r.fetch(ctx)
		if err == nil && r.begun != begun {
			err = errAnew
		}
		if err != nil {
			return nil, nil, false, err
		}
		for i := range p.ds {
			d := p.ds[i]
			if offsetOf(d.Position) >= end {
				after = append(after, p.ds[i:]...)
				break
			}
			was := found[d.Record.Key]
			if was.held != nil {
				held -= outlet.Weight(was.held)
			}
			now := newest{position: d.Position, removed: d.Record.Value == nil}
			if !now.removed && held < heldBytes && whole {
				d.Record.Value = bytes.Clone(d.Record.Value) // The page it came with is not held.
				now.held = &d
				held += outlet.Weight(&d)
			} else if !now.removed {
				whole = false
			}
			found[d.Record.Key] = now
		}
	}
	return found, after, whole, nil
}

// inOrder is what is held, by position.
func inOrder(found map[string]newest) []driver.Delivery {
	out := make([]driver.Delivery, 0, len(found))
	for _, n := range found {
		if n.held != nil {
			out = append(out, *n.held)
		}
	}
	slices.SortFunc(out, func(a, b driver.Delivery) int { return int(a.Position - b.Position) })
	return out
}

// again reads a second time what was not all held, and gives what is the newest. A record that went meanwhile went for a
// newer one, which follows.
func (r *reader) again(ctx context.Context, begin, end int64, found map[string]newest, put func([]driver.Delivery) error) error {
	for key, n := range found {
		n.held = nil
		found[key] = n
	}
	second := newReader(r.d, r.t, r.partition, begin)
	for second.next < end {
		p, err := second.fetch(ctx)
		if err == nil && second.begun > 0 {
			err = errAnew
		}
		if err != nil {
			return err
		}
		p.ds = slices.DeleteFunc(p.ds, func(d driver.Delivery) bool {
			n, ok := found[d.Record.Key]
			return !ok || n.removed || n.position != d.Position
		})
		if len(p.ds) > 0 {
			if err := put(p.ds); err != nil {
				return err
			}
		}
	}
	return nil
}
