package subscription

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/bus/mem"
)

// noLetters is a broker that takes no dead letter now.
type noLetters struct{ driver.Driver }

func (n noLetters) Publish(ctx context.Context, records []driver.Record, fence *driver.Fence) error {
	if len(records) > 0 && records[0].Topic == bus.TopicDead {
		return driver.ErrFull
	}
	return n.Driver.Publish(ctx, records, fence)
}

func TestWhatComesAfterARefusedEventOfItsKeyWaitsUntilTheLetterIsStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, map[string]Config{"audit": subscribing(t, "incidents")})
		w.hooks["audit"].set(func(p parcel, attempt int) int {
			if strings.Contains(p.body, `"title":"a 1"`) && attempt == 1 {
				return 400
			}
			return 200
		})
		p := w.start(func(d *mem.Driver) driver.Driver { return noLetters{d} })
		w.say(append(series("a", 3), series("b", 3)...)...)
		time.Sleep(time.Hour)
		if told := sequence(t, w.hooks["audit"].has()); len(of(told, "a")) > 0 || !slices.Equal(of(told, "b"), titles("b", 3)) {
			t.Errorf("told %v", told)
		}
		p.kill()
		w.start()
		time.Sleep(time.Minute)
		if told := sequence(t, w.hooks["audit"].has()); !slices.Equal(of(told, "a"), titles("a", 3)) {
			t.Errorf("told %v", told)
		}
	})
}

// Whatever an endpoint answers, and whenever processes are killed: everything is delivered or a dead letter, and of each
// incident what was delivered first of each event is in the order in which it was said.
func TestOrderPerKeyHoldsWhateverHappens(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		answers := rapid.SliceOfN(rapid.SampledFrom([]int{200, 200, 200, 200, 0, 503, 429, 500, 400}), 1, 40).Draw(rt, "answers")
		steps := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "a", "b", "kill", "start", "wait"}), 5, 40).Draw(rt, "steps")
		wrong := ""
		synctest.Test(t, func(t *testing.T) {
			w := newTown(t, map[string]Config{"audit": subscribing(t, "incidents")})
			n := 0
			w.hooks["audit"].set(func(parcel, int) int { n++; return answers[n%len(answers)] })
			w.start()
			running := []*process{w.start()}
			said := map[string]int{}
			for _, step := range steps {
				switch step {
				case "kill":
					if len(running) > 0 {
						running[0].kill()
						running = running[1:]
					}
				case "start":
					running = append(running, w.start())
				case "wait":
					time.Sleep(20 * time.Second)
				default:
					said[step]++
					w.say(incident(step, said[step], "network"))
				}
			}
			time.Sleep(time.Minute)
			w.hooks["audit"].set(nil)
			time.Sleep(30 * time.Minute)
			told := sequence(t, w.hooks["audit"].has())
			lost := map[string][]string{}
			for _, l := range w.letters(Group("audit")) {
				one, err := w.b.Letter(t.Context(), l.ID)
				e, err2 := w.b.Decode(one)
				if errors.Join(err, err2) != nil {
					t.Fatal(err, err2)
				}
				lost[l.Key] = append(lost[l.Key], e.(*event.Incident).Title)
			}
			for id, n := range said {
				dead := func(s string) bool { return slices.Contains(lost[id], s) } // One that a kill brought back may have been told, too.
				want, got := slices.DeleteFunc(titles(id, n), dead), slices.DeleteFunc(of(told, id), dead)
				if !slices.Equal(got, want) {
					wrong += fmt.Sprintf("%s was told as %v, want %v\n", id, got, want)
				}
			}
		})
		if wrong != "" {
			rt.Fatal(wrong)
		}
	})
}
