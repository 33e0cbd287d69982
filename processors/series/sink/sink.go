// Package sink is what a time-series store must do to be written to.
//
// In: Readings. Out: nothing but an answer: stored, try again, or poison.
// It promises that sinks need to know neither the bus nor each other. It never does anything itself.
package sink

import (
	"context"
	"errors"
	"time"

	"kemi.dev/kemi/bus/event"
)

// Sink is a time-series store. Each sink consumes the readings at its own pace.
type Sink interface {
	// Start makes the sink ready to write; an error ends the process, it is about what waiting will not mend: a directory
	// in use, a disk that may not be written. A remote server that is down is no error here.
	Start(ctx context.Context) error
	// Writer makes the writer of one partition of the readings. Writers of several partitions work at once.
	Writer(partition int) Writer
	// Rewind says from when on the sink wants to read again what it had acknowledged before, because it may have lost it;
	// ok is false when it lost nothing. The zero time means everything.
	Rewind() (since time.Time, ok bool)
	// Close ends what Start began, after the last Write has returned.
	Close() error
}

// Local is a Sink that stores in this process: it gets every reading, whatever other processes with such a sink get.
type Local interface {
	// ID tells this store from all others, after Start: how far it is on the bus is kept under it, so that a store that
	// was emptied or is new begins with the oldest reading there is.
	ID() string
}

// Writer writes the readings of one partition, in order. It is used by one goroutine.
type Writer interface {
	// Write stores a batch and returns how many samples that were. Nil means that everything is stored. After an error the
	// same readings come again: writing twice does no harm. An error marked by Poison says that trying again is useless;
	// which reading is to blame is found by handing over smaller batches.
	Write(ctx context.Context, batch []*event.Reading) (samples int, err error)
	// Tick is called about once a second while nothing is written.
	Tick(now time.Time)
}

type poison struct{ err error }

func (p poison) Error() string { return p.err.Error() }
func (p poison) Unwrap() error { return p.err }

// Poison marks an error that trying again cannot mend: the store refuses what it was given.
func Poison(err error) error {
	if err == nil {
		return nil
	}
	return poison{err}
}

// IsPoison reports whether err was marked by Poison.
func IsPoison(err error) bool {
	var p poison
	return errors.As(err, &p)
}
