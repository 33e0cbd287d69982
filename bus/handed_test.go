package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
)

// taker says of each round what it was handed, and answers as it is told to.
type taker struct {
	mu     sync.Mutex
	rounds [][]string
	answer func(round int, batch []bus.Message[event.Incident]) error
}

func (h *taker) Handle(_ context.Context, batch []bus.Message[event.Incident]) error {
	var ids []string
	for _, m := range batch {
		ids = append(ids, m.Event.ID)
	}
	h.mu.Lock()
	h.rounds = append(h.rounds, ids)
	h.mu.Unlock()
	return h.answer(len(h.rounds), batch)
}

func (h *taker) seen() [][]string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.rounds)
}

func (*taker) Tick(context.Context, time.Time) error { return nil }

func TestWhoAsksForMoreIsHandedWhatComesWhileSomeAreNotTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := open(t)
		var taken atomic.Bool
		h := &taker{answer: func(round int, batch []bus.Message[event.Incident]) error {
			i := slices.IndexFunc(batch, func(m bus.Message[event.Incident]) bool { return m.Event.ID == "i3" })
			switch {
			case round > 2 && i >= 0:
				return bus.PermanentAt(batch[i].Position, errors.New("i3 is bad"))
			case taken.Load():
				return nil
			}
			return errors.New("not now")
		}}
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan error, 1)
		opts := bus.Options{Batch: 4, More: 3}
		go func() {
			over <- bus.Own(ctx, b, "takers", opts, func(_ context.Context, o *bus.Ownership) (bus.Handler[event.Incident], error) { return h, nil })
		}()
		time.Sleep(time.Second)
		for i := range 30 {
			now := time.Now()
			one := &event.Incident{
				ID: fmt.Sprint("i", i), Domain: event.DefaultDomain, State: event.IncidentOpen, Kind: event.IncidentOwn, Title: "x", Severity: "critical",
				Urgency: event.UrgencyPage, OpenedAt: now, Updated: now, Revision: 1, Reason: event.Reason{Code: "test"},
			}
			if err := b.Publish(t.Context(), one); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		letters, _, err := b.Letters(t.Context(), bus.LetterFilter{Group: "takers"}, 0)
		if err != nil || len(letters) != 1 || letters[0].Key != "i3" || !strings.Contains(letters[0].Reason, "i3 is bad") {
			t.Fatalf("letters %+v, %v", letters, err)
		}
		rounds := h.seen()
		for i := 1; i < len(rounds); i++ {
			was, is := slices.DeleteFunc(slices.Clone(rounds[i-1]), func(id string) bool { return id == "i3" && !slices.Contains(rounds[i], id) }), rounds[i]
			if len(is) < len(was) || !slices.Equal(is[:len(was)], was) || len(is)-len(was) > opts.More {
				t.Errorf("after %v came %v", was, is)
			}
		}
		if last := rounds[len(rounds)-1]; len(last) != 4*opts.Batch-1 || last[len(last)-1] != "i15" {
			t.Errorf("at last %v", last)
		}
		taken.Store(true)
		time.Sleep(time.Minute)
		rounds = h.seen()
		if last := rounds[len(rounds)-1]; last[len(last)-1] != "i29" {
			t.Errorf("then %v", last)
		}
		cancel()
		if err := <-over; err != nil {
			t.Error(err)
		}
		info, err := b.Inspect(t.Context(), "incidents.v1")
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range info.Groups {
			for _, p := range g.Partitions {
				if g.Name == "takers" && p.Lag != 0 {
					t.Errorf("%d are not committed", p.Lag)
				}
			}
		}
	})
}

// committer commits a part of what it is handed, and fails.
type committer struct{ taker }

// owning is a committer as the owner of one partition.
type owning struct {
	*committer
	o *bus.Ownership
}

func (c *owning) Handle(ctx context.Context, batch []bus.Message[event.Incident]) error {
	if len(batch) > 2 {
		for _, i := range []int{2, 0} { // An older one takes nothing back.
			if err := c.o.Commit(ctx, batch[i].Position, batch[i].Stored); err != nil {
				return err
			}
		}
	}
	return c.taker.Handle(ctx, batch)
}

func TestWhatAHandlerCommittedByItselfIsNotHandedOverAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := open(t)
		now := time.Now()
		var all []event.Event
		for i := range 4 {
			all = append(all, &event.Incident{
				ID: fmt.Sprint("i", i), Domain: event.DefaultDomain, State: event.IncidentOpen, Kind: event.IncidentOwn, Title: "x", Severity: "critical",
				Urgency: event.UrgencyPage, OpenedAt: now, Updated: now, Revision: 1, Reason: event.Reason{Code: "test"},
			})
		}
		if err := b.Publish(t.Context(), all...); err != nil {
			t.Fatal(err)
		}
		for _, want := range [][]string{{"i0", "i1", "i2", "i3"}, {"i3"}} { // The second owner goes on where the first was.
			c := &committer{taker: taker{answer: func(int, []bus.Message[event.Incident]) error { return errors.New("not now") }}}
			ctx, cancel := context.WithCancel(t.Context())
			over := make(chan error, 1)
			go func() {
				over <- bus.Own(ctx, b, "takers", bus.Options{}, func(_ context.Context, o *bus.Ownership) (bus.Handler[event.Incident], error) {
					return &owning{c, o}, nil
				})
			}()
			time.Sleep(10 * time.Second)
			cancel()
			if err := <-over; err != nil {
				t.Error(err)
			}
			rounds := c.seen()
			if len(rounds) < 3 || !slices.Equal(rounds[0], want) {
				t.Fatalf("handed over %v, want %v first", rounds, want)
			}
			for _, later := range rounds[1:] {
				if !slices.Equal(later, []string{"i3"}) {
					t.Errorf("after i2 was committed came %v", later)
				}
			}
		}
	})
}
