package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/event"
)

// prompt is how long PublishPromptly waits for the broker: as long as one may take that hands over to another, and shorter
// than anybody waits for an answer who has just pressed a button. brief is how long when something is known to be wrong with
// the broker; it may be one that lacks something else, and stores all the same.
const (
	prompt = 5 * time.Second
	brief  = time.Second
)

// PublishPromptly is Publish for somebody who waits for the answer: a bus that does not take the events within 5 s, or within
// one when it is known to be away, is ErrAway. Then they may be stored all the same.
func (b *Bus) PublishPromptly(ctx context.Context, events ...event.Event) error {
	health, wait := b.Health(), prompt
	if health != nil {
		wait = brief
	}
	within, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	err := b.Publish(within, events...)
	switch {
	case err == nil || ctx.Err() != nil || within.Err() == nil && !errors.Is(err, driver.ErrAway):
		return err
	case health != nil:
		return fmt.Errorf("the bus is away, try again when it is back: %w", awayFor(health))
	}
	return fmt.Errorf("the bus did not take it within %s, or did not say so: look in a moment whether it was, and try again when it was not: %w", wait, awayFor(err))
}

// awayFor is ErrAway for the reason.
func awayFor(err error) error {
	if errors.Is(err, driver.ErrAway) {
		return err
	}
	return fmt.Errorf("%w: %w", driver.ErrAway, err)
}
