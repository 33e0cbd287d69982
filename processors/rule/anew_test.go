package rule_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kemi.dev/kemi/bus/driver"
)

// A topic that is removed, and made again, takes along what was in it and nothing else: what comes after is judged, timers
// go on, and whoever is to be told is told. Saved positions are of the log before.
func TestALogThatBeganAnewIsJudged(t *testing.T) {
	for _, topics := range [][]string{{"findings.v1"}, {"readings.v1"}, {"readings.v1", "findings.v1"}} {
		for _, killed := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t, roomRules)
				then := func() {
					pass(300 * time.Millisecond)
					if killed {
						h.restart()
					}
					pass(9700 * time.Millisecond)
				}
				for range 20 {
					h.poll("t1", 1)
					pass(10 * time.Second)
				}
				for _, topic := range topics {
					h.broker.Remove(topic)
				}
				if !killed {
					pass(2 * time.Second)
				}
				h.expect()
				h.poll("t1", 2)
				then()
				h.expect("Down pending condition-true")
				for range 3 {
					h.poll("t1", 2)
					then()
				}
				h.expect("Down firing held-for", "ALERT Down firing unknown=false")
				for _, topic := range topics {
					h.broker.Remove(topic)
				}
				h.poll("t1", 1)
				then()
				h.expect("Down ok condition-false", "ALERT Down resolved unknown=false")
			})
		}
	}
}

// A broker may lose how far a group had come, and nothing else: its readings are handed over from the oldest on. What was
// judged is not judged again, though what it was like then is not what it is like now; the first reading that is new is.
func TestReadingsThatWereJudgedAreNotJudgedAgain(t *testing.T) {
	for _, dies := range []string{"", "at once", "half-way", "twice"} {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t, roomRules)
			each := func(n, t1, t2, t3 int) {
				for range n {
					h.poll("t1", t1)
					h.poll("t2", t2)
					h.poll("t3", t3)
					pass(10 * time.Second)
				}
			}
			each(20, 1, 1, 2) // t3 fires, and is over when the others begin.
			each(20, 1, 1, 1)
			each(5, 2, 0, 1)
			h.expect("Down pending condition-true", "Down firing held-for", "ALERT Down firing unknown=false", "Down ok condition-false", "ALERT Down resolved unknown=false",
				"Down pending condition-true", "Down firing held-for", "ALERT Down firing unknown=false")
			heard := len(h.reach)

			for range map[string]int{"": 0, "at once": 1, "half-way": 1, "twice": 2}[dies] {
				h.kill()
				h.broker.Forget()
				if dies != "at once" {
					h.start(&stuck{Driver: h.broker.Open(), after: 50})
					pass(3 * time.Minute) // What it knows is saved more than once.
					h.kill()
				}
				h.start(h.broker.Open())
				pass(3 * time.Minute)
			}
			if dies == "" {
				h.broker.Forget()
				pass(3 * time.Minute)
			}
			h.expect()
			h.mu.Lock()
			for _, again := range h.reach[heard:] { // What is true may be said again.
				if !slices.Contains([]string{"t1 reachable since 0s", "t2 unreachable since 6m40s", "t3 reachable since 0s"}, again) {
					t.Errorf("dies %q: of being reachable it was said %q", dies, again)
				}
			}
			h.mu.Unlock()
			each(1, 1, 1, 1)
			h.expect("Down ok condition-false", "ALERT Down resolved unknown=false")
			h.mu.Lock()
			defer h.mu.Unlock()
			if got, want := h.reach[heard:], "t2 reachable since "; !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, want) }) {
				t.Errorf("dies %q: said %q, which is not that t2 is back", dies, got)
			}
		})
	}
}

// stuck hands over so many readings, and no more.
type stuck struct {
	driver.Driver
	after int
}

func (s *stuck) Subscribe(ctx context.Context, sub driver.Subscription) (driver.Feed, error) {
	f, err := s.Driver.Subscribe(ctx, sub)
	if err != nil || sub.Topic != "readings.v1" || sub.Group == "" {
		return f, err
	}
	return &stuckFeed{Feed: f, left: s.after}, nil
}

type stuckFeed struct {
	driver.Feed
	left int
}

func (f *stuckFeed) Next(ctx context.Context) ([]driver.Delivery, error) {
	if f.left <= 0 {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	ds, err := f.Feed.Next(ctx)
	for i := range ds {
		if ds[i].Event != driver.Data {
			continue
		}
		if f.left--; f.left < 0 {
			return ds[:i], err
		}
	}
	return ds, err
}
