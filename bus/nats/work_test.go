package nats

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"kemi.dev/kemi/bus/driver"
)

// An older Kemi's consumer, with another time, is taken as it is but for that; what was under way under it comes in the new
// time, and once.
func TestAnotherTimeForWorkIsTakenUp(t *testing.T) {
	t.Parallel()
	d := embedded(t, t.TempDir())
	work := driver.Topic{Name: "work.v1", Kind: driver.Work, Partitions: 1, MaxBytes: 1 << 20}
	if err := d.Ensure(t.Context(), []driver.Topic{work}); err != nil {
		t.Fatal(err)
	}
	js := d.links[process].js
	old, err := js.CreateConsumer(t.Context(), "kemi_work_v1", jetstream.ConsumerConfig{
		Durable: "g", AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Hour, MaxAckPending: -1, MaxDeliver: -1, MaxWaiting: 4096,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []string{"under way", "done", "to come"} {
		if err := d.Publish(t.Context(), []driver.Record{{Topic: work.Name, Key: "k", Value: []byte(v)}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	batch, err := old.Fetch(2)
	if err != nil {
		t.Fatal(err)
	}
	for m := range batch.Messages() {
		if string(m.Data()) == "done" {
			if err := m.DoubleAck(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	f, err := d.Subscribe(t.Context(), driver.Subscription{Topic: work.Name, Group: "g"})
	if err != nil {
		t.Fatal(err)
	}
	now, err := js.Consumer(t.Context(), "kemi_work_v1", "g")
	if err != nil || now.CachedInfo().Config.AckWait != d.tuning.ackWait {
		t.Fatalf("%+v, %v", now.CachedInfo().Config, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	got := map[string]int{}
	for len(got) < 2 {
		ds, err := f.Next(ctx)
		if err != nil {
			t.Fatal(got, err)
		}
		for _, x := range ds {
			got[string(x.Record.Value)]++
		}
	}
	// All is in hand now, and stays there for longer than the time.
	ctx, cancel = context.WithTimeout(t.Context(), d.tuning.ackWait*3/2)
	defer cancel()
	if ds, err := f.Next(ctx); !errors.Is(err, context.DeadlineExceeded) || got["under way"] != 1 || got["to come"] != 1 {
		t.Errorf("got %v, and %v, %v", got, ds, err)
	}
}

// Whoever reads work with a consumer of their own reads all of it, whether it was taken or not, and takes nothing away.
func TestAStrangerReadsWorkAndTakesNothingAway(t *testing.T) {
	t.Parallel()
	d := embedded(t, t.TempDir())
	if err := d.Ensure(t.Context(), []driver.Topic{{Name: "work.v1", Kind: driver.Work, Partitions: 1, MaxBytes: 1 << 20, Keep: time.Hour}}); err != nil {
		t.Fatal(err)
	}
	const n = 3
	for i := range n {
		publish(t, d, "work.v1", "k", strconv.Itoa(i))
	}
	js := d.links[process].js
	reads := func(name string) {
		t.Helper()
		c, err := js.CreateConsumer(t.Context(), "kemi_work_v1", jetstream.ConsumerConfig{Durable: name, FilterSubject: "kemi.work.v1.*.*", AckPolicy: jetstream.AckExplicitPolicy})
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			m, err := c.Next(jetstream.FetchMaxWait(5 * time.Second))
			if err != nil || string(m.Data()) != strconv.Itoa(i) {
				t.Fatalf("%s: %v, want %d: %v", name, m, i, err)
			}
			if err := m.DoubleAck(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	reads("before")
	r := follow(t, d, driver.Subscription{Topic: "work.v1", Group: "g"})
	for i := range n {
		r.value(strconv.Itoa(i))
	}
	await(t, "the group to be done", func() bool {
		info, err := d.Inspect(t.Context(), "work.v1")
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range info.Groups {
			if g.Name == "g" {
				return g.Partitions[0].Lag == 0
			}
		}
		return false
	})
	reads("after")
}
