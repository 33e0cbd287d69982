package kafka

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/internal/journal"
	"kemi.dev/kemi/internal/obs"
)

// A broker that does not say how large topics are says nothing at all: it names no disk. That is not a topic without a byte.
func TestASizeThatIsNotToldIsNotNought(t *testing.T) {
	t.Parallel()
	c := fake(t, "")
	c.ControlKey(int16(kmsg.DescribeLogDirs), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		return req.ResponseKind(), nil, true
	})
	d := dialled(t, Config{Brokers: c.ListenAddrs()})
	var log journal.Journal
	d.scope = logging(&log)
	full := driver.Topic{Name: "full.v1", Partitions: 1, MaxBytes: 100}
	for range 2 {
		if err := d.Ensure(t.Context(), []driver.Topic{{Name: "log.v1", Partitions: 1}, full}); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // Nothing refuses that is not known to be full.
		if err := d.Publish(t.Context(), []driver.Record{{Topic: full.Name, Key: "k", Value: make([]byte, 200)}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if used, _, err := d.Size(t.Context(), "log.v1"); err == nil {
		t.Errorf("it has %d bytes", used)
	}
	info, err := d.Inspect(t.Context(), "log.v1")
	if err != nil || info.Bytes != -1 {
		t.Errorf("it has %d bytes, %v", info.Bytes, err)
	}
	if n := strings.Count(log.String(), "Describe"); n != 1 {
		t.Errorf("the permission that is missing is told %d times:\n%s", n, log.String())
	}
}

// What ends a transaction is in the log, and is no record that waits.
func TestAGroupThatHandledEverythingHasNoLag(t *testing.T) {
	t.Parallel()
	c := fake(t, "")
	d := dialled(t, Config{Brokers: c.ListenAddrs()})
	in, out, work := driver.Topic{Name: "in.v1", Partitions: 1}, driver.Topic{Name: "out.v1", Partitions: 1}, driver.Topic{Name: "work.v1", Kind: driver.Work, Partitions: 2}
	if err := d.Ensure(t.Context(), []driver.Topic{in, out, work}); err != nil {
		t.Fatal(err)
	}
	writes := listen(t, d, driver.Subscription{Topic: in.Name, Group: "g", Writes: []string{out.Name}})
	writes.until("an epoch", func(x driver.Delivery) bool { return x.Event == driver.Assigned })
	reads := listen(t, d, driver.Subscription{Topic: out.Name, Group: "g"})
	lag := func() int64 {
		info, err := d.Inspect(t.Context(), out.Name)
		if err != nil || len(info.Groups) != 1 || len(info.Groups[0].Partitions) != 1 {
			return -1
		}
		return info.Groups[0].Partitions[0].Lag
	}
	for i := range 3 {
		fence := &driver.Fence{Topic: in.Name, Group: "g", Epoch: writes.last.Epoch}
		value := fmt.Sprint(i)
		if err := d.Publish(t.Context(), []driver.Record{{Topic: out.Name, Key: "k", Value: []byte(value)}}, fence); err != nil {
			t.Fatal(err)
		}
		reads.value(value)
		eventually(t, "a lag of none", func() bool { return lag() == 0 })
	}
	// One that is not acknowledged waits all the same, and comes again.
	fence := &driver.Fence{Topic: in.Name, Group: "g", Epoch: writes.last.Epoch}
	if err := d.Publish(t.Context(), []driver.Record{{Topic: out.Name, Key: "k", Value: []byte("not done")}}, fence); err != nil {
		t.Fatal(err)
	}
	next(t, reads.Feed, 1)
	reads.Close()
	if n := lag(); n < 1 {
		t.Errorf("the lag is %d, and a record waits", n)
	}
	listen(t, d, driver.Subscription{Topic: out.Name, Group: "g"}).value("not done")
	// Work has the partitions that Kafka gave it.
	info, err := d.Inspect(t.Context(), work.Name)
	if err != nil || info.Topic.Partitions != workPartitions {
		t.Errorf("work has %d partitions, %v", info.Topic.Partitions, err)
	}
}

// Whoever sees the name of an owner at the broker finds it in the log and the metrics of one process.
func TestAMemberSaysWhatItIsCalled(t *testing.T) {
	t.Parallel()
	c := fake(t, "")
	var log journal.Journal
	metrics := prometheus.NewRegistry()
	d, err := New(Config{Brokers: c.ListenAddrs()}, "", obs.New(slog.New(slog.NewTextHandler(&log, nil)), metrics))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	d.tuning = quick()
	if err := d.Ensure(t.Context(), []driver.Topic{{Name: "log.v1", Partitions: 1}}); err != nil {
		t.Fatal(err)
	}
	f := listen(t, d, driver.Subscription{Topic: "log.v1", Group: "g"})
	f.until("an epoch", func(x driver.Delivery) bool { return x.Event == driver.Assigned })
	info, err := d.Inspect(t.Context(), "log.v1")
	if err != nil {
		t.Fatal(err)
	}
	owner := info.Groups[0].Partitions[0].Owner
	if n := strings.Count(log.String(), "member="+owner); owner == "" || n != 1 {
		t.Errorf("%q is told %d times:\n%s", owner, n, log.String())
	}
	want := `# HELP kemi_bus_member_info 1 by the names under which the broker knows this process in its groups.
# TYPE kemi_bus_member_info gauge
kemi_bus_member_info{group="g",member="` + owner + `",topic="log.v1"} 1
`
	if err := testutil.GatherAndCompare(metrics, strings.NewReader(want), "kemi_bus_member_info"); err != nil {
		t.Error(err)
	}
	f.Close()
	if err := testutil.GatherAndCompare(metrics, strings.NewReader(""), "kemi_bus_member_info"); err != nil {
		t.Error(err)
	}
}

// Whoever has to stop while the brokers are away stops soon.
func TestMembersLeaveBrokersThatAreAwaySoon(t *testing.T) {
	t.Parallel()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.BrokerConfigs(map[string]string{"group.initial.rebalance.delay.ms": "0"}))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	d := dialled(t, Config{Brokers: c.ListenAddrs()})
	d.tuning = defaults()
	d.tuning.lease = time.Minute // Nothing may wait for that.
	if err := d.Ensure(t.Context(), []driver.Topic{{Name: "log.v1", Partitions: 2}}); err != nil {
		t.Fatal(err)
	}
	if err := d.Publish(t.Context(), []driver.Record{{Topic: "log.v1", Key: "k"}}, nil); err != nil {
		t.Fatal(err)
	}
	f, err := d.Subscribe(t.Context(), driver.Subscription{Topic: "log.v1", Group: "g"})
	if err != nil {
		t.Fatal(err)
	}
	got := next(t, f, 1)
	c.Close()
	eventually(t, "the loss to be known", func() bool { return d.Health() != nil })
	if err := f.Ack(t.Context(), got[0]); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		d.Close()
	}()
	select {
	case <-closed:
	case <-ctx.Done():
		t.Error("it still waits for the brokers")
	}
}
