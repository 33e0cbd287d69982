package alerting

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"kemi.dev/kemi/alerting/notify"
	"kemi.dev/kemi/alerting/notify/inbox"
	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/bus/mem"
	"kemi.dev/kemi/internal/obs"
)

// pausing is the connection of a process that is stopped right after it wrote down what it was about to send, for so long
// that its partitions went to another.
type pausing struct {
	*mem.Driver
	paused atomic.Bool
}

func (p *pausing) Publish(ctx context.Context, records []driver.Record, fence *driver.Fence) error {
	err := p.Driver.Publish(ctx, records, fence)
	if err == nil && fence != nil && len(records) > 0 && records[0].Topic == (*event.Page)(nil).Topic().Name && p.paused.CompareAndSwap(false, true) {
		p.Lose()
	}
	return err
}

// A process that was paused between writing a page down and sending it, and comes back when another owns the page, does
// not send it.
func TestAPausedOwnerSendsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &house{t: t, d: mem.New(), boxes: &inbox.Set{}, started: time.Now()}
		h.b = bus.New(h.d, bus.Settings{}, obs.Scope{})
		if err := h.b.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		r := &receiver{does: func(context.Context, int, *event.Page) error { return nil }}
		h.extra = map[string]notify.Notifier{"net": r}
		h.target("srv-1", "server", "net")
		var connection *pausing
		h.wrap = func(d *mem.Driver) driver.Driver {
			connection = &pausing{Driver: d}
			return connection
		}
		h.start()
		time.Sleep(time.Second)
		h.down("srv-1", "net")
		time.Sleep(2 * time.Minute)
		h.stop()
		if !connection.paused.Load() {
			t.Fatal("nothing was written down")
		}
		pages, _ := r.all()
		if len(pages) != 1 || r.attempts()[pages[0].ID] != 1 {
			t.Errorf("%d pages arrived in %v attempts, want one in one", len(pages), r.attempts())
		}
	})
}
