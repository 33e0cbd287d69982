package subscription

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// How an endpoint that fails is asked again: after a second, then twice as late each time, with jitter of ±20 %, but not before
// it wants to be. Refusals are about one event each; but an endpoint that refuses one after another is asked more slowly
// too, so that a wrong address does not make a dead letter of everything within a minute.
const (
	firstWait    = time.Second
	longestWait  = 5 * time.Minute
	refusedWait  = time.Minute
	suspectWait  = time.Minute // After what others were taken in place of: they are not to wait for long.
	freeRefusals = 3
	// downAfter is how many failures in a row say that it is the endpoint, not an event.
	downAfter = 3
)

// gate holds back what goes to one endpoint while that does not work. While it is closed one attempt at a time passes, when
// its time has come. It is safe for concurrent use; the zero gate is open.
type gate struct {
	mu       sync.Mutex
	failures int // In a row.
	refusals int // In a row.
	until    time.Time
	probing  bool
	turn     int           // Grows whenever the gate closes or opens.
	changed  chan struct{} // Is closed with every change.
}

// wait is how long to wait after so many failures in a row.
func wait(failures int, longest time.Duration) time.Duration {
	d := longest
	if failures < 12 {
		d = min(firstWait<<(failures-1), longest)
	}
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64()))
}

// enter waits until an attempt may be made; ok is false when ctx or stop ended before. Whoever entered says what came of it,
// with the turn it was given.
func (g *gate) enter(ctx context.Context, stop <-chan struct{}) (turn int, ok bool) {
	for {
		g.mu.Lock()
		left := time.Until(g.until)
		if g.until.IsZero() || left <= 0 && !g.probing {
			g.probing = !g.until.IsZero()
			turn = g.turn
			g.mu.Unlock()
			return turn, true
		}
		if g.changed == nil {
			g.changed = make(chan struct{})
		}
		changed := g.changed
		var due <-chan time.Time
		if left > 0 {
			timer := time.NewTimer(left)
			defer timer.Stop()
			due = timer.C
		}
		g.mu.Unlock()
		select {
		case <-ctx.Done():
			return 0, false
		case <-stop:
			return 0, false
		case <-changed:
		case <-due:
		}
	}
}

// worked opens the gate.
func (g *gate) worked(turn int) {
	g.change(turn, func(time.Time) {
		if g.failures, g.refusals = 0, 0; !g.until.IsZero() {
			g.until, g.probing, g.turn = time.Time{}, false, g.turn+1
		}
	})
}

// failed closes the gate, or keeps it closed for longer; after is how long the endpoint wants to be left alone, longest
// how long it is at most, else. Failures of attempts that went out together count as one.
func (g *gate) failed(turn int, after, longest time.Duration) {
	g.change(turn, func(now time.Time) {
		if turn == g.turn {
			g.refusals = 0
			g.failures++
			g.until = now.Add(wait(g.failures, longest))
			g.turn++
		}
		if at := now.Add(after); after > 0 && at.After(g.until) {
			g.until = at
		}
	})
}

// refused says that the endpoint answered, and did not want this event.
func (g *gate) refused(turn int) {
	g.change(turn, func(now time.Time) {
		g.failures = 0
		if g.refusals++; g.refusals <= freeRefusals {
			g.until = time.Time{}
		} else if turn == g.turn {
			g.until = now.Add(wait(g.refusals-freeRefusals, refusedWait))
			g.turn++
		}
	})
}

// nothing says that the attempt was broken off.
func (g *gate) nothing(turn int) { g.change(turn, func(time.Time) {}) }

// change ends an attempt.
func (g *gate) change(turn int, how func(now time.Time)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if turn == g.turn { // Else it began before the gate closed, and another may be out to try.
		g.probing = false
	}
	how(time.Now())
	if g.changed != nil {
		close(g.changed)
		g.changed = nil
	}
}

// down reports whether the endpoint seems not to work at all.
func (g *gate) down() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.failures >= downAfter || g.refusals > freeRefusals
}
