package mem_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/mem"
)

// A record that nobody acknowledges comes back when its time is up, also when time is a bubble's.
func TestWorkComesBackInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		d := mem.New()
		defer d.Close()
		if err := d.Ensure(ctx, []driver.Topic{{Name: "jobs", Kind: driver.Work, Partitions: 2}}); err != nil {
			t.Fatal(err)
		}
		f, err := d.Subscribe(ctx, driver.Subscription{Topic: "jobs", Group: "g", Redeliver: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Publish(ctx, []driver.Record{{Topic: "jobs", Key: "k"}}, nil); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		for attempt := 1; attempt <= 3; attempt++ {
			got, err := f.Next(ctx)
			if err != nil || len(got) != 1 || got[0].Attempt != attempt {
				t.Fatalf("attempt %d: got %+v, %v", attempt, got, err)
			}
		}
		if gone := time.Since(begin); gone != 2*time.Hour {
			t.Fatalf("three deliveries took %s, want 2h", gone)
		}
	})
}

// An owner that does not finish is relieved after the handover time.
func TestAnOwnerThatDoesNotFinishIsRelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		d := mem.New(mem.Options{Handover: time.Minute})
		defer d.Close()
		if err := d.Ensure(ctx, []driver.Topic{{Name: "log", Partitions: 2}}); err != nil {
			t.Fatal(err)
		}
		for p := range 2 {
			if err := d.Publish(ctx, []driver.Record{{Topic: "log", Partition: p, Key: "k"}}, nil); err != nil {
				t.Fatal(err)
			}
		}
		a, _ := d.Subscribe(ctx, driver.Subscription{Topic: "log", Group: "g"})
		if got, err := a.Next(ctx); err != nil || len(got) != 4 {
			t.Fatalf("got %+v, %v; want two assignments and two records", got, err)
		}
		b, _ := d.Subscribe(ctx, driver.Subscription{Topic: "log", Group: "g"})
		begin := time.Now()
		got, err := b.Next(ctx)
		if err != nil || len(got) != 2 || got[0].Event != driver.Assigned || got[0].Epoch != 2 {
			t.Fatalf("got %+v, %v; want epoch 2 and its record", got, err)
		}
		if gone := time.Since(begin); gone != time.Minute {
			t.Fatalf("relieved after %s, want 1m", gone)
		}
		if got, err := a.Next(ctx); err != nil || got[0].Event != driver.Revoked || got[0].Partition != 1 {
			t.Fatalf("got %+v, %v; want partition 1 revoked", got, err)
		}
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if got, err := a.Next(short); err == nil {
			t.Fatalf("got %+v; want nothing more", got)
		}
	})
}

// What Keep or MaxBytes removes is gone for replays too, and its room is free again.
func TestRecordsExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		d := mem.New()
		defer d.Close()
		topic := driver.Topic{Name: "log", Partitions: 1, Keep: time.Hour, MaxBytes: 1000}
		if err := d.Ensure(ctx, []driver.Topic{topic}); err != nil {
			t.Fatal(err)
		}
		put := func(id string) error {
			return d.Publish(ctx, []driver.Record{{Topic: "log", Key: id, Value: make([]byte, 700)}}, nil)
		}
		if err := put("a"); err != nil {
			t.Fatal(err)
		}
		if err := put("b"); err == nil {
			t.Fatal("the second record was taken, want full")
		}
		time.Sleep(time.Hour)
		if err := put("c"); err != nil {
			t.Fatal(err)
		}
		f, _ := d.Subscribe(ctx, driver.Subscription{Topic: "log"})
		got, err := f.Next(ctx)
		if err != nil || len(got) != 2 || got[0].Record.Key != "c" || got[1].Event != driver.CaughtUp {
			t.Fatalf("got %+v, %v; want c, then caught up", got, err)
		}
	})
}
