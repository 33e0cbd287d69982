package collector

import (
	"context"
	"sync"
	"time"
)

const (
	// sayEvery is how often it is said that the bus takes no readings.
	sayEvery = time.Minute
	// probeEvery is how often a job is let through all the same, and probeMost as long as how few readings wait: one
	// reading that is refused for what it is must not keep all the others from being made.
	probeEvery = time.Second
	probeMost  = 16
)

// clog is what the collector knows of a bus that takes no readings: because its disk is full, or because it is away.
// While the last reading was refused no new poll begins, as nobody would learn its outcome; what was read already waits.
type clog struct {
	mu     sync.Mutex
	stuck  int           // Readings that were refused and wait.
	since  time.Time     // When the first was refused after one was taken.
	said   time.Time     // When it was last said; zero when it was not.
	probed time.Time     // When a job was last let through.
	free   chan struct{} // Closed when the bus takes readings again; nil while it does.
}

// refused notes that the bus did not take a reading; first that it is this one's first refusal. say tells that it is to be
// said now.
func (c *clog) refused(first bool, now time.Time) (say bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if first {
		c.stuck++
	}
	if c.free == nil {
		c.free = make(chan struct{})
		c.since = now
	}
	if say = now.Sub(c.said) >= sayEvery; say {
		c.said = now
	}
	return say
}

// taken notes that the bus took a reading; waited that it had been refused before. It returns for how long the bus took
// none, when that is over with this one.
func (c *clog) taken(waited bool, now time.Time) (over time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if waited {
		c.stuck--
	}
	if c.free != nil {
		close(c.free)
		c.free = nil
		over = now.Sub(c.since)
	}
	return over
}

// left notes that a reading that was refused waits no longer.
func (c *clog) left() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stuck--
}

// state is for the metrics.
func (c *clog) state() (stuck int, held bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stuck, c.free != nil
}

// pass says whether a job may begin, else what to wait for.
func (c *clog) pass(now time.Time) (bool, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.free == nil:
		return true, nil
	case c.stuck < probeMost && now.Sub(c.probed) >= probeEvery:
		c.probed = now
		return true, nil
	}
	return false, c.free
}

// wait blocks until the bus takes readings.
func (c *clog) wait(ctx context.Context) error {
	for {
		ok, free := c.pass(time.Now())
		if ok {
			return ctx.Err()
		}
		again := time.NewTimer(probeEvery)
		select {
		case <-free:
		case <-again.C:
		case <-ctx.Done():
			again.Stop()
			return ctx.Err()
		}
		again.Stop()
	}
}
