package subscription

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A process that ends while an event waits, and others were taken in its place, has none of those delivered again, however
// often that happens; the one that waits comes in its order when it is taken. One that is killed repeats what was under way.
func TestWhatWasTakenAheadOfAnEventThatWaitsComesOnce(t *testing.T) {
	for name, kill := range map[string]bool{"stopped": false, "killed": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newTown(t, map[string]Config{"audit": subscribing(t, "incidents")})
				refuse := func(p parcel, _ int) int {
					if strings.Contains(p.body, `"title":"a 1"`) {
						return 503
					}
					return 200
				}
				w.hooks["audit"].set(refuse)
				w.start().stop()
				w.say(series("a", 3)...)
				said := 3
				for range 4 {
					p := w.start()
					for range 20 {
						w.say(incident(fmt.Sprint("b", said), 1, "network"))
						said++
					}
					time.Sleep(3 * time.Minute)
					if kill {
						p.kill()
					}
					p.stop()
				}
				all, again := times(w.hooks["audit"].has())
				if len(all) != said-3 || again > 0 {
					t.Errorf("while it waits: %d of %d delivered, %d more than once", len(all), said-3, again)
				}
				w.hooks["audit"].set(nil)
				p := w.start()
				time.Sleep(20 * time.Minute)
				p.stop()
				all, again = times(w.hooks["audit"].has())
				if told := of(sequence(t, w.hooks["audit"].has()), "a"); len(all) != said || again > 0 || !slices.Equal(told, titles("a", 3)) {
					t.Errorf("then %d of %d delivered, %d more than once, %v", len(all), said, again, told)
				}
			})
		})
	}
}
