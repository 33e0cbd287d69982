package buscheck

import (
	"context"
	"time"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
)

// places: an owner can tell positions that were written down of its log from those of another.
func places(e *env) {
	for i := range 3 {
		c := &event.Command{Kind: event.Ping, Subject: "s", By: "check", At: time.Now().Add(time.Duration(i) * time.Second)}
		if err := e.b.Publish(e.Context(), c); err != nil {
			e.Fatal(err)
		}
	}
	keeper := &placeKeeper{came: make(chan bus.Message[event.Command], 3)}
	owned := make(chan *bus.Ownership, 64)
	stop := e.own(e.b, bus.Options{}, func(_ context.Context, o *bus.Ownership) (bus.Handler[event.Command], error) {
		owned <- o
		return keeper, nil
	})
	var all []bus.Message[event.Command]
	partitions := map[int]*bus.Ownership{}
	e.until("three commands", func() bool {
		for {
			select {
			case m := <-keeper.came:
				all = append(all, m)
			case o := <-owned:
				partitions[o.Partition] = o
			default:
				return len(all) == 3
			}
		}
	})
	o := partitions[all[0].Partition]
	has := func(position int64, stored time.Time, want bool) {
		e.Helper()
		ctx, cancel := context.WithTimeout(e.Context(), e.h.Patience)
		defer cancel()
		if got, err := o.Has(ctx, position, stored); err != nil || got != want {
			e.Errorf("a record at %d, stored at %s: %v, %v; want %v", position, stored, got, err, want)
		}
	}
	for _, m := range all {
		written, err := time.Parse(time.RFC3339Nano, m.Stored.UTC().Format(time.RFC3339Nano))
		if err != nil {
			e.Fatal(err)
		}
		has(m.Position, written, true)
		has(m.Position, written.Add(-time.Hour), false)
		has(m.Position, written.Add(time.Hour), false)
		has(m.Position+1000, written, false)
	}
	has(0, all[0].Stored, false)
	has(-1, all[0].Stored, false)
	has(all[0].Position, time.Time{}, false)
	stop()
	ctx, cancel := context.WithCancel(e.Context())
	cancel()
	if _, err := o.Has(ctx, all[0].Position, all[0].Stored); err == nil {
		e.Error("it was said that the log is another, and nobody could know")
	}
}

type placeKeeper struct {
	came chan bus.Message[event.Command]
}

func (p *placeKeeper) Handle(_ context.Context, batch []bus.Message[event.Command]) error {
	for _, m := range batch {
		p.came <- m
	}
	return nil
}

func (p *placeKeeper) Tick(context.Context, time.Time) error { return nil }
