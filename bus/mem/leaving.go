package mem

import (
	"context"
	"errors"
	"sync/atomic"

	"kemi.dev/kemi/bus/driver"
)

// Leaving is a broker that can go away: it stores nothing then, and whoever publishes waits in vain.
type Leaving struct {
	*Driver
	// Away is whether it is gone, Known whether that is known.
	Away, Known atomic.Bool
}

// Health implements driver.Inspector.
func (l *Leaving) Health() error {
	if l.Known.Load() {
		return errors.New("no broker answers since noon")
	}
	return l.Driver.Health()
}

// Publish implements driver.Driver.
func (l *Leaving) Publish(ctx context.Context, records []driver.Record, f *driver.Fence) error {
	if l.Away.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	return l.Driver.Publish(ctx, records, f)
}

// Leave has it go away, known to everybody.
func (l *Leaving) Leave() {
	l.Away.Store(true)
	l.Known.Store(true)
}

// Return has it come back.
func (l *Leaving) Return() {
	l.Away.Store(false)
	l.Known.Store(false)
}
