package kafka

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/internal/brokers"
	"kemi.dev/kemi/internal/journal"
	"kemi.dev/kemi/internal/pause"
)

// listener collects what a feed delivers, and acknowledges it.
type listener struct {
	driver.Feed
	t      *testing.T
	values []string
	last   driver.Delivery // The last Assigned.
}

func listen(t *testing.T, d *Driver, s driver.Subscription) *listener {
	t.Helper()
	f, err := d.Subscribe(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return &listener{Feed: f, t: t}
}

// until reads until done holds.
func (l *listener) until(what string, done func(driver.Delivery) bool) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), 60*time.Second)
	defer cancel()
	for ok := false; !ok; {
		ds, err := l.Next(ctx)
		if err != nil {
			l.t.Fatalf("waited in vain for %s, got %q: %v", what, l.values, err)
		}
		for _, x := range ds {
			switch x.Event {
			case driver.Assigned:
				l.last = x
			case driver.Data:
				l.values = append(l.values, string(x.Record.Value))
				if err := l.Ack(ctx, x); err != nil && !errors.Is(err, driver.ErrFenced) {
					l.t.Fatal(err)
				}
			}
			ok = ok || done(x)
		}
	}
}

func (l *listener) value(want string) {
	l.t.Helper()
	if !slices.Contains(l.values, want) {
		l.until(want, func(x driver.Delivery) bool { return x.Event == driver.Data && string(x.Record.Value) == want })
	}
}

