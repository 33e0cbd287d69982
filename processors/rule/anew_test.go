package rule_test

import (
	"testing"
	"testing/synctest"
	"time"
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
