package kafka

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/internal/journal"
	"kemi.dev/kemi/internal/obs"
	"kemi.dev/kemi/internal/pause"
)

// listening is where somebody accepts connections and does something with them.
func listening(t *testing.T, do func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go do(c)
		}
	}()
	return l.Addr().String()
}

func TestABrokerThatDoesNotAnswerIsAway(t *testing.T) {
	t.Parallel()
	silent := listening(t, func(net.Conn) {})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refuses := l.Addr().String()
	l.Close()
	for name, broker := range map[string]string{
		"refuses connections": refuses, "has no address": "kafka.invalid:9092", "says nothing": silent,
		"hangs up": listening(t, func(c net.Conn) { c.Close() }),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := dialled(t, Config{Brokers: []string{broker}})
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			err := d.Ensure(ctx, []driver.Topic{{Name: "t", Partitions: 1}})
			if !errors.Is(err, driver.ErrAway) || !strings.Contains(err.Error(), broker) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// What is no broker is not only late.
func TestWhatSpeaksAnotherProtocolIsSaid(t *testing.T) {
	t.Parallel()
	web := listening(t, func(c net.Conn) {
		_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n400 Bad Request")
	})
	d := dialled(t, Config{Brokers: []string{web}})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // Waited for as one that is away it would take all of it.
	defer cancel()
	if err := d.Open(ctx); err == nil || !strings.Contains(err.Error(), web+" is no Kafka broker: it begins with \"HTTP\"") {
		t.Errorf("got %v", err)
	}
}

// A broker that was there and went is away, too.
func TestABrokerThatWentIsAway(t *testing.T) {
	t.Parallel()
	c := fake(t, "")
	d := dialled(t, Config{Brokers: c.ListenAddrs()})
	some := []driver.Topic{{Name: "t", Partitions: 1}}
	if err := d.Ensure(t.Context(), some); err != nil {
		t.Fatal(err)
	}
	c.Close()
	for name, do := range map[string]func(context.Context) error{
		"ensure":  func(ctx context.Context) error { return d.Ensure(ctx, some) },
		"publish": func(ctx context.Context) error { return d.Publish(ctx, []driver.Record{{Topic: "t"}}, nil) },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		if err := do(ctx); !errors.Is(err, driver.ErrAway) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// Every process says once that the brokers went away, and once that they are back, also one that has nothing to do.
func TestWhoLosesTheBrokersSaysSoOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := fake(t, dir)
	port := portOf(t, c.ListenAddrs()[0])
	d := dialled(t, Config{Brokers: c.ListenAddrs()})
	var log journal.Journal
	d.scope = logging(&log)
	if err := d.Ensure(t.Context(), []driver.Topic{{Name: "t", Partitions: 1}}); err != nil {
		t.Fatal(err)
	}
	said := func(what string) bool { return strings.Contains(log.String(), what) }
	for range 2 {
		log.Reset()
		c.Close()
		eventually(t, "the loss to be told", func() bool { return said("the brokers are away") && d.Health() != nil })
		c = fake(t, dir, port)
		eventually(t, "the return to be told", func() bool { return said("the brokers are back") && d.Health() == nil })
		if n := strings.Count(log.String(), "level="); n != 2 {
			t.Errorf("it says %s", log.String())
		}
	}
}

// What speaks no Kafka, or a Kafka that is too old, is not away: waiting does not help.
func TestABrokerThatIsTooOldIsNotAway(t *testing.T) {
	t.Parallel()
	c := fake(t, "")
	c.ControlKey(int16(kmsg.ApiVersions), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		res := req.ResponseKind().(*kmsg.ApiVersionsResponse)
		for _, key := range []kmsg.Key{kmsg.ApiVersions, kmsg.Metadata, kmsg.Produce, kmsg.Fetch} {
			one := kmsg.NewApiVersionsResponseApiKey()
			one.ApiKey, one.MaxVersion = int16(key), 4
			res.ApiKeys = append(res.ApiKeys, one)
		}
		return res, nil, true
	})
	d := dialled(t, Config{Brokers: c.ListenAddrs()})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := d.Open(ctx); err == nil || errors.Is(err, driver.ErrAway) || !strings.Contains(err.Error(), "upgrade the brokers") {
		t.Errorf("got %v", err)
	}
}

func logging(w io.Writer) obs.Scope { return obs.New(slog.New(slog.NewTextHandler(w, nil)), nil) }

// A cluster that was just started does not know yet who looks after groups, and its brokers learn of topics one after the
// other: that is waited for, and nobody is told.
func TestAClusterThatIsJustStartingIsWaitedForQuietly(t *testing.T) {
	t.Parallel()
	c := fake(t, "")
	times := func(n int, answer func(kmsg.Request) kmsg.Response) func(kmsg.Request) (kmsg.Response, error, bool) {
		return func(req kmsg.Request) (kmsg.Response, error, bool) {
			if n--; n < 0 {
				return nil, nil, false
			}
			c.KeepControl()
			return answer(req), nil, true
		}
	}
	c.ControlKey(int16(kmsg.FindCoordinator), times(5, func(req kmsg.Request) kmsg.Response {
		res := req.ResponseKind().(*kmsg.FindCoordinatorResponse)
		res.ErrorCode = 15 // The coordinator is not available.
		return res
	}))
	c.ControlKey(int16(kmsg.Produce), times(3, func(req kmsg.Request) kmsg.Response {
		r, res := req.(*kmsg.ProduceRequest), req.ResponseKind().(*kmsg.ProduceResponse)
		for _, t := range r.Topics {
			rt := kmsg.NewProduceResponseTopic()
			rt.Topic = t.Topic
			for _, p := range t.Partitions {
				rp := kmsg.NewProduceResponseTopicPartition()
				rp.Partition, rp.ErrorCode = p.Partition, 3 // There is no such topic.
				rt.Partitions = append(rt.Partitions, rp)
			}
			res.Topics = append(res.Topics, rt)
		}
		return res
	}))
	d := dialled(t, Config{Brokers: c.ListenAddrs()})
	var log journal.Journal
	d.scope = logging(&log)
	if err := d.Ensure(t.Context(), []driver.Topic{{Name: "t", Partitions: 1}}); err != nil {
		t.Fatal(err)
	}
	f, err := d.Subscribe(t.Context(), driver.Subscription{Topic: "t", Group: "g"})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Publish(t.Context(), []driver.Record{{Topic: "t", Key: "k"}}, nil); err != nil {
		t.Fatal(err)
	}
	next(t, f, 1)
	if text := log.String(); strings.Contains(text, "level=WARN") || strings.Contains(text, "level=ERROR") {
		t.Errorf("it says %s", text)
	}
}

func TestAClusterThatForgetsGroupsSoonIsWarnedOf(t *testing.T) {
	t.Parallel()
	for minutes, warned := range map[string]bool{"60": true, "10080": false} {
		c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.BrokerConfigs(map[string]string{"offsets.retention.minutes": minutes}))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		d := dialled(t, Config{Brokers: c.ListenAddrs()})
		var log journal.Journal
		d.scope = logging(&log)
		for range 2 {
			if err := d.Ensure(t.Context(), []driver.Topic{{Name: "t", Partitions: 1}}); err != nil {
				t.Fatal(err)
			}
		}
		if n := strings.Count(log.String(), "offsets.retention.minutes"); n > 1 || warned != (n == 1) {
			t.Errorf("%s minutes: it says %s", minutes, log.String())
		}
	}
}

// A coordinator that is slow when a partition is taken over is waited for: the members neither join again nor lose what
// they have, however often it has no answer in time.
func TestATakeOverThatIsSlowDisturbsNobody(t *testing.T) {
	t.Parallel()
	c := fake(t, "")
	var mu sync.Mutex
	fetched, joined := 0, 0
	c.ControlKey(int16(kmsg.OffsetFetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		mu.Lock()
		defer mu.Unlock()
		if fetched++; fetched > 5 {
			return nil, nil, false
		}
		c.KeepControl()
		res := req.ResponseKind().(*kmsg.OffsetFetchResponse)
		res.ErrorCode = 14 // The coordinator is loading.
		return res, nil, true
	})
	c.ControlKey(int16(kmsg.JoinGroup), func(kmsg.Request) (kmsg.Response, error, bool) {
		mu.Lock()
		defer mu.Unlock()
		c.KeepControl()
		joined++
		return nil, nil, false
	})
	d := dialled(t, Config{Brokers: c.ListenAddrs()})
	if err := d.Ensure(t.Context(), []driver.Topic{{Name: "t", Partitions: 1}}); err != nil {
		t.Fatal(err)
	}
	f, err := d.Subscribe(t.Context(), driver.Subscription{Topic: "t", Group: "g"})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Publish(t.Context(), []driver.Record{{Topic: "t", Key: "k"}}, nil); err != nil {
		t.Fatal(err)
	}
	next(t, f, 1)
	mu.Lock()
	defer mu.Unlock()
	if fetched <= 5 || joined > 2 { // The first time a member is only given its name.
		t.Errorf("after %d attempts to take over it joined %d times", fetched, joined)
	}
}

// A member that the broker knows and that never joins again holds up the others for as long as the broker waits for it, and no
// longer: who waits does not give up before.
func TestAMemberThatNeverJoinsAgainIsWaitedForOnce(t *testing.T) {
	t.Parallel()
	c := fake(t, "")
	d := dialled(t, Config{Brokers: c.ListenAddrs()})
	if err := d.Ensure(t.Context(), []driver.Topic{{Name: "t", Partitions: 1}}); err != nil {
		t.Fatal(err)
	}
	// It says that it lives, and does nothing else.
	client := &kafkago.Client{Addr: kafkago.TCP(c.ListenAddrs()...), Timeout: 10 * time.Second}
	join := &kafkago.JoinGroupRequest{
		GroupID: groupID("kemi", "g", "t"), SessionTimeout: d.tuning.lease, RebalanceTimeout: 2 * d.tuning.lease, ProtocolType: "consumer",
		Protocols: []kafkago.GroupProtocol{{Name: dividing, Metadata: kafkago.GroupProtocolSubscription{Topics: []string{"kemi.t"}, UserData: encodeClaim(nil)}}},
	}
	joined, err := client.JoinGroup(t.Context(), join)
	if err == nil && errors.Is(joined.Error, kafkago.MemberIDRequired) {
		join.MemberID = joined.MemberID
		joined, err = client.JoinGroup(t.Context(), join)
	}
	if err != nil || joined.Error != nil {
		t.Fatal(err, joined)
	}
	lives, cancel := context.WithCancel(t.Context())
	var beating sync.WaitGroup
	beating.Go(func() {
		for pause.For(lives, d.tuning.lease/6) {
			_, _ = client.Heartbeat(lives, &kafkago.HeartbeatRequest{GroupID: join.GroupID, GenerationID: int32(joined.GenerationID), MemberID: joined.MemberID})
		}
	})
	defer beating.Wait()
	defer cancel()
	f, err := d.Subscribe(t.Context(), driver.Subscription{Topic: "t", Group: "g"})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Publish(t.Context(), []driver.Record{{Topic: "t", Key: "k"}}, nil); err != nil {
		t.Fatal(err)
	}
	next(t, f, 1)
}
