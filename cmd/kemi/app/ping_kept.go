package app

import (
	"context"
	"maps"
	"slices"
	"time"

	"kemi.dev/kemi/bus/event"
)

// keptNote is what a ping says that could not be stored when it came.
const keptNote = "it came when the bus could not be reached, and was stored later"

// keep remembers a ping that could not be stored: that it came is known, whoever sent it and does not try again. Of each name
// the newest is kept.
func (b *bell) keep(name string, at time.Time) {
	b.mu.Lock()
	b.kept[name] = at
	b.mu.Unlock()
	select {
	case b.nudge <- struct{}{}:
	default:
	}
}

// run stores the pings that could not be stored, marked with when they came, as soon as that can be done; until ctx ends.
func (b *bell) run(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-b.nudge:
		case <-ctx.Done():
			return nil
		}
		for b.say(ctx) {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// say stores what is kept, and reports whether some of it is left. What may be stored already is the same command once more.
func (b *bell) say(ctx context.Context) (left bool) {
	b.mu.Lock()
	kept := maps.Clone(b.kept)
	b.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(kept)) {
		at := kept[name]
		if b.bus.PublishPromptly(ctx, &event.Command{Kind: event.Ping, Subject: name, At: at, Comment: keptNote}) != nil {
			return true // The bus is away, or does not take anything: the others can wait.
		}
		b.stored(name, at)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.kept) > 0
}
