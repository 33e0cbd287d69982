package bus

import (
	"context"
	"errors"
	"slices"
	"time"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/pause"
)

// handed is what an owner handed over to its handler and has not committed.
type handed[T any, W event.Word[T]] struct {
	*owner[T, W]
	msgs []Message[T]
	from []*driver.Delivery // Of each message.
	last driver.Delivery    // Of all, also of those that are on dead.v1.
	all  int                // How many there were, with those.
	// alone is set of one that is handed over by itself.
	alone bool
}

// add decodes what is to be handed over; what cannot be decoded is put on dead.v1. False means that ctx is over.
func (n *handed[T, W]) add(ctx context.Context, batch []driver.Delivery) bool {
	for i := range batch {
		m, err := message[T, W](n.bus, &batch[i])
		if err == nil {
			n.msgs, n.from = append(n.msgs, m), append(n.from, &batch[i])
		} else if n.bus.buryUntil(ctx, &batch[i], n.group, 1, err) != nil {
			return false
		}
		n.last = batch[i]
	}
	n.all += len(batch)
	return true
}

// further removes up to opts.More deliveries from what waits.
func (n *handed[T, W]) further() []driver.Delivery {
	if n.alone {
		return nil
	}
	o := n.owner
	o.mu.Lock()
	defer o.mu.Unlock()
	some := min(len(o.queue), o.opts.More)
	batch := o.queue[:some:some]
	o.queue = o.queue[some:]
	return batch
}

// index is where the message of a position is, -1 when it is not there.
func (n *handed[T, W]) index(position int64) int {
	return slices.IndexFunc(n.from, func(d *driver.Delivery) bool { return d.Position == position })
}

// forget leaves out what the handler has committed by itself.
func (n *handed[T, W]) forget() {
	upTo, some := n.committed.Load(), 0
	for some < len(n.from) && n.from[some].Position < upTo {
		some++
	}
	n.msgs, n.from = n.msgs[some:], n.from[some:]
}

// try calls the handler until it takes all. What fails for good is put on dead.v1 by itself when the error says which one it
// is; else all are taken apart, so that one bad event does not take its neighbours along.
func (n *handed[T, W]) try(ctx context.Context, h Handler[T]) bool {
	o := n.owner
	for attempt := 1; len(n.msgs) > 0; attempt++ {
		err := h.Handle(ctx, n.msgs)
		var at permanentAt
		switch {
		case err == nil:
			o.handling.Works(o.log, time.Now(), "handled at last")
			return true
		case ctx.Err() != nil, errors.Is(err, driver.ErrFenced):
			return false
		case errors.As(err, &at) && n.index(at.position) >= 0:
			i := n.index(at.position)
			if o.bus.buryUntil(ctx, n.from[i], o.group, attempt, err) != nil {
				return false
			}
			n.msgs, n.from = slices.Delete(n.msgs, i, i+1), slices.Delete(n.from, i, i+1)
			continue
		case IsPermanent(err) || (o.opts.Attempts > 0 && attempt >= o.opts.Attempts):
			if len(n.msgs) == 1 {
				return o.bus.buryUntil(ctx, n.from[0], o.group, attempt, err) == nil
			}
			for i := range n.msgs {
				one := &handed[T, W]{owner: o, alone: true, msgs: n.msgs[i : i+1 : i+1], from: n.from[i : i+1 : i+1]}
				if !one.try(ctx, h) {
					return false
				}
			}
			return true
		}
		if n.forget(); len(n.msgs) == 0 {
			continue
		}
		o.bus.retried.WithLabelValues(o.topic.Name, o.group).Inc()
		o.handling.Failed(o.log, time.Now(), "handle again", "attempt", attempt, "err", err)
		if batch := n.further(); len(batch) > 0 { // They are new: they need not wait.
			if !n.add(ctx, batch) {
				return false
			}
		} else if !pause.For(ctx, backoff(attempt-1)) {
			return false
		}
	}
	return true
}
