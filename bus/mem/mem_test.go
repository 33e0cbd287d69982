package mem_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

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

// What the contract leaves to a broker that cleans up from time to time is exact here.
func TestATopicHoldsNoMoreThanItMay(t *testing.T) {
	ctx := t.Context()
	d := mem.New()
	defer d.Close()
	ring := driver.Topic{Name: "ring", Partitions: 1, MaxBytes: 256 << 10, DropOldest: true}
	few := driver.Topic{Name: "few", Kind: driver.Latest, Partitions: 1, Keep: time.Hour, History: 3}
	full := driver.Topic{Name: "full", Kind: driver.Latest, Partitions: 1, MaxBytes: 128 << 10}
	if err := d.Ensure(ctx, []driver.Topic{ring, few, full}); err != nil {
		t.Fatal(err)
	}
	put := func(topic, key string, size int) error {
		return d.Publish(ctx, []driver.Record{{Topic: topic, Key: key, Value: make([]byte, size)}}, nil)
	}
	for i := range 100 {
		if err := errors.Join(put("ring", fmt.Sprint(i), 8<<10), put("few", fmt.Sprint(i%2), i)); err != nil {
			t.Fatal(err)
		}
	}
	for topic, most := range map[string]int64{"ring": 31, "few": 6} {
		info, err := d.Inspect(ctx, topic)
		if err != nil || info.Partitions[0].Records != most || info.Bytes > 256<<10 {
			t.Errorf("%s holds %+v, %v; want %d records", topic, info, err, most)
		}
	}
	if err := put("full", "a", 100<<10); err != nil {
		t.Fatal(err)
	}
	if err := put("full", "b", 64<<10); !errors.Is(err, driver.ErrFull) {
		t.Errorf("what does not fit: %v", err)
	}
	if err := put("full", "a", 100<<10); err != nil {
		t.Errorf("what replaces: %v", err)
	}
}

func TestInspectTellsWhoHasWhatAndWhatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		d := mem.New()
		defer d.Close()
		if err := d.Ensure(ctx, []driver.Topic{{Name: "log", Partitions: 2}, {Name: "jobs", Kind: driver.Work, Partitions: 2}}); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		for _, topic := range []string{"log", "jobs"} {
			for i := range 4 {
				if err := d.Publish(ctx, []driver.Record{{Topic: topic, Partition: i % 2, Key: "k"}}, nil); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
			}
			f, err := d.Subscribe(ctx, driver.Subscription{Topic: topic, Group: "g", Window: 3})
			if err != nil {
				t.Fatal(err)
			}
			got, err := f.Next(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range got {
				if x.Event == driver.Data && x.Partition == 1 {
					if err := f.Ack(ctx, x); err != nil {
						t.Fatal(err)
					}
					break
				}
			}
		}
		var got []driver.Info
		for _, topic := range []string{"log", "jobs"} {
			info, err := d.Inspect(ctx, topic)
			if err != nil {
				t.Fatal(err)
			}
			info.Bytes = 0
			got = append(got, info)
		}
		want := []driver.Info{
			{
				Topic: driver.Topic{Name: "log", Partitions: 2},
				Partitions: []driver.PartitionInfo{
					{Partition: 0, First: 1, End: 4, Records: 2, Oldest: begin},
					{Partition: 1, First: 2, End: 5, Records: 2, Oldest: begin.Add(time.Second)},
				},
				Groups: []driver.GroupInfo{{Name: "g", Partitions: []driver.GroupPartition{
					{Partition: 0, Owner: "member-1", Epoch: 1, Next: 1, Lag: 2}, {Partition: 1, Owner: "member-1", Epoch: 1, Next: 3, Lag: 1},
				}}},
			},
			{
				Topic: driver.Topic{Name: "jobs", Kind: driver.Work, Partitions: 2},
				Partitions: []driver.PartitionInfo{
					{Partition: 0, First: 1, End: 4, Records: 2, Oldest: begin.Add(4 * time.Second)},
					{Partition: 1, First: 2, End: 5, Records: 2, Oldest: begin.Add(5 * time.Second)},
				},
				Groups: []driver.GroupInfo{{Name: "g", Partitions: []driver.GroupPartition{{Partition: -1, Next: 1, Lag: 3}}}},
			},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if err := d.Close(); err != nil || !errors.Is(d.Health(), driver.ErrClosed) {
			t.Errorf("closed: %v, health %v", err, d.Health())
		}
	})
}
