package subscription

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"kemi.dev/kemi/bus/event"
)

// many are events of many keys, some of which say more than one thing.
func many(n int) (all []event.Event) {
	for i := range n {
		all = append(all, incident(fmt.Sprint("i", i%(n*2/3)), 1+i/(n*2/3), "network"))
	}
	return all
}

// times is how often each event was delivered.
func times(got []parcel) (all map[string]int, again int) {
	all = map[string]int{}
	for _, p := range got {
		if all[p.id]++; all[p.id] > 1 {
			again++
		}
	}
	return all, again
}

// A process that is killed long before all that it has in hand is taken has made progress, and little comes twice.
func TestAProcessThatDiesSoonMakesProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, map[string]Config{"audit": subscribing(t, "incidents")})
		w.hooks["audit"].slow = 400 * time.Millisecond
		w.start().stop() // It begins now.
		w.say(many(120)...)
		kills := 0
		for ; kills < 60 && len(w.hooks["audit"].has()) < 120; kills++ {
			p := w.start() // A second.
			time.Sleep(1100 * time.Millisecond)
			p.kill()
		}
		time.Sleep(time.Minute)
		w.start()
		time.Sleep(time.Minute)
		all, again := times(w.hooks["audit"].has())
		if len(all) != 120 || again > requests*kills || kills > 20 {
			t.Errorf("%d of 120 delivered, %d more than once, with %d kills", len(all), again, kills)
		}
	})
}

// A process that is told to stop lets the requests finish that are under way, and nothing comes twice.
func TestAProcessThatStopsDeliversNothingTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, map[string]Config{"audit": subscribing(t, "incidents")})
		w.hooks["audit"].slow = 500 * time.Millisecond
		w.start().stop()
		var all []event.Event
		for i := range 120 {
			all = append(all, incident(fmt.Sprint("i", i), 1, "network"))
		}
		w.say(all...)
		for range 12 {
			p := w.start()
			time.Sleep(730 * time.Millisecond)
			p.stop()
		}
		w.start()
		time.Sleep(time.Minute)
		told, again := times(w.hooks["audit"].has())
		if n := len(w.hooks["audit"].times); len(told) != 120 || again > 0 || n != 120 {
			t.Errorf("%d of 120 delivered by %d requests, %d more than once", len(told), n, again)
		}
	})
}
