package nats

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"

	"kemi.dev/kemi/bus/driver"
)

// What a topic holds, and how far its groups are, is said as it is, whatever lies between the records of a partition.
func TestATopicIsInspected(t *testing.T) {
	t.Parallel()
	d := embedded(t, t.TempDir())
	topic := driver.Topic{Name: "things.v1", Partitions: 3, MaxBytes: 16 << 20, Keep: time.Hour}
	latest := driver.Topic{Name: "latest.v1", Kind: driver.Latest, Partitions: 1, MaxBytes: 1 << 20, Sync: true}
	work := driver.Topic{Name: "work.v1", Kind: driver.Work, Partitions: 1, MaxBytes: 1 << 20}
	if err := d.Ensure(t.Context(), []driver.Topic{topic, latest, work}); err != nil {
		t.Fatal(err)
	}
	inspect := func(name string) driver.Info {
		t.Helper()
		info, err := d.Inspect(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	if got := inspect(topic.Name); got.Bytes != 0 || len(got.Groups) != 0 || len(got.Partitions) != 3 || got.Partitions[2] != (driver.PartitionInfo{Partition: 2, First: 1, End: 1}) {
		t.Errorf("empty: got %+v", got)
	}

	begun := time.Now().Add(-time.Minute)
	var some []driver.Record
	for i := range 30 { // Positions 1 to 30: partition 0 has 1, 3, 5, …, partition 1 the others.
		some = append(some, driver.Record{Topic: topic.Name, Partition: i % 2, Key: fmt.Sprint(i), Value: []byte("v")})
	}
	for i := range 10 {
		some = append(some, driver.Record{Topic: latest.Name, Key: fmt.Sprint(i % 4), Value: []byte("v")}, driver.Record{Topic: work.Name, Key: fmt.Sprint(i), Value: []byte("v")})
	}
	if err := d.Publish(t.Context(), some, nil); err != nil {
		t.Fatal(err)
	}
	got := inspect(topic.Name)
	if got.Bytes <= 0 {
		t.Errorf("got %d bytes", got.Bytes)
	}
	for p := range 2 {
		if o := got.Partitions[p].Oldest; o.Before(begun) || o.After(time.Now().Add(time.Minute)) {
			t.Errorf("the oldest record of partition %d is of %s", p, o)
		}
		got.Partitions[p].Oldest = time.Time{}
	}
	want := []driver.PartitionInfo{{Partition: 0, First: 1, End: 30, Records: 15}, {Partition: 1, First: 2, End: 31, Records: 15}, {Partition: 2, First: 31, End: 31}}
	if diff := cmp.Diff(want, got.Partitions); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(topic, got.Topic); diff != "" {
		t.Error(diff)
	}
	if got := inspect(latest.Name).Partitions[0]; got.Records != 4 || got.First != 7 || got.End != 11 {
		t.Errorf("of a topic that keeps the latest: %+v", got)
	}

	// One group read everything, one stopped in the middle.
	done := follow(t, d, driver.Subscription{Topic: topic.Name, Group: "done"})
	n := 0
	done.until("all", func(x driver.Delivery) bool {
		if x.Event == driver.Data {
			n++
		}
		return n == 30
	})
	f, err := d.Subscribe(t.Context(), driver.Subscription{Topic: topic.Name, Group: "a.slow one"})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for acked := false; !acked; {
		ds, err := f.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range ds {
			if x.Event == driver.Data && x.Partition == 0 && x.Position == 7 { // The fourth of fifteen.
				if err := f.Ack(t.Context(), x); err != nil {
					t.Fatal(err)
				}
				acked = true
			}
		}
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	await(t, "the positions", func() bool {
		got := inspect(topic.Name).Groups
		if len(got) != 2 || got[0].Name != "a.slow one" || got[1].Name != "done" || len(got[0].Partitions) != 3 || len(got[1].Partitions) != 3 {
			return false
		}
		slow, quick := got[0].Partitions, got[1].Partitions
		for _, p := range append(slow, quick...) {
			if !strings.Contains(p.Owner, fmt.Sprint("-", os.Getpid(), "-")) || !strings.HasPrefix(p.Owner, host[:1]) || p.Epoch == 0 {
				t.Fatalf("got %+v, want an owner on %s with its process", p, host)
			}
		}
		return slow[0].Next == 8 && slow[0].Lag == 11 && slow[1].Lag == 15 && slow[2].Lag == 0 && quick[0].Lag == 0 && quick[1].Lag == 0 && quick[0].Next == 30
	})

	w := follow(t, d, driver.Subscription{Topic: work.Name, Group: "w.x"})
	n = 0
	w.until("some work", func(x driver.Delivery) bool { n++; return n == 10 })
	publish(t, d, work.Name, "k", "more")
	await(t, "the work", func() bool {
		got := inspect(work.Name).Groups
		return len(got) == 1 && got[0].Name == "w.x" && got[0].Partitions[0] == driver.GroupPartition{Partition: -1, Next: 11, Lag: 1}
	})
	if _, err := d.Inspect(t.Context(), "nothing.v1"); err == nil || !strings.Contains(err.Error(), driver.ErrNoTopic.Error()) {
		t.Errorf("a topic that is not there: %v", err)
	}
}

// In a cluster nothing is made to find out: its servers would have to agree each time.
func TestATopicOfAClusterIsInspectedByLooking(t *testing.T) {
	t.Parallel()
	s := external(t, t.TempDir(), server.RANDOM_PORT)
	d := dialled(t, Config{}, s)
	if err := d.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.links[process].clustered = true
	looksAt(t, d)
}

func TestIntegrationATopicOfAClusterIsInspectedByLooking(t *testing.T) {
	if testing.Short() {
		t.Skip("three servers take their time")
	}
	t.Parallel()
	looksAt(t, client(t, 3, cluster(t)...))
}

func looksAt(t *testing.T, d *Driver) {
	topic := driver.Topic{Name: "things.v1", Partitions: 3, MaxBytes: 16 << 20}
	if err := d.Ensure(t.Context(), []driver.Topic{topic}); err != nil {
		t.Fatal(err)
	}
	var some []driver.Record
	for i := range 30 { // Positions 1 to 30: partition 0 has 1, 3, 5, …, partition 1 the others.
		some = append(some, driver.Record{Topic: topic.Name, Partition: i % 2, Key: fmt.Sprint(i), Value: []byte("v")})
	}
	if err := d.Publish(t.Context(), some, nil); err != nil {
		t.Fatal(err)
	}
	f, err := d.Subscribe(t.Context(), driver.Subscription{Topic: topic.Name, Group: "g"})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	upTo := map[int]int64{0: 25, 1: 30}
	for n := 0; n < 30; {
		ds, err := f.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range ds {
			if x.Event != driver.Data {
				continue
			}
			if n++; x.Position == upTo[x.Partition] {
				if err := f.Ack(t.Context(), x); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	// The group has a consumer per partition.
	stream := d.named(topic, nil, 0).stream
	own := map[string]bool{}
	await(t, "the group's consumers", func() bool {
		s, err := d.links[process].js.Stream(t.Context(), stream)
		if err != nil {
			t.Fatal(err)
		}
		clear(own)
		for name := range s.ConsumerNames(t.Context()).Name() {
			own[name] = true
		}
		return len(own) == topic.Partitions
	})
	created := "$JS.EVENT.ADVISORY.CONSUMER.CREATED." + stream + "."
	made, err := d.links[process].nc.SubscribeSync(created + ">")
	if err != nil {
		t.Fatal(err)
	}
	await(t, "the positions", func() bool {
		info, err := d.Inspect(t.Context(), topic.Name)
		if err != nil {
			t.Fatal(err)
		}
		for p := range info.Partitions {
			info.Partitions[p].Oldest = time.Time{}
		}
		want := []driver.PartitionInfo{{Partition: 0, First: 1, End: 30, Records: 15}, {Partition: 1, First: 2, End: 31, Records: 15}, {Partition: 2, First: 31, End: 31}}
		if diff := cmp.Diff(want, info.Partitions); diff != "" {
			t.Fatal(diff)
		}
		if len(info.Groups) != 1 || len(info.Groups[0].Partitions) != 3 {
			return false
		}
		// Two wait in partition 0, at 27 and 29; none in the others.
		got := info.Groups[0].Partitions
		return got[0].Next == 26 && got[0].Lag >= 2 && got[0].Lag <= 4 && got[1].Lag == 0 && got[2].Lag == 0
	})
	if err := d.links[process].nc.FlushTimeout(5 * time.Second); err != nil {
		t.Fatal(err)
	}
	for n, _, _ := made.Pending(); n > 0; n-- {
		m, err := made.NextMsg(time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if name := strings.TrimPrefix(m.Subject, created); !own[name] {
			t.Errorf("consumer %s was made", name)
		}
	}
}

// Health says since when the server is away, and is well again when it is back.
func TestHealthSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := external(t, dir, server.RANDOM_PORT)
	d := dialled(t, Config{}, s)
	wants(t, d.Health(), "not connected to nats yet")
	if err := d.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := d.Health(); err != nil {
		t.Fatal(err)
	}
	url, port := s.ClientURL(), int(s.Addr().(interface{ AddrPort() netip.AddrPort }).AddrPort().Port())
	s.Shutdown()
	s.WaitForShutdown()
	await(t, "the loss to be seen", func() bool { return d.Health() != nil })
	wants(t, d.Health(), url, "not connected since 20")
	await(t, "why it is not back", func() bool { return strings.Contains(d.Health().Error(), "nothing listens") })
	external(t, dir, port)
	await(t, "health", func() bool { return d.Health() == nil })
	d.Close()
	wants(t, d.Health(), driver.ErrClosed.Error())
}
