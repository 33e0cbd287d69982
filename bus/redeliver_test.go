package bus_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/bus/mem"
	"kemi.dev/kemi/internal/obs"
)

// addressee keeps what it is handed again.
type addressee struct{ got []*bus.Redelivery }

func (a *addressee) Handle(_ context.Context, batch []bus.Message[bus.Redelivery]) error {
	for _, m := range batch {
		a.got = append(a.got, m.Event)
	}
	return nil
}

func (*addressee) Tick(context.Context, time.Time) error { return nil }

func listening(t *testing.T, b *bus.Bus, group string) *addressee {
	t.Helper()
	a := &addressee{}
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() {
		over <- bus.Own(ctx, b, group, bus.Options{}, func(context.Context, *bus.Ownership) (bus.Handler[bus.Redelivery], error) { return a, nil })
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-over; err != nil {
			t.Error(err)
		}
	})
	time.Sleep(time.Second)
	return a
}

func TestAGroupAloneIsHandedASpanAgainAsItWasSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, d := open(t)
		core := &event.Target{ID: "core-1", Class: "switch", Updated: time.Now()}
		long := event.ReadingFor(event.JobFor(core, event.Check{Name: "ping", Kind: "icmp"}, time.Now(), time.Now().Add(time.Second), 0, event.CauseSchedule, ""))
		long.Status, long.Message = event.StatusTimeout, strings.Repeat("no answer ", 1000) // It is compressed on the bus.
		if err := b.Publish(t.Context(), long, core); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(
			b.Remove(t.Context(), &event.Target{ID: "core-1"}),
			d.Publish(t.Context(), []driver.Record{{Topic: "readings.v1", Key: "x", Value: []byte("no word")}}, nil),
		); err != nil {
			t.Fatal(err)
		}
		if _, err := b.SendAgain(t.Context(), bus.Span{Topic: "readings.v1"}, "subscription-a", nil); err == nil || !strings.Contains(err.Error(), "nobody delivers to the group subscription-a") {
			t.Errorf("to nobody: %v", err)
		}
		if _, err := b.SendAgain(t.Context(), bus.Span{Topic: "reading.v1"}, "subscription-a", nil); !errors.Is(err, driver.ErrNoTopic) {
			t.Errorf("of no topic: %v", err)
		}
		a := listening(t, b, "subscription-a")
		told := 0
		so, err := b.SendAgain(t.Context(), bus.Span{Topic: "readings.v1"}, "subscription-a", func(bus.Again) { told++ })
		if err != nil || so.Records != 1 || so.Unreadable != 1 || told == 0 {
			t.Fatal(so, err)
		}
		if so, err = b.SendAgain(t.Context(), bus.Span{Topic: "targets.v1"}, "subscription-a", nil); err != nil || so.Records != 1 {
			t.Fatal(so, err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if len(a.got) != 2 {
			t.Fatalf("handed %v", a.got)
		}
		r := new(event.Reading)
		if err := r.Decode(a.got[0].Value); err != nil || r.Message != long.Message || a.got[0].Of != "readings.v1" || a.got[0].Why != bus.WhyReplay || a.got[0].For != "subscription-a" {
			t.Errorf("handed %+v, %v", a.got[0], err)
		}
		if gone := a.got[1]; !gone.Removed || gone.ItsKey != "core-1" || gone.Value != nil {
			t.Errorf("handed %+v", gone)
		}
		if n := len(tail(t, b, "readings.v1")); n != 2 {
			t.Errorf("%d records on the topic itself", n)
		}
		if err := b.MaySayAgain(bus.TopicAgain, bus.TopicAgain); err == nil || !strings.Contains(err.Error(), "for one group alone") {
			t.Errorf("said again to everybody: %v", err)
		}
	})
}

// muffled is a broker whose topic of what is handed again is full.
type muffled struct{ driver.Driver }

func (m muffled) Publish(ctx context.Context, records []driver.Record, fence *driver.Fence) error {
	if len(records) > 0 && records[0].Topic == bus.TopicAgain {
		return driver.ErrFull
	}
	return m.Driver.Publish(ctx, records, fence)
}

func TestASpanThatHasNoRoomIsSaidSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := mem.New()
		b := bus.New(muffled{d}, bus.Settings{}, obs.Scope{})
		if err := b.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { b.Close() })
		if err := b.Publish(t.Context(), command(1, "x")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		quiet := bus.New(silentInspector{d.Open()}, bus.Settings{}, obs.Scope{}) // Nobody can ask who listens: it is tried.
		t.Cleanup(func() { quiet.Close() })
		if so, err := quiet.SendAgain(t.Context(), bus.Span{Topic: "commands.v1"}, "subscription-a", nil); err != nil || so.Records != 1 {
			t.Error(so, err)
		}
		listening(t, b, "subscription-a")
		if _, err := b.SendAgain(t.Context(), bus.Span{Topic: "commands.v1"}, "subscription-a", nil); !errors.Is(err, bus.ErrFull) {
			t.Errorf("said %v", err)
		}
	})
}

// silentInspector is a broker that cannot be asked.
type silentInspector struct{ driver.Driver }

func FuzzRedeliveriesAreDecoded(f *testing.F) {
	good := &bus.Redelivery{For: "subscription-a", Why: bus.WhyRetry, Of: "alerts.v1", ItsKey: "k", Value: []byte("{}")}
	data, _ := good.Encode()
	f.Add(data)
	f.Add([]byte(`{"for":"a"}`))
	f.Add([]byte(`{"for":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var r bus.Redelivery
		if err := r.Decode(data); err != nil {
			if !errors.Is(err, event.ErrMalformed) {
				t.Errorf("%v", err)
			}
			return
		}
		again, err := r.Encode()
		var s bus.Redelivery
		if err != nil || s.Decode(again) != nil || s.Identity() != r.Identity() || s.Key() != r.Key() {
			t.Errorf("%s became %s, %v", data, again, err)
		}
	})
}
