package nats

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/internal/obs"
)

var (
	fencedInput = driver.Topic{Name: "input.v1", Partitions: 1, MaxBytes: 1 << 20}
	fencedTo    = []driver.Topic{
		{Name: "plain.v1", Partitions: 1, MaxBytes: 16 << 20},
		{Name: "power.v1", Partitions: 1, MaxBytes: 16 << 20, Sync: true},
		{Name: "state.v1", Kind: driver.Latest, Partitions: 1, MaxBytes: 16 << 20},
	}
)

// owning subscribes and waits for the partition.
func owning(t *testing.T, d *Driver) *driver.Fence {
	t.Helper()
	s := driver.Subscription{Topic: fencedInput.Name, Group: "g"}
	for _, w := range fencedTo {
		s.Writes = append(s.Writes, w.Name)
	}
	f, err := d.Subscribe(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		ds, err := f.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range ds {
			if x.Event == driver.Assigned {
				return &driver.Fence{Topic: fencedInput.Name, Group: "g", Partition: 0, Epoch: x.Epoch}
			}
		}
	}
}

func said(topic, who string, n int) []driver.Record {
	var all []driver.Record
	for i := range n {
		all = append(all, driver.Record{Topic: topic, Key: fmt.Sprintf("k%d", i), ID: fmt.Sprintf("%s-%s-%d", topic, who, i), Value: []byte(who)})
	}
	return all
}

// zombie makes the driver believe that its leases last, as when its process was stopped right after it had looked.
func (d *Driver) zombie() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for f := range d.feeds {
		f.(*owner).silent.Store(true)
	}
	for _, l := range d.leases {
		l.o.Mu.Lock()
		l.valid = time.Now().Add(time.Hour)
		l.o.Mu.Unlock()
	}
}

// zombies has a former owner, whose look at the clock was long ago, publish in every way there is, and looks for what it
// said in the topics.
func zombies(t *testing.T, one func() *Driver) {
	former, next := one(), one()
	if err := former.Ensure(t.Context(), append(fencedTo, fencedInput)); err != nil {
		t.Fatal(err)
	}
	before := owning(t, former)
	many := []int{1, 7, batchFrom + 20}
	for _, to := range fencedTo {
		for _, n := range many {
			if err := former.Publish(t.Context(), said(to.Name, fmt.Sprint("owner", n), n), before); err != nil {
				t.Fatal(err)
			}
		}
	}
	former.zombie()
	now := owning(t, next)
	if now.Epoch <= before.Epoch {
		t.Fatalf("epoch %d after %d", now.Epoch, before.Epoch)
	}
	l, err := former.guard(t.Context(), before)
	if err != nil || l == nil {
		t.Fatalf("the former owner's own look refuses already: %v", err)
	}
	for _, to := range fencedTo {
		for _, n := range many {
			// The refusal told it the truth; it did not look yet.
			l.o.Mu.Lock()
			l.lost = false
			l.o.Mu.Unlock()
			former.mu.Lock()
			former.leases[l.place] = l
			former.mu.Unlock()
			if err := former.Publish(t.Context(), said(to.Name, "zombie", n), before); !errors.Is(err, driver.ErrFenced) {
				t.Fatalf("%d to %s: got %v, want ErrFenced", n, to.Name, err)
			}
			if err := former.Publish(t.Context(), nil, before); !errors.Is(err, driver.ErrFenced) {
				t.Fatalf("asked for the epoch: got %v, want ErrFenced", err)
			}
			if err := next.Publish(t.Context(), said(to.Name, fmt.Sprint("next", n), n), now); err != nil {
				t.Fatal(err)
			}
		}
		count := map[string]int{}
		for _, r := range stored(t, next, to.Name) {
			count[string(r.Value)]++
		}
		last := fmt.Sprint("next", many[2])
		if count["zombie"] != 0 || count[last] != many[2] {
			t.Fatalf("%s: got %v, want %d of %s and none of zombie", to.Name, count, many[2], last)
		}
	}
	if err := next.Publish(t.Context(), nil, now); err != nil {
		t.Fatal(err)
	}
}

// stored replays a topic.
func stored(t *testing.T, d *Driver, topic string) []driver.Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	f, err := d.Subscribe(ctx, driver.Subscription{Topic: topic})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []driver.Record
	for {
		ds, err := f.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range ds {
			if x.Event == driver.CaughtUp {
				return all
			}
			all = append(all, x.Record)
		}
	}
}

func TestTheEmbeddedServerRefusesAFormerOwner(t *testing.T) {
	t.Parallel()
	root := embedded(t, t.TempDir())
	zombies(t, func() *Driver {
		p := root.peer(t)
		t.Cleanup(func() { p.Close() })
		return p
	})
}

func TestAnExternalServerRefusesAFormerOwner(t *testing.T) {
	t.Parallel()
	s := external(t, t.TempDir(), server.RANDOM_PORT)
	zombies(t, func() *Driver { return client(t, 1, s.ClientURL()) })
}

func TestIntegrationAClusterRefusesAFormerOwner(t *testing.T) {
	if testing.Short() {
		t.Skip("three servers take their time")
	}
	t.Parallel()
	urls := cluster(t)
	zombies(t, func() *Driver { return client(t, 3, urls...) })
}

