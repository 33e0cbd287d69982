package alerting

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"kemi.dev/kemi/alerting/notify"
	"kemi.dev/kemi/alerting/notify/inbox"
	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/bus/mem"
	"kemi.dev/kemi/internal/obs"
)

// stopped is a house that is stopped in good order while a receiver has a page in its hands, and started again.
func stopped(t *testing.T, does func(ctx context.Context, n int) error) (r *receiver, took time.Duration, page *event.Page) {
	h := &house{t: t, d: mem.New(), boxes: &inbox.Set{}, started: time.Now()}
	h.b = bus.New(h.d, bus.Settings{}, obs.Scope{})
	if err := h.b.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	begun := make(chan struct{}, 10)
	r = &receiver{does: func(ctx context.Context, n int, _ *event.Page) error {
		begun <- struct{}{}
		return does(ctx, n)
	}}
	h.extra = map[string]notify.Notifier{"net": r}
	h.target("srv-1", "server", "net")
	h.start()
	time.Sleep(time.Second)
	h.down("srv-1", "net")
	<-begun
	at := time.Now()
	h.stop()
	took = time.Since(at)
	err := bus.Snapshot(t.Context(), h.b, func(m bus.Message[event.Page]) error {
		page = m.Event
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	h.start()
	time.Sleep(time.Minute)
	h.stop()
	return r, took, page
}

func TestAPageUnderWayIsDeliveredWhenTheRoomStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, took, page := stopped(t, func(ctx context.Context, _ int) error {
			select {
			case <-time.After(600 * time.Millisecond):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		if took > 700*time.Millisecond {
			t.Errorf("stopping took %s", took)
		}
		if page == nil || page.Stage != event.PageSent {
			t.Errorf("the ledger says %+v; want sent", page)
		}
		if pages, _ := r.all(); len(pages) != 1 || pages[0].PossibleDuplicate || r.attempts()[page.ID] != 1 {
			t.Errorf("%d pages arrived in %v attempts", len(pages), r.attempts())
		}
	})
}

// An attempt that the receiver refuses while the room stops is an attempt: it counts.
func TestAnAttemptThatIsRefusedWhileTheRoomStopsCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _, page := stopped(t, func(_ context.Context, n int) error {
			if n == 1 {
				time.Sleep(300 * time.Millisecond)
				return errors.New("503")
			}
			return nil
		})
		if page == nil || page.Stage != event.PageRetrying || page.Attempts != 1 {
			t.Errorf("the ledger says %+v; want retrying", page)
		}
		if pages, _ := r.all(); len(pages) != 1 || r.attempts()[page.ID] != 2 {
			t.Errorf("%d pages arrived in %v attempts", len(pages), r.attempts())
		}
	})
}

// A receiver that hangs holds the stopping up by a moment only; the page is sent again afterwards under the same key.
func TestAReceiverThatHangsHardlyDelaysStopping(t *testing.T) {
	for name, hang := range map[string]func(context.Context){
		"heeds its context": func(ctx context.Context) { <-ctx.Done() },
		"does not":          func(context.Context) { time.Sleep(30 * time.Second) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, took, page := stopped(t, func(ctx context.Context, n int) error {
					if n > 1 {
						return nil
					}
					hang(ctx)
					return errors.New("cut")
				})
				if took < 900*time.Millisecond || took > 1200*time.Millisecond {
					t.Errorf("stopping took %s; want the grace of a second", took)
				}
				if page == nil || page.Stage != event.PageIntent {
					t.Errorf("the ledger says %+v; want the intent alone", page)
				}
				if pages, _ := r.all(); len(pages) != 1 || pages[0].ID != page.ID || pages[0].DedupKey != page.DedupKey || !pages[0].PossibleDuplicate {
					t.Errorf("%d pages arrived: %+v", len(pages), pages)
				}
			})
		})
	}
}

func TestAPartitionThatGoesLeavesNoGaugeBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		time.Sleep(2 * time.Second)
		if n := testutil.CollectAndCount(h.room.open) + testutil.CollectAndCount(h.room.unsent); n == 0 {
			t.Fatal("a room that owns partitions has no gauges")
		}
		before := testutil.CollectAndCount(h.room.open)
		first := h.room
		crash := h.crash
		h.start() // Another process takes its share.
		time.Sleep(time.Minute)
		if a, b := testutil.CollectAndCount(first.open), testutil.CollectAndCount(h.room.open); a == before || b == 0 || a+b != before {
			t.Errorf("of %d partitions the first has gauges for %d and the second for %d", before, a, b)
		}
		crash()
		h.crash()
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := testutil.CollectAndCount(first.open) + testutil.CollectAndCount(first.unsent) + testutil.CollectAndCount(h.room.open); n != 0 {
			t.Errorf("%d gauges are left of rooms that own nothing", n)
		}
	})
}

// A target in a zone without pollers cannot be asked; the others are.
func TestVerifyingPollsOfAnUnknownZoneSpoilNoOthers(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		asked := make(chan string, 10)
		h.poll(func(target string) event.Verdict { asked <- target; return event.VerdictFiring })
		abroad := &event.Target{
			ID: "core-0", Class: "switch", Team: "net", Lifecycle: event.Active, Labels: map[string]string{"zone": "abroad"},
			Checks: []event.Check{{Name: "snmp", Kind: "snmp", Every: 10 * time.Second}},
		}
		h.say(abroad)
		h.target("core-1", "switch", "net")
		h.target("srv-1", "server", "shop", "core-0", "core-1")
		time.Sleep(2 * time.Second)
		h.down("srv-1", "shop")
		time.Sleep(10 * time.Second)
		if len(asked) == 0 {
			t.Error("nobody was asked")
		}
	})
}
