package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/internal/brokers"
	"kemi.dev/kemi/internal/pause"
)

// The broker that looks after the group dies, and so do others' leaders with it: the feed goes on with another one, in
// order and without a gap, and fenced publishing does too.
func TestIntegrationAGroupOutlivesItsCoordinator(t *testing.T) {
	if testing.Short() {
		t.Skip("starts Kafka")
	}
	cluster := brokers.Kafka(t, 3)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	d := dialled(t, Config{Brokers: cluster.Addrs})
	d.tuning = defaults()
	in, out := driver.Topic{Name: "in", Partitions: 2}, driver.Topic{Name: "out", Partitions: 1}
	if err := d.Ensure(ctx, []driver.Topic{in, out}); err != nil {
		t.Fatal(err)
	}
	f, err := d.Subscribe(ctx, driver.Subscription{Topic: in.Name, Group: "g", Writes: []string{out.Name}})
	if err != nil {
		t.Fatal(err)
	}
	const rounds, each = 3, 30
	go func() {
		for i := range rounds * each {
			for p := range 2 {
				for d.Publish(ctx, []driver.Record{{Topic: in.Name, Partition: p, Key: "k", Value: fmt.Append(nil, i)}}, nil) != nil && ctx.Err() == nil {
				}
			}
		}
	}()
	want := map[int]int{} // The next number of each partition.
	wrote := 0
	for round := range rounds {
		for want[0] < (round+1)*each || want[1] < (round+1)*each {
			got, err := f.Next(ctx)
			if err != nil {
				t.Fatalf("%v at %v", err, want)
			}
			for _, x := range got {
				if x.Event != driver.Data {
					continue
				}
				n := 0
				if _, err := fmt.Sscan(string(x.Record.Value), &n); err != nil || n > want[x.Partition] {
					t.Fatalf("partition %d: got %q, want %d", x.Partition, x.Record.Value, want[x.Partition])
				}
				fence := &driver.Fence{Topic: in.Name, Group: "g", Partition: x.Partition, Epoch: x.Epoch}
				if n%10 == 0 {
					err := d.Publish(ctx, []driver.Record{{Topic: out.Name, Key: fmt.Sprint(x.Partition), Value: x.Record.Value}}, fence)
					if err == nil {
						wrote++
					} else if !errors.Is(err, driver.ErrFenced) {
						t.Logf("publish under the fence: %v", err)
					}
				}
				if err := f.Ack(ctx, x); err == nil {
					want[x.Partition] = max(want[x.Partition], n+1)
				} else if !errors.Is(err, driver.ErrFenced) {
					t.Fatal(err)
				}
			}
		}
		if round == rounds-1 {
			break
		}
		home := f.(*owner).home
		id, err := home.find(ctx)
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		node := cluster.Nodes[id-1]
		node.Kill()
		for {
			home.forget()
			if now, err := home.find(ctx); err == nil && now != id {
				t.Logf("broker %d was the coordinator, after %s it is %d", id, time.Since(begin), now)
				break
			}
			if !pause.For(ctx, 200*time.Millisecond) {
				t.Fatal(ctx.Err())
			}
		}
		node.Restart()
	}
	if wrote == 0 {
		t.Fatal("nothing was published under the fence")
	}
}

// Another broker looks after the group and the transactions from one moment to the next: the epoch goes on, what is
// published under it is stored, what is acknowledged stays so.
func TestAnEpochGoesOnWhenItsCoordinatorsMove(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, err := kfake.NewCluster(kfake.NumBrokers(3), kfake.GroupMinSessionTimeout(50*time.Millisecond), kfake.BrokerConfigs(map[string]string{"group.initial.rebalance.delay.ms": "0"}))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	d := dialled(t, Config{Brokers: c.ListenAddrs()})
	d.tuning.lease = 3 * time.Second // No test of how fast this machine is.
	in, out := driver.Topic{Name: "in", Partitions: 1}, driver.Topic{Name: "out", Partitions: 1}
	if err := d.Ensure(ctx, []driver.Topic{in, out}); err != nil {
		t.Fatal(err)
	}
	s := driver.Subscription{Topic: in.Name, Group: "g", Writes: []string{out.Name}}
	f, err := d.Subscribe(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	var epoch uint64
	var want []string
	for i := range 10 {
		value := fmt.Sprint(i)
		want = append(want, value)
		if err := d.Publish(ctx, []driver.Record{{Topic: in.Name, Key: "k", Value: []byte(value)}}, nil); err != nil {
			t.Fatal(err)
		}
		c.RehashCoordinators()
		for done := false; !done; {
			got, err := f.Next(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range got {
				switch {
				case x.Event == driver.Assigned && epoch == 0:
					epoch = x.Epoch
				case x.Event != driver.Data:
					t.Fatalf("event %d of epoch %d in epoch %d", x.Event, x.Epoch, epoch)
				case string(x.Record.Value) != value:
					t.Fatalf("got %q, want %q", x.Record.Value, value)
				default:
					fence := &driver.Fence{Topic: in.Name, Group: "g", Epoch: epoch}
					if err := d.Publish(ctx, []driver.Record{{Topic: out.Name, Key: "k", Value: x.Record.Value}}, fence); err != nil {
						t.Fatal(err)
					}
					if err := f.Ack(ctx, x); err != nil {
						t.Fatal(err)
					}
					done = true
				}
			}
		}
	}
	if got := everything(ctx, t, d, out.Name); !slices.Equal(got, want) {
		t.Fatalf("published %q, want %q", got, want)
	}
	c.RehashCoordinators()
	f.Close()
	again, err := d.Subscribe(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	got, err := again.Next(ctx)
	if err != nil || got[0].Event != driver.Assigned || got[0].Position != positionOf(10) || got[0].Epoch <= epoch {
		t.Fatalf("got %+v, %v; want what follows position 10", got, err)
	}
}
