package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/internal/brokers"
)

func TestTheBrokerRefusesAPausedOwner(t *testing.T) {
	t.Parallel()
	pausedOwner(t, fake(t, "").ListenAddrs())
}

func TestIntegrationTheBrokerRefusesAPausedOwner(t *testing.T) {
	if testing.Short() {
		t.Skip("starts Kafka")
	}
	pausedOwner(t, brokers.Kafka(t, 1).Addrs)
}

// pausedOwner has an owner paused in the middle of a transaction for longer than its session, and then do what it was
// about to do, without asking anybody whether it still may: the brokers refuse each of its steps, and no reader ever sees
// anything of it.
func pausedOwner(t *testing.T, addrs []string) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	a, b := dialled(t, Config{Brokers: addrs}), dialled(t, Config{Brokers: addrs})
	way := newGate()
	a.dial = way.dial
	in, out := driver.Topic{Name: "in", Partitions: 1}, driver.Topic{Name: "out", Partitions: 1}
	if err := a.Ensure(ctx, []driver.Topic{in, out}); err != nil {
		t.Fatal(err)
	}
	s := driver.Subscription{Topic: in.Name, Group: "g", Writes: []string{out.Name}}
	next := func(f driver.Feed, want driver.Event) driver.Delivery {
		t.Helper()
		for {
			got, err := f.Next(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range got {
				if d.Event == want {
					return d
				}
			}
		}
	}
	under := func(d *Driver, epoch uint64, value string) error {
		return d.Publish(ctx, []driver.Record{{Topic: out.Name, Key: "k", Value: []byte(value)}}, &driver.Fence{Topic: in.Name, Group: "g", Epoch: epoch})
	}
	first, err := a.Subscribe(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	old := next(first, driver.Assigned)
	if err := under(a, old.Epoch, "0"); err != nil {
		t.Fatal(err)
	}
	a.mu.Lock()
	l := a.groups.leases[place{in.Name, "g", 0}]
	a.mu.Unlock()
	l.m.Mu.Lock()
	id, generation := l.m.id, l.m.generation
	l.m.Mu.Unlock()

	// It writes, and is paused before it ends the transaction.
	w := *l.writer
	parcels := func(value string) []*parcel {
		to, err := a.topic(ctx, out.Name)
		if err != nil {
			t.Fatal(err)
		}
		p := &parcel{t: to}
		if err := p.add(&driver.Record{Topic: out.Name, Key: "k", Value: []byte(value)}, to, old.Epoch); err != nil {
			t.Fatal(err)
		}
		return []*parcel{p}
	}
	if err := w.enlist(ctx, parcels("zombie")); err != nil {
		t.Fatal(err)
	}
	if err := w.deliver(ctx, parcels("zombie")); err != nil {
		t.Fatal(err)
	}
	way.shut(2 * a.tuning.lease)
	second, err := b.Subscribe(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	begin := next(second, driver.Assigned)
	if begin.Epoch <= old.Epoch {
		t.Fatalf("epoch %d after %d", begin.Epoch, old.Epoch)
	}
	if err := under(b, begin.Epoch, "1"); err != nil {
		t.Fatal(err)
	}

	// Back again, it goes on where it was.
	refused := func(what string, err error) {
		t.Helper()
		if err == nil || !replaced(err) && !errors.Is(err, kafkago.InvalidTransactionState) {
			t.Errorf("%s: got %v, want that the brokers refuse it as another's", what, err)
		}
	}
	refused("end the transaction", w.finish(ctx, true))
	refused("write more in it", w.deliver(ctx, parcels("zombie")))
	refused("begin another", w.enlist(ctx, parcels("zombie")))
	r, err := l.m.client.OffsetCommit(ctx, &kafkago.OffsetCommitRequest{
		GroupID: l.m.group, MemberID: id, GenerationID: generation,
		Topics: map[string][]kafkago.OffsetCommit{l.m.t.name: {{Partition: 0, Offset: 100}}},
	})
	if err != nil || !isOut(r.Topics[l.m.t.name][0].Error) {
		t.Errorf("commit: got %+v, %v, want that the broker does not know it", r, err)
	}
	// With everything that it does itself to be sure, it says so.
	if err := under(a, old.Epoch, "zombie"); !errors.Is(err, driver.ErrFenced) {
		t.Errorf("publish: got %v", err)
	}
	if err := under(b, begin.Epoch, "2"); err != nil {
		t.Fatal(err)
	}
	if got, want := everything(ctx, t, b, out.Name), []string{"0", "1", "2"}; !slices.Equal(got, want) {
		t.Fatalf("readers see %q, want %q", got, want)
	}
}

// everything is what a replay of the topic delivers.
func everything(ctx context.Context, t testing.TB, d *Driver, topic string) []string {
	t.Helper()
	f, err := d.Subscribe(ctx, driver.Subscription{Topic: topic})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []string
	for {
		got, err := f.Next(ctx)
		if err != nil {
			t.Fatalf("%v after %q", err, out)
		}
		for _, x := range got {
			if x.Event == driver.CaughtUp {
				return out
			}
			out = append(out, string(x.Record.Value))
		}
	}
}

// Somebody that was paused before it made itself the producer, and does so when another owns the partition already, takes
// the place of the rightful owner; that one takes it back, and loses nothing.
func TestTheRightfulOwnerTakesItsPlaceBack(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	d := dialled(t, Config{Brokers: fake(t, "").ListenAddrs()})
	in, out := driver.Topic{Name: "in", Partitions: 1}, driver.Topic{Name: "out", Partitions: 2}
	if err := d.Ensure(ctx, []driver.Topic{in, out}); err != nil {
		t.Fatal(err)
	}
	f, err := d.Subscribe(ctx, driver.Subscription{Topic: in.Name, Group: "g", Writes: []string{out.Name}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := f.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	d.mu.Lock()
	l := d.groups.leases[place{in.Name, "g", 0}]
	d.mu.Unlock()
	for i := range 3 {
		other := newWriter(d, l)
		if err := other.begin(ctx); err != nil {
			t.Fatal(err)
		}
		records := []driver.Record{{Topic: out.Name, Key: "k", Value: fmt.Append(nil, i)}, {Topic: out.Name, Partition: 1, Key: "k"}}
		if err := d.Publish(ctx, records, &driver.Fence{Topic: in.Name, Group: "g", Epoch: got[0].Epoch}); err != nil {
			t.Fatal(err)
		}
	}
	all := everything(ctx, t, d, out.Name)
	if all = slices.DeleteFunc(all, func(s string) bool { return s == "" }); !slices.Equal(all, []string{"0", "1", "2"}) {
		t.Fatalf("got %q", all)
	}
}

func BenchmarkPublishUnderAFence(b *testing.B) {
	for _, nodes := range []int{1, 3} {
		b.Run(fmt.Sprint("nodes=", nodes), func(b *testing.B) {
			cluster := brokers.Kafka(b, nodes)
			ctx := b.Context()
			d := dialled(b, Config{Brokers: cluster.Addrs})
			d.tuning = defaults()
			in, out := driver.Topic{Name: "in", Partitions: 1}, driver.Topic{Name: "out", Partitions: 4}
			if err := d.Ensure(ctx, []driver.Topic{in, out}); err != nil {
				b.Fatal(err)
			}
			f, err := d.Subscribe(ctx, driver.Subscription{Topic: in.Name, Group: "g", Writes: []string{out.Name}})
			if err != nil {
				b.Fatal(err)
			}
			got, err := f.Next(ctx)
			if err != nil {
				b.Fatal(err)
			}
			fence := &driver.Fence{Topic: in.Name, Group: "g", Epoch: got[0].Epoch}
			value := make([]byte, 4096)
			for _, c := range []struct {
				name    string
				records int
				fence   *driver.Fence
			}{{"plain/1", 1, nil}, {"fenced/1", 1, fence}, {"plain/100", 100, nil}, {"fenced/100", 100, fence}} {
				b.Run(c.name, func(b *testing.B) {
					some := make([]driver.Record, c.records)
					for i := range some {
						some[i] = driver.Record{Topic: out.Name, Partition: i % 4, Key: "k", Value: value}
					}
					for b.Loop() {
						if err := d.Publish(ctx, some, c.fence); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		})
	}
}

// A member that dies with 64 partitions, at the tuning of every day: how long until another owns them all, and has fenced
// whatever the dead one had open.
func BenchmarkTakeOver(b *testing.B) {
	cluster := brokers.Kafka(b, 3)
	ctx := b.Context()
	in, out := driver.Topic{Name: "in", Partitions: 64}, driver.Topic{Name: "out", Partitions: 1}
	s := driver.Subscription{Topic: in.Name, Group: "g", Writes: []string{out.Name}}
	member := func() (*Driver, *gate, driver.Feed) {
		d, way := dialled(b, Config{Brokers: cluster.Addrs}), newGate()
		d.tuning, d.dial = defaults(), way.dial
		if err := d.Ensure(ctx, []driver.Topic{in, out}); err != nil {
			b.Fatal(err)
		}
		f, err := d.Subscribe(ctx, s)
		if err != nil {
			b.Fatal(err)
		}
		return d, way, f
	}
	// owns reads until the feed owns so many.
	owns := func(f driver.Feed, want int) {
		mine := map[int]bool{}
		for len(mine) != want {
			got, err := f.Next(ctx)
			if err != nil {
				b.Fatal(err)
			}
			for _, d := range got {
				if d.Event == driver.Assigned {
					mine[d.Partition] = true
				} else {
					delete(mine, d.Partition)
				}
			}
		}
	}
	for b.Loop() {
		b.StopTimer()
		_, way, first := member()
		owns(first, 64)
		d, _, second := member()
		owns(second, 32)
		b.StartTimer()
		way.shut(time.Minute)
		owns(second, 32) // Those of the dead one.
		b.StopTimer()
		d.Close()
		b.StartTimer()
	}
}