// stores publishes, and tries again as a caller would, until it is stored.
func stores(t *testing.T, d *Driver, topic, key, value string) {
	t.Helper()
	eventually(t, value+" to be stored on "+topic, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		err := d.Publish(ctx, []driver.Record{{Topic: topic, Key: key, Value: []byte(value)}}, nil)
		if err != nil {
			t.Log(err)
		}
		return err == nil
	})
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	for !done() {
		if !pause.For(ctx, 20*time.Millisecond) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// remove takes topics away, as an administrator does, and returns when the brokers know it: what they store before that goes
// with the topic.
func remove(t *testing.T, addresses []string, names ...string) {
	t.Helper()
	d := dialled(t, Config{Brokers: addresses, Prefix: "nobody"})
	if err := d.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	which := func() map[string]topicID {
		ids, err := d.link.identities(t.Context(), names)
		if err != nil {
			t.Fatal(err)
		}
		return ids
	}
	before := which()
	defer eventually(t, "the brokers to know it", func() bool {
		now := which()
		return !slices.ContainsFunc(names, func(name string) bool { id, there := now[name]; return there && id == before[name] })
	})
	client := &kafkago.Client{Addr: kafkago.TCP(addresses...), Timeout: 10 * time.Second}
	res, err := client.DeleteTopics(t.Context(), &kafkago.DeleteTopicsRequest{Topics: names})
	if err != nil {
		t.Fatal(err)
	}
	for name, err := range res.Errors {
		if err != nil {
			t.Fatal(name, err)
		}
	}
}

var ownTopics = []driver.Topic{
	{Name: "log.v1", Partitions: 1, MaxBytes: 1 << 20},
	{Name: "latest.v1", Kind: driver.Latest, Partitions: 1, MaxBytes: 1 << 20},
	{Name: "work.v1", Kind: driver.Work, Partitions: 1, MaxBytes: 1 << 20},
	{Name: "quiet.v1", Partitions: 1, MaxBytes: 1 << 20},
}

func ownNames() []string {
	var all []string
	for _, topic := range ownTopics {
		all = append(all, "kemi."+topic.Name)
	}
	return all
}

// outlives holds a driver to going on when lose took topics with all they held.
func outlives(t *testing.T, addresses []string, tune tuning, lose func()) {
	var log journal.Journal
	d, err := New(Config{Brokers: addresses}, "", logging(&log))
	if err != nil {
		t.Fatal(err)
	}
	d.tuning = tune
	t.Cleanup(func() { d.Close() })
	if err := d.Ensure(t.Context(), ownTopics); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		for _, topic := range ownTopics {
			stores(t, d, topic.Name, "k", fmt.Sprint("before ", i))
		}
	}
	group := listen(t, d, driver.Subscription{Topic: "log.v1", Group: "g", Writes: []string{"latest.v1"}})
	latest := listen(t, d, driver.Subscription{Topic: "latest.v1", Start: driver.Start{Snapshot: true}})
	tail := listen(t, d, driver.Subscription{Topic: "log.v1"})
	work := listen(t, d, driver.Subscription{Topic: "work.v1", Group: "g"})
	all := []*listener{group, latest, tail, work}
	for _, l := range all {
		l.value("before 19")
	}
	epoch := group.last.Epoch
	// What was acknowledged is committed, so that a position is lost too.
	eventually(t, "a commit", func() bool {
		info, err := d.Inspect(t.Context(), "log.v1")
		return err == nil && len(info.Groups) == 1 && info.Groups[0].Partitions[0].Next == 21
	})
	for _, l := range all {
		l.values = nil
	}
	lose()
	for _, topic := range ownTopics[:3] {
		stores(t, d, topic.Name, "k", "after")
	}
	group.until("a later epoch from the beginning of the new log", func(x driver.Delivery) bool {
		return x.Event == driver.Assigned && x.Epoch > epoch && x.Position <= 1
	})
	gone := func(x driver.Delivery) bool { return x.Event == driver.Revoked && x.Partition == -1 }
	latest.until("what was there to be revoked", gone)
	tail.until("what was there to be revoked", gone)
	for _, l := range all {
		l.value("after")
		if l != work && l.values[0] != "after" { // Work comes in any order.
			t.Errorf("of %T there came %q", l.Feed, l.values)
		}
	}
	// The owner may write under its fence, again.
	eventually(t, "a fenced record", func() bool {
		f := &driver.Fence{Topic: "log.v1", Group: "g", Partition: 0, Epoch: group.last.Epoch}
		err := d.Publish(t.Context(), []driver.Record{{Topic: "latest.v1", Key: "fenced", Value: []byte("fenced")}}, f)
		if errors.Is(err, driver.ErrFenced) { // A newer epoch is on its way.
			group.until("another epoch", func(x driver.Delivery) bool { return x.Event == driver.Assigned })
		}
		return err == nil
	})
	latest.value("fenced")
	// Topics that nobody used meanwhile are there too, for others.
	other := dialled(t, Config{Brokers: addresses})
	eventually(t, "every topic", func() bool {
		for _, topic := range ownTopics {
			if _, err := other.Inspect(t.Context(), topic.Name); err != nil {
				return false
			}
		}
		return true
	})
	eventually(t, "health", func() bool { return d.Health() == nil })
	if n := strings.Count(log.String(), "level=ERROR"); n == 0 || n > 4 {
		t.Errorf("the loss is told %d times:\n%s", n, log.String())
	}
}

// A broker that comes back with an empty disk is furnished again, and everything that was going on goes on.
func TestABrokerThatLostEverythingIsFurnishedAgain(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(t *testing.T, c *kfake.Cluster){
		"the disk": func(t *testing.T, c *kfake.Cluster) {
			port := portOf(t, c.ListenAddrs()[0])
			c.Close()
			fake(t, t.TempDir(), port)
		},
		"the topics, by hand": func(t *testing.T, c *kfake.Cluster) { remove(t, c.ListenAddrs(), ownNames()...) },
		"the topics, and somebody else makes them": func(t *testing.T, c *kfake.Cluster) {
			remove(t, c.ListenAddrs(), ownNames()...)
			other := dialled(t, Config{Brokers: c.ListenAddrs()})
			if err := other.Ensure(t.Context(), ownTopics); err != nil {
				t.Fatal(err)
			}
		},
		"what says of each topic what it is": func(t *testing.T, c *kfake.Cluster) {
			remove(t, c.ListenAddrs(), append(ownNames(), "kemi-topics")...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := fake(t, t.TempDir())
			outlives(t, c.ListenAddrs(), quick(), func() { lose(t, c) })
		})
	}
}

