package nats

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"kemi.dev/kemi/bus/bustest"
	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/internal/brokers"
	"kemi.dev/kemi/internal/obs"
)

// A cluster of three server processes keeps the contract, with three replicas of everything; what is restarted is all of
// it at once.
func TestIntegrationNATSClusterKeepsTheContract(t *testing.T) {
	if testing.Short() {
		t.Skip("real servers are not for -short")
	}
	bustest.Run(t, func(t *testing.T) bustest.Harness {
		c := brokers.NATS(t, 3)
		var mu sync.Mutex
		var open []*Driver
		one := func() driver.Driver {
			mu.Lock()
			defer mu.Unlock()
			d, err := New(Config{URLs: c.URLs, Replicas: 3}, "", obs.Scope{})
			if err != nil {
				t.Fatal(err)
			}
			d.tuning = patient()
			open = append(open, d)
			t.Cleanup(func() { d.Close() })
			return d
		}
		stop := func() (start func()) {
			for _, n := range c.Nodes {
				n.Kill()
			}
			return func() {
				var all sync.WaitGroup
				for _, n := range c.Nodes {
					all.Go(n.Start)
				}
				all.Wait()
				for _, n := range c.Nodes {
					n.Ready()
				}
			}
		}
		return bustest.Harness{
			Open: one,
			Reopen: func() driver.Driver {
				mu.Lock()
				for _, d := range open {
					d.Close()
				}
				mu.Unlock()
				return one()
			},
			Lose:     func(d driver.Driver) { d.(*Driver).silence() },
			Restart:  func() { stop()() },
			Away:     stop,
			Dedupes:  true,
			Patience: time.Minute,
			Quiet:    500 * time.Millisecond,
		}
	})
}

// patient is tuned for a cluster of processes beside other tests on a small machine: what is written takes longer there.
func patient() tuning {
	t := quick()
	t.lease = 3 * time.Second
	return t
}

// The server that leads is killed, again and again, and nothing that was acknowledged is lost.
func TestIntegrationALeaderIsKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("real servers are not for -short")
	}
	t.Parallel()
	c := brokers.NATS(t, 3)
	d, err := New(Config{URLs: c.URLs, Replicas: 3}, "", obs.Scope{})
	if err != nil {
		t.Fatal(err)
	}
	d.tuning = patient()
	defer d.Close()
	if err := d.Ensure(t.Context(), []driver.Topic{topicThings}); err != nil {
		t.Fatal(err)
	}
	owner := follow(t, d, driver.Subscription{Topic: topicThings.Name, Group: "g"})
	tail := follow(t, d, driver.Subscription{Topic: topicThings.Name})
	for i, victim := range []func() *brokers.Node{
		func() *brokers.Node { return c.Leader("kemi_things_v1") },
		func() *brokers.Node { return c.Leader("KV_kemi_groups") },
		c.MetaLeader,
		func() *brokers.Node { return c.Leader("kemi_things_v1") },
	} {
		n := victim()
		if n == nil {
			t.Fatal("nobody leads")
		}
		n.Kill()
		for j := range 5 {
			value := string(rune('a'+i)) + string(rune('0'+j))
			publish(t, d, topicThings.Name, "k", value)
			owner.value(value)
			tail.value(value)
		}
		// A topic is made while one server is away.
		if err := d.Ensure(t.Context(), []driver.Topic{{Name: "more" + string(rune('a'+i)) + ".v1", Partitions: 1, MaxBytes: 1 << 20}}); err != nil {
			t.Error(err)
		}
		if _, err := d.Inspect(t.Context(), topicThings.Name); err != nil {
			t.Error(err)
		}
		n.Start()
		n.Ready()
		await(t, "health", func() bool { return d.Health() == nil })
	}
	// Without a majority nothing is stored, which is said, and after it is back everything goes on.
	c.Nodes[0].Kill()
	c.Nodes[1].Kill()
	short, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	defer cancel()
	err = d.Publish(short, []driver.Record{thing("k", "lonely")}, nil)
	if err == nil {
		t.Error("stored without a majority")
	}
	t.Log(err, "|", d.Health())
	c.Nodes[0].Start()
	c.Nodes[0].Ready()
	publish(t, d, topicThings.Name, "k", "company")
	owner.value("company")
	tail.value("company")
}

// A keep-latest topic of a cluster that is full takes what is newer of each of its keys, and that a key is gone, after
// which there is room for others.
func TestIntegrationAFullTopicOfAClusterTakesTheNewerOfEachKey(t *testing.T) {
	if testing.Short() {
		t.Skip("real servers are not for -short")
	}
	t.Parallel()
	c := brokers.NATS(t, 3)
	d, err := New(Config{URLs: c.URLs, Replicas: 3}, "", obs.Scope{})
	if err != nil {
		t.Fatal(err)
	}
	d.tuning = patient()
	defer d.Close()
	if err := d.Ensure(t.Context(), []driver.Topic{fencedInput, {Name: "states.v1", Kind: driver.Latest, Partitions: 1, MaxBytes: 512 << 10}}); err != nil {
		t.Fatal(err)
	}
	s := driver.Subscription{Topic: fencedInput.Name, Group: "g", Writes: []string{"states.v1"}}
	got, err := follow(t, d, s).Next(t.Context())
	if err != nil || got[0].Event != driver.Assigned {
		t.Fatal(got, err)
	}
	fence := &driver.Fence{Topic: s.Topic, Group: s.Group, Epoch: got[0].Epoch}
	put := func(f *driver.Fence, keys ...string) error {
		var all []driver.Record
		for _, k := range keys {
			all = append(all, driver.Record{Topic: "states.v1", Key: k, Value: make([]byte, 4<<10)})
		}
		return d.Publish(t.Context(), all, f)
	}
	var keys []string
	for {
		k := fmt.Sprint("key", len(keys))
		if err := put(nil, k); errors.Is(err, driver.ErrFull) {
			break
		} else if err != nil || len(keys) > 200 {
			t.Fatal(len(keys), err)
		}
		keys = append(keys, k)
	}
	used, limit, err := d.Size(t.Context(), "states.v1")
	if err != nil || used > limit || used < limit*9/10 || len(keys) < 80 {
		t.Fatalf("%d keys, %d of %d bytes, %v", len(keys), used, limit, err)
	}
	var all sync.WaitGroup
	for range 4 { // Several at once, with and without a fence, all keys together and one by one.
		all.Go(func() {
			if err := put(nil, keys...); err != nil {
				t.Error("together:", err)
			}
			for _, k := range keys {
				if err := put(fence, k); err != nil {
					t.Error(k, "under a fence:", err)
				}
			}
		})
	}
	all.Wait()
	if err := put(nil, "another"); !errors.Is(err, driver.ErrFull) {
		t.Errorf("a new key in a full topic: %v", err)
	}
	if now, _, err := d.Size(t.Context(), "states.v1"); err != nil || now > limit+32<<10 { // The headers of a fence came on top.
		t.Errorf("%d bytes are used after %d, %v", now, used, err)
	}
	for _, k := range keys {
		if err := d.Publish(t.Context(), []driver.Record{{Topic: "states.v1", Key: k}}, fence); err != nil {
			t.Fatal("remove", k, err)
		}
	}
	if err := put(fence, "another"); err != nil {
		t.Error(err)
	}
}
