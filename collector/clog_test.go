package collector

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/obs"
)

// A bus that takes no readings for half an hour, because its disk is full: hardly anything is polled meanwhile, it is said
// now and then, and when it takes them again each job has its one outcome.
func TestWhileTheBusTakesNoReadingsPollingIsHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said strings.Builder
		h := open(t, Options{MaxInFlight: 20, Scope: obs.New(slog.New(slog.NewTextHandler(&said, nil)), prometheus.NewRegistry())})
		defer h.stop()
		h.driver.set(true)
		const targets, slots = 10, 180
		for range slots {
			for i := range targets {
				h.say(t, due(fmt.Sprint("t", i)))
			}
			time.Sleep(10 * time.Second)
		}
		synctest.Wait()
		polls := 0
		for i := range targets {
			name := fmt.Sprint("t", i)
			polls += h.poller.count(name)
			if len(h.of(name)) != 0 {
				t.Fatal("the bus took a reading")
			}
		}
		if polls > 2*probeMost+targets {
			t.Errorf("%d polls whose outcome nobody learnt", polls)
		}
		m := &h.room.metrics
		if testutil.ToFloat64(m.held) != 1 || testutil.ToFloat64(m.unpublished) < 1 || testutil.ToFloat64(m.refused.WithLabelValues()) < 100 {
			t.Errorf("held back %v, waiting %v, refused %v", testutil.ToFloat64(m.held), testutil.ToFloat64(m.unpublished), testutil.ToFloat64(m.refused.WithLabelValues()))
		}
		if n := strings.Count(said.String(), "polling is held back"); n < 25 || n > 31 {
			t.Errorf("it was said %d times in half an hour", n)
		}
		h.driver.set(false)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		for i := range targets {
			name := fmt.Sprint("t", i)
			slot := map[int64]int{}
			for _, r := range h.of(name) {
				slot[r.Slot.UnixMilli()]++
				if r.Status != event.StatusOK && r.Status != event.StatusLate {
					t.Errorf("%s: %s %s", name, r.Status, r.Message)
				}
			}
			for s, n := range slot {
				if n != 1 {
					t.Errorf("%s at %d has %d outcomes", name, s, n)
				}
			}
			if len(slot) != slots {
				t.Errorf("%s: %d outcomes of %d jobs", name, len(slot), slots)
			}
		}
		if testutil.ToFloat64(m.held) != 0 || testutil.ToFloat64(m.unpublished) != 0 {
			t.Errorf("held back %v, waiting %v", testutil.ToFloat64(m.held), testutil.ToFloat64(m.unpublished))
		}
		if !strings.Contains(said.String(), "readings are published again") {
			t.Error("it was not said that it is over")
		}
		h.say(t, due("t0"))
		time.Sleep(time.Second)
		synctest.Wait()
		if got := h.of("t0"); got[len(got)-1].Status != event.StatusOK {
			t.Errorf("afterwards: %s", got[len(got)-1].Status)
		}
	})
}

// One reading that the bus never takes, whatever it is, does not keep the others from being made and published.
func TestAReadingThatIsNeverTakenHoldsUpNobody(t *testing.T) {
	var c clog
	now := time.Unix(0, 0)
	c.refused(true, now)
	passed := 0
	for i := range 600 {
		now = now.Add(100 * time.Millisecond)
		if i%10 == 0 {
			c.refused(false, now)
		}
		if ok, _ := c.pass(now); ok {
			passed++
			c.taken(false, now)
		}
	}
	if passed < 540 {
		t.Errorf("%d of 600 passed", passed)
	}
}