// A log that was made anew and has more in it than the one before is read from its beginning too.
func TestALogThatBeganAnewAndGrewPastTheOldOneIsReadWhole(t *testing.T) {
	t.Parallel()
	c := fake(t, t.TempDir())
	d := dialled(t, Config{Brokers: c.ListenAddrs()})
	if err := d.Ensure(t.Context(), ownTopics); err != nil {
		t.Fatal(err)
	}
	stores(t, d, "log.v1", "k", "before")
	group := listen(t, d, driver.Subscription{Topic: "log.v1", Group: "g"})
	tail := listen(t, d, driver.Subscription{Topic: "log.v1"})
	group.value("before")
	tail.value("before")
	remove(t, c.ListenAddrs(), "kemi.log.v1")
	other := dialled(t, Config{Brokers: c.ListenAddrs()})
	if err := other.Ensure(t.Context(), ownTopics); err != nil {
		t.Fatal(err)
	}
	var many []driver.Record
	for i := range 50 {
		many = append(many, driver.Record{Topic: "log.v1", Key: "k", Value: fmt.Append(nil, i)})
	}
	if err := other.Publish(t.Context(), many, nil); err != nil {
		t.Fatal(err)
	}
	for _, l := range []*listener{group, tail} {
		l.value("0")
		l.value("49")
	}
}

// Who may not make a topic again is not well, and says what is missing, until somebody makes it.
func TestTopicsThatCannotBeMadeAgainAreSaid(t *testing.T) {
	t.Parallel()
	c := fake(t, t.TempDir())
	var log journal.Journal
	d := dialled(t, Config{Brokers: c.ListenAddrs()})
	d.scope = logging(&log)
	if err := d.Ensure(t.Context(), ownTopics); err != nil {
		t.Fatal(err)
	}
	var allowed atomic.Bool
	var attempts atomic.Int64
	c.ControlKey(int16(kmsg.CreateTopics), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if allowed.Load() {
			return nil, nil, false
		}
		attempts.Add(1)
		res := req.ResponseKind().(*kmsg.CreateTopicsResponse)
		for _, t := range req.(*kmsg.CreateTopicsRequest).Topics {
			one := kmsg.NewCreateTopicsResponseTopic()
			one.Topic, one.ErrorCode = t.Topic, int16(kafkago.TopicAuthorizationFailed)
			res.Topics = append(res.Topics, one)
		}
		return res, nil, true
	})
	remove(t, c.ListenAddrs(), "kemi.quiet.v1")
	eventually(t, "the topic to be missed", func() bool {
		err := d.Health()
		return err != nil && strings.Contains(err.Error(), "kemi.quiet.v1") && strings.Contains(err.Error(), "Create")
	})
	eventually(t, "some attempts", func() bool { return attempts.Load() >= 3 })
	if n := strings.Count(log.String(), "level=ERROR"); n != 1 {
		t.Errorf("the loss is told %d times:\n%s", n, log.String())
	}
	allowed.Store(true)
	eventually(t, "health", func() bool { return d.Health() == nil })
	stores(t, d, "quiet.v1", "k", "after")
}

// unknownTopics is the answer of a broker that knows none of the topics it is asked for.
func unknownTopics(req kmsg.Request) kmsg.Response {
	res := req.ResponseKind().(*kmsg.MetadataResponse)
	for _, t := range req.(*kmsg.MetadataRequest).Topics {
		one := kmsg.NewMetadataResponseTopic()
		one.Topic, one.ErrorCode = t.Topic, int16(kafkago.UnknownTopicOrPartition)
		res.Topics = append(res.Topics, one)
	}
	return res
}