func client(t testing.TB, replicas int, urls ...string) *Driver {
	d, err := New(Config{URLs: urls, Replicas: replicas}, "", obs.Scope{})
	if err != nil {
		t.Fatal(err)
	}
	d.tuning = quick()
	t.Cleanup(func() { d.Close() })
	return d
}

// cluster is three servers in this process.
func cluster(t *testing.T) []string {
	var routes []*url.URL
	var ports []int
	for range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
		routes = append(routes, &url.URL{Scheme: "nats", Host: l.Addr().String()})
		l.Close()
	}
	var urls []string
	var all []*server.Server
	for i, p := range ports {
		s, err := server.NewServer(&server.Options{
			ServerName: fmt.Sprint("s", i), Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
			JetStream: true, StoreDir: t.TempDir(), JetStreamMaxStore: maxStore, JetStreamMaxMemory: maxMemory,
			Cluster: server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: p}, Routes: routes,
		})
		if err != nil {
			t.Fatal(err)
		}
		go s.Start()
		all = append(all, s)
		t.Cleanup(func() {
			s.Shutdown()
			s.WaitForShutdown()
		})
	}
	for _, s := range all {
		if !s.ReadyForConnections(20 * time.Second) {
			t.Fatal("a server did not get ready")
		}
		urls = append(urls, s.ClientURL())
	}
	await(t, "the cluster to have a leader", func() bool {
		for _, s := range all {
			if s.JetStreamIsLeader() && len(s.JetStreamClusterPeers()) == 3 {
				return true
			}
		}
		return false
	})
	return urls
}

// A fence that went by age or to make room is written anew by its owner, and by nobody else.
func TestAFenceThatIsGoneIsWrittenAnew(t *testing.T) {
	t.Parallel()
	d := embedded(t, t.TempDir())
	if err := d.Ensure(t.Context(), append(fencedTo, fencedInput)); err != nil {
		t.Fatal(err)
	}
	mine := owning(t, d)
	for _, to := range fencedTo {
		tt, err := d.topic(t.Context(), to.Name)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := tt.handle.Purge(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := d.Publish(t.Context(), said(to.Name, "owner", 5), mine); err != nil {
				t.Fatal(err)
			}
		}
	}
	former := d.peer(t)
	t.Cleanup(func() { former.Close() })
	d.zombie()
	next := owning(t, former)
	for _, to := range fencedTo {
		tt, err := d.topic(t.Context(), to.Name)
		if err != nil {
			t.Fatal(err)
		}
		if err := tt.handle.Purge(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := d.Publish(t.Context(), said(to.Name, "zombie", 5), mine); !errors.Is(err, driver.ErrFenced) {
			t.Fatalf("got %v, want ErrFenced", err)
		}
		if err := former.Publish(t.Context(), said(to.Name, "next", 5), next); err != nil {
			t.Fatal(err)
		}
	}
}

// Who writes its fence late, because it was paused between taking the lease and that, sees that another came after it.
func TestALateFenceDoesNotReplaceANewerOne(t *testing.T) {
	t.Parallel()
	d := embedded(t, t.TempDir())
	if err := d.Ensure(t.Context(), append(fencedTo, fencedInput)); err != nil {
		t.Fatal(err)
	}
	before := owning(t, d)
	l, err := d.guard(t.Context(), before)
	if err != nil {
		t.Fatal(err)
	}
	other := d.peer(t)
	t.Cleanup(func() { other.Close() })
	d.zombie()
	owning(t, other)
	l.fencing.Lock()
	l.fences = nil // As if it never had come to write them.
	l.fencing.Unlock()
	if err := d.Publish(t.Context(), said(fencedTo[0].Name, "zombie", 1), before); !errors.Is(err, driver.ErrFenced) {
		t.Fatalf("got %v, want ErrFenced", err)
	}
}

// A topic that is full, or is not there yet, keeps nobody from owning partitions.
func TestAFullTopicIsFencedLater(t *testing.T) {
	t.Parallel()
	d := embedded(t, t.TempDir())
	small := driver.Topic{Name: fencedTo[0].Name, Partitions: 1, MaxBytes: 4096}
	if err := d.Ensure(t.Context(), []driver.Topic{small, fencedInput}); err != nil {
		t.Fatal(err)
	}
	var err error
	for i := 0; err == nil; i++ {
		err = d.Publish(t.Context(), []driver.Record{{Topic: small.Name, Key: "k", Value: []byte(strings.Repeat("x", 100))}}, nil)
	}
	if !errors.Is(err, driver.ErrFull) {
		t.Fatal(err)
	}
	mine := owning(t, d)
	if err := d.Publish(t.Context(), said(small.Name, "owner", 1), mine); !errors.Is(err, driver.ErrFull) {
		t.Fatalf("got %v, want ErrFull", err)
	}
	tt, err := d.topic(t.Context(), small.Name)
	if err != nil {
		t.Fatal(err)
	}
	if err := tt.handle.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := d.Publish(t.Context(), said(small.Name, "owner", 1), mine); err != nil {
		t.Fatal(err)
	}
	for _, late := range fencedTo[1:] {
		if err := d.Ensure(t.Context(), []driver.Topic{late}); err != nil {
			t.Fatal(err)
		}
		if err := d.Publish(t.Context(), said(late.Name, "owner", 1), mine); err != nil {
			t.Fatal(err)
		}
	}
}
