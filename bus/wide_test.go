package bus_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/bus/mem"
	"kemi.dev/kemi/internal/obs"
)

// wide is a broker that has more partitions of work than was asked for, as Kafka has: what it delivers is in others.
type wide struct{ driver.Driver }

const moreThanAsked = 8

func (w wide) Subscribe(ctx context.Context, s driver.Subscription) (driver.Feed, error) {
	f, err := w.Driver.Subscribe(ctx, s)
	if err == nil && s.Topic == event.JobsTopic("").Name {
		f = wideFeed{f}
	}
	return f, err
}

type wideFeed struct{ driver.Feed }

func (f wideFeed) Next(ctx context.Context) ([]driver.Delivery, error) {
	all, err := f.Feed.Next(ctx)
	for i := range all {
		if all[i].Event == driver.Data {
			all[i].Partition += moreThanAsked
			all[i].Record.Partition += moreThanAsked
		}
	}
	return all, err
}

func (f wideFeed) Ack(ctx context.Context, d driver.Delivery) error {
	d.Partition -= moreThanAsked
	return f.Feed.Ack(ctx, d)
}

func TestWorkOfABrokerWithMorePartitionsIsRetriedAndSaidAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bus.New(wide{mem.New()}, bus.Settings{}, obs.Scope{})
		defer b.Close()
		if err := b.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		slot := time.Now().UTC()
		target := &event.Target{ID: "t1", Class: "switch", Lifecycle: event.Active}
		job := event.JobFor(target, event.Check{Name: "snmp", Kind: "snmp", Every: time.Hour}, slot, slot.Add(time.Hour), 0, event.CauseSchedule, "")
		if err := b.Publish(t.Context(), job); err != nil {
			t.Fatal(err)
		}
		broken, runs := true, 0
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- bus.Work(ctx, b, event.JobsTopic(""), "collector", 1, func(context.Context, bus.Message[event.Job]) error {
				if broken {
					return bus.Permanent(errors.New("not today"))
				}
				runs++
				return nil
			})
		}()
		time.Sleep(time.Minute)
		synctest.Wait()
		broken = false
		settled, err := b.Retry(t.Context(), list(t, b, bus.LetterFilter{}), "jo", "")
		if err != nil || len(settled) != 1 || settled[0].Why != "" {
			t.Fatalf("retried %+v: %v", settled, err)
		}
		time.Sleep(time.Minute)
		again, err := b.SayAgain(t.Context(), bus.Span{Topic: event.JobsTopic("").Name, To: time.Now()}, event.JobsTopic("").Name, nil)
		if err != nil || again.Records != 2 {
			t.Fatalf("said again: %+v, %v; want the job, and the one that was put back", again, err)
		}
		time.Sleep(time.Minute)
		cancel()
		if err := <-done; err != nil || runs != 3 {
			t.Errorf("the job ran %d times, want three: %v", runs, err)
		}
	})
}