// A broker that was just started may not know of topics at first: nothing is lost, and nobody is alarmed.
func TestABrokerThatDoesNotKnowYetHasLostNothing(t *testing.T) {
	t.Parallel()
	c := fake(t, t.TempDir())
	var log journal.Journal
	d := dialled(t, Config{Brokers: c.ListenAddrs()})
	d.scope = logging(&log)
	if err := d.Ensure(t.Context(), ownTopics); err != nil {
		t.Fatal(err)
	}
	var ignorant, looks atomic.Int64
	c.ControlKey(int16(kmsg.Metadata), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if req.GetVersion() != versionMetadata || looks.Add(1) > 1 {
			return nil, nil, false
		}
		ignorant.Add(1)
		return unknownTopics(req), nil, true
	})
	eventually(t, "some looks", func() bool { return looks.Load() >= 4 })
	if ignorant.Load() != 1 || strings.Contains(log.String(), "level=ERROR") || d.Health() != nil {
		t.Errorf("%d answers of one who does not know: %s, %v", ignorant.Load(), log.String(), d.Health())
	}
}

// A topic that was just made and that the brokers take long to show was never lost.
func TestATopicThatWasJustMadeIsNotLost(t *testing.T) {
	t.Parallel()
	c := fake(t, t.TempDir())
	var log journal.Journal
	d := dialled(t, Config{Brokers: c.ListenAddrs()})
	d.scope = logging(&log)
	var slow atomic.Bool
	slow.Store(true)
	var looks atomic.Int64
	c.ControlKey(int16(kmsg.Metadata), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if req.GetVersion() != versionMetadata || !slow.Load() {
			return nil, nil, false
		}
		looks.Add(1)
		return unknownTopics(req), nil, true
	})
	if err := d.Ensure(t.Context(), ownTopics); err != nil {
		t.Fatal(err)
	}
	eventually(t, "some looks", func() bool { return looks.Load() >= 6 })
	slow.Store(false)
	if text := log.String(); strings.Contains(text, "gone") || strings.Contains(text, "empty") || d.Health() != nil {
		t.Errorf("%s, %v", text, d.Health())
	}
	publishTo := ownTopics[0].Name
	if err := d.Publish(t.Context(), []driver.Record{{Topic: publishTo, Key: "k"}}, nil); err != nil {
		t.Error(err)
	}
}

// A position that is not there yet, such as one that was written down of a log before, disturbs nobody: what is there is read.
func TestAReplayFromBeyondTheEndDisturbsNobody(t *testing.T) {
	t.Parallel()
	c := fake(t, t.TempDir())
	d := dialled(t, Config{Brokers: c.ListenAddrs()})
	if err := d.Ensure(t.Context(), ownTopics); err != nil {
		t.Fatal(err)
	}
	stores(t, d, "log.v1", "k", "first")
	group := listen(t, d, driver.Subscription{Topic: "log.v1", Group: "g"})
	group.value("first")
	listen(t, d, driver.Subscription{Topic: "log.v1", Start: driver.Start{Position: 100}, Partitions: []int{0}}).value("first")
	stores(t, d, "log.v1", "k", "second")
	group.until("the second", func(x driver.Delivery) bool {
		if x.Event != driver.Data {
			t.Errorf("told %+v", x)
		}
		return string(x.Record.Value) == "second"
	})
}

func TestIntegrationRealKafkaThatLostEverythingIsFurnishedAgain(t *testing.T) {
	if testing.Short() {
		t.Skip("starts Kafka")
	}
	cluster := brokers.Kafka(t, 1)
	t.Run("the topics", func(t *testing.T) {
		outlives(t, cluster.Addrs, defaults(), func() { remove(t, cluster.Addrs, append(ownNames(), "kemi-topics")...) })
	})
	t.Run("the disk", func(t *testing.T) {
		remove(t, cluster.Addrs, ownNames()...)
		outlives(t, cluster.Addrs, defaults(), func() {
			node := cluster.Nodes[0]
			node.Kill()
			if err := os.RemoveAll(node.Dir); err != nil {
				t.Fatal(err)
			}
			node.Restart()
		})
	})
}
