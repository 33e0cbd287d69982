package subscription

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// One event that is never taken, whatever the endpoint answers to it, and others that are said while it waits: those come
// within minutes, and it is a dead letter once enough of them were taken between its attempts.
func TestAnEventThatIsNotTakenHoldsUpNothingThatComesLater(t *testing.T) {
	for name, status := range map[string]int{"503": 503, "502": 502, "no answer": 0, "429": 429, "500": 500} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newTown(t, map[string]Config{"audit": subscribing(t, "incidents")})
				w.hooks["audit"].set(func(p parcel, _ int) int {
					if strings.Contains(p.body, `"title":"a 1"`) {
						return status
					}
					return 200
				})
				w.start()
				w.say(series("a", 2)...)
				time.Sleep(time.Minute)
				said := 0
				for i := range 12 { // As the day goes.
					w.say(incident(fmt.Sprint("b", said), 1, "network"))
					said++
					if i == 0 { // Nobody knows yet that it is not the endpoint.
						time.Sleep(10 * time.Minute)
					}
					time.Sleep(3 * time.Minute)
					if told := sequence(t, w.hooks["audit"].has()); len(slices.DeleteFunc(told, func(s string) bool { return s[0] == 'a' })) != said {
						t.Fatalf("told %v of %d", told, said)
					}
				}
				time.Sleep(10 * time.Minute)
				all := w.letters(Group("audit"))
				if len(all) != 1 || all[0].Key != "a" || !strings.Contains(all[0].Reason, "given up after") {
					t.Fatalf("letters %+v", all)
				}
				if told := sequence(t, w.hooks["audit"].has()); !slices.Equal(of(told, "a"), []string{"a 2"}) {
					t.Errorf("then %v", told)
				}
			})
		})
	}
}

// A busy partition cannot be taken ahead without end: the event is a dead letter before there is no room for more.
func TestAnEventThatIsNotTakenStopsABusyPartitionForMinutesAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, map[string]Config{"audit": subscribing(t, "incidents")})
		w.hooks["audit"].set(func(p parcel, _ int) int {
			switch {
			case strings.Contains(p.body, `"title":"a 1"`):
				return 503
			case strings.Contains(p.body, `"title":"c 1"`):
				return 400
			}
			return 200
		})
		w.start()
		w.say(append(series("a", 2), series("c", 3)...)...)
		for i := range 1000 {
			w.say(incident(fmt.Sprint("b", i), 1, "network"))
		}
		time.Sleep(time.Minute)
		all := w.letters(Group("audit")) // What is refused does not wait for what is not taken.
		if len(all) != 1 || all[0].Key != "c" {
			t.Errorf("letters %+v", all)
		}
		told := sequence(t, w.hooks["audit"].has())
		if n := len(told); n < 200 || !slices.Equal(of(told, "c"), []string{"c 2", "c 3"}) || len(of(told, "a")) > 0 {
			t.Errorf("told %d: %v", n, told)
		}
		time.Sleep(hold + 10*time.Minute)
		if all := w.letters(Group("audit")); len(all) != 2 || all[1].Key != "a" {
			t.Errorf("letters %+v", all)
		}
		told = sequence(t, w.hooks["audit"].has())
		if len(told) != 1000+3 || !slices.Equal(of(told, "a"), []string{"a 2"}) {
			t.Errorf("then %d", len(told))
		}
	})
}

// An endpoint that is down, or takes only some for a while, is no event's fault.
func TestAnEndpointThatTakesOnlySomeForAWhileMakesNoDeadLetters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, map[string]Config{"audit": subscribing(t, "incidents")})
		begun := time.Now()
		w.hooks["audit"].set(func(p parcel, attempt int) int {
			switch age := time.Since(begun); {
			case age < hold-2*time.Minute && strings.Contains(p.body, `"title":"a `): // It takes the others.
				return 503
			case age > hold-2*time.Minute && age < 10*time.Hour:
				return 0
			}
			return 200
		})
		w.start()
		for i := range 46 {
			w.say(incident(string("ab"[i%2]), i, "network"))
			time.Sleep(20 * time.Second)
		}
		time.Sleep(10 * time.Hour)
		if told, all := sequence(t, w.hooks["audit"].has()), w.letters(""); len(told) != 46 || len(all) != 0 {
			t.Errorf("%d told, letters %+v", len(told), all)
		}
	})
}
