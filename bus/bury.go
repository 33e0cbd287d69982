package bus

import (
	"context"
	"errors"

	"kemi.dev/kemi/bus/event"
)

// Bury puts an event on dead.v1 that a group refuses before it is on its topic, with the reason. It can be retried from there
// as what could not be stored.
func (b *Bus) Bury(ctx context.Context, e event.Event, group string, reason error) error {
	r, err := b.record(e)
	l := published(&r, errors.Join(reason, err))
	if r.Topic == "" {
		return err
	}
	l.group = group
	return b.bury(ctx, l, nil)
}
