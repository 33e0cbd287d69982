package alerting

import (
	"testing"
	"time"

	"kemi.dev/kemi/bus/event"
)

// What is known of whether a page arrived is the same after a restart: of one that was given up and never tried nobody hears
// that it is over, of one that may have been tried whoever it was for does.
func TestWhatIsKnownOfAPageThatWasGivenUpOutlivesARestart(t *testing.T) {
	for name, c := range map[string]struct {
		restored bool // Before: its attempt may have been made by a process that is no more.
		arrival  event.Arrival
		due      int
	}{
		"its turn never came":          {false, event.NotArrived, 0},
		"perhaps tried before a crash": {true, event.ArrivalUnknown, 1},
	} {
		l, now := newLedger()
		p := intent("i", "chat", event.PageFiring, now)
		if l.Take(p, now); c.restored {
			retrying := *p
			retrying.Stage, retrying.Attempts, retrying.Arrival, retrying.NextTry = event.PageRetrying, 1, event.NotArrived, now
			l, _ = newLedger()
			l.Restore([]*event.Page{&retrying}, now)
		}
		l.Lines()
		now = now.Add(25 * time.Hour) // Its receiver's breaker was open all the time.
		l.Review(now)
		lines := l.Lines()
		if len(lines) != 1 || lines[0].Stage != event.PageFailed || lines[0].Arrival != c.arrival {
			t.Fatalf("%s: %d lines, the first %+v", name, len(lines), lines[0])
		}
		again, _ := newLedger()
		again.Restore(lines, now)
		for _, l := range []*Ledger{l, again} {
			l.Take(intent("i", "chat", event.PageResolved, now), now)
			if got := l.Due(now); len(got) != c.due {
				t.Errorf("%s: that it is over is told %d times, want %d; restarted: %t", name, len(got), c.due, l == again)
			}
		}
	}
}
