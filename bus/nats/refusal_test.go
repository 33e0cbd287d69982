package nats

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/internal/conf"
	"kemi.dev/kemi/internal/obs"
)

// What docs/operating.md tells to allow: to Kemi, and to a team that reads alerts.v1 and nothing else.
var (
	kemiMayPublish = []string{
		"kemi.>", "$KV.kemi_groups.>", "$KV.kemi_members.>", "$JS.ACK.>", "$JS.FC.>", "$JS.API.INFO",
		"$JS.API.STREAM.INFO.*", "$JS.API.STREAM.CREATE.*", "$JS.API.STREAM.MSG.GET.*", "$JS.API.STREAM.NAMES", "$JS.API.DIRECT.GET.>", "$JS.API.CONSUMER.>",
	}
	kemiMaySubscribe = []string{"_INBOX.>"}
	teamMayPublish   = []string{
		"$JS.API.STREAM.INFO.kemi_alerts_v1", "$JS.API.STREAM.MSG.GET.kemi_alerts_v1", "$JS.API.CONSUMER.CREATE.kemi_alerts_v1.>",
		"$JS.API.CONSUMER.INFO.kemi_alerts_v1.>", "$JS.API.CONSUMER.MSG.NEXT.kemi_alerts_v1.>", "$JS.ACK.kemi_alerts_v1.>",
	}
	teamMaySubscribe = []string{"_INBOX_team.>"}
)

// guarded is a server with users that have a password like their names.
func guarded(t testing.TB, users ...*server.User) *server.Server {
	t.Helper()
	for _, u := range users {
		u.Password = u.Username
	}
	return served(t, &server.Options{JetStream: true, Users: users})
}

// served starts a server on a free port of the loopback address.
func served(t testing.TB, o *server.Options) *server.Server {
	t.Helper()
	o.Host, o.Port, o.NoSigs, o.NoLog, o.JetStreamMaxStore, o.JetStreamMaxMemory = "127.0.0.1", server.RANDOM_PORT, true, true, maxStore, maxMemory
	if o.JetStream {
		o.StoreDir = t.TempDir()
	}
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(20 * time.Second) {
		t.Fatal("the server did not get ready")
	}
	return s
}

func may(name string, publish, subscribe []string) *server.User {
	return &server.User{Username: name, Permissions: &server.Permissions{
		Publish: &server.SubjectPermission{Allow: publish}, Subscribe: &server.SubjectPermission{Allow: subscribe},
	}}
}

func mayNot(name string, publish, subscribe []string) *server.User {
	return &server.User{Username: name, Permissions: &server.Permissions{
		Publish: &server.SubjectPermission{Deny: publish}, Subscribe: &server.SubjectPermission{Deny: subscribe},
	}}
}

func as(name string) Config { return Config{User: name, Password: conf.NewSecret(name)} }

var topicAlerts = driver.Topic{Name: "alerts.v1", Kind: driver.Latest, Partitions: 2, Keep: time.Hour, MaxBytes: 1 << 20}

// soon holds a call to saying what it has to say at once: one that does not heed what was refused takes the half minute that
// calls wait.
func soon(t *testing.T, err error, begun time.Time, parts ...string) {
	t.Helper()
	wants(t, err, parts...)
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("it took %s to say %v", took, err)
	}
}

func TestWhatTheUserMayNotDoIsSaidAtOnce(t *testing.T) {
	t.Parallel()
	s := guarded(
		t, &server.User{Username: "root"},
		mayNot("publisher", []string{"kemi.things.v1.p1.>"}, nil),
		mayNot("maker", []string{"$JS.API.STREAM.CREATE.>"}, nil),
		mayNot("reader", []string{"$JS.API.CONSUMER.CREATE.>"}, nil),
		mayNot("member", []string{"$KV.>", "$JS.API.STREAM.INFO.KV_kemi_groups"}, nil),
		mayNot("deaf", nil, []string{"_INBOX.>"}),
	)
	root := dialled(t, as("root"), s)
	if err := root.Ensure(t.Context(), []driver.Topic{topicThings}); err != nil {
		t.Fatal(err)
	}
	open := func(name string) *Driver {
		d := dialled(t, as(name), s)
		d.tuning = defaults()
		return d
	}
	t.Run("publish", func(t *testing.T) {
		d := open("publisher")
		begun := time.Now()
		denied := thing("a.b", "v")
		denied.Partition = 1
		soon(t, d.Publish(t.Context(), []driver.Record{denied}, nil), begun,
			"the user may not publish to kemi.things.v1.p1.a=2Eb", "allow it to publish to kemi.things.v1.> in the server's permissions")
		var many []driver.Record
		for range 100 {
			many = append(many, denied)
		}
		soon(t, d.Publish(t.Context(), many, nil), begun, "kemi.things.v1.p1.a=2Eb")
		wants(t, d.Health(), "may not publish to kemi.things.v1")
		if err := d.Publish(t.Context(), []driver.Record{thing("k", "v")}, nil); err != nil {
			t.Fatalf("what is allowed: %v", err)
		}
	})
	t.Run("make a stream", func(t *testing.T) {
		d := open("maker")
		begun := time.Now()
		soon(t, d.Ensure(t.Context(), []driver.Topic{topicThings, {Name: "more.v1", Partitions: 1, MaxBytes: 1 << 20}}), begun,
			"ensure topic more.v1", "may not publish to $JS.API.STREAM.CREATE.kemi_more_v1")
	})
	t.Run("read", func(t *testing.T) {
		// Whoever reads waits for as long as it takes; it is said in the log and in Health.
		d := open("reader")
		var log strings.Builder
		var mu sync.Mutex
		d.scope = obs.New(slog.New(slog.NewTextHandler(writer(func(p []byte) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			return log.Write(p)
		}), nil)), nil)
		f, err := d.Subscribe(t.Context(), driver.Subscription{Topic: topicThings.Name})
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		await(t, "Health to know", func() bool { return d.Health() != nil })
		wants(t, d.Health(), "may not publish to $JS.API.CONSUMER.CREATE.kemi_things_v1", "allow it to publish to $JS.API.CONSUMER.CREATE.kemi_things_v1.>")
		attempts := map[*refusal]bool{}
		await(t, "some attempts", func() bool {
			for _, r := range d.links[process].refusals.now(time.Now()) {
				attempts[r] = true
			}
			return len(attempts) > 5
		})
		mu.Lock()
		defer mu.Unlock()
		if n := strings.Count(log.String(), "nats refuses"); n != 1 {
			t.Errorf("it is said %d times:\n%s", n, log.String())
		}
	})
	t.Run("be a member", func(t *testing.T) {
		d := open("member")
		begun := time.Now()
		_, err := d.Subscribe(t.Context(), driver.Subscription{Topic: topicThings.Name, Group: "g"})
		soon(t, err, begun, "bucket kemi_groups", "may not publish to $JS.API.STREAM.INFO.KV_kemi_groups")
	})
	t.Run("hear answers", func(t *testing.T) {
		d := open("deaf")
		begun := time.Now()
		soon(t, d.Ensure(t.Context(), []driver.Topic{topicThings}), begun, "may not subscribe to _INBOX.", "allow it to subscribe to _INBOX.>")
	})
}

// Kemi needs no more than what the documentation lists, and a team that reads one topic can do that and nothing else.
func TestTheDocumentedPermissionsAreEnough(t *testing.T) {
	t.Parallel()
	s := guarded(t, may("kemi", kemiMayPublish, kemiMaySubscribe), may("team", teamMayPublish, teamMaySubscribe))
	d := dialled(t, as("kemi"), s)
	work := driver.Topic{Name: "jobs.v1", Kind: driver.Work, Partitions: 1, MaxBytes: 1 << 20}
	if err := d.Ensure(t.Context(), []driver.Topic{topicThings, topicAlerts, work}); err != nil {
		t.Fatal(err)
	}
	for _, topic := range []driver.Topic{topicThings, topicAlerts, work} {
		publish(t, d, topic.Name, "k", "v")
	}
	owner := follow(t, d, driver.Subscription{Topic: topicThings.Name, Group: "g", Writes: []string{topicAlerts.Name}})
	owner.value("v")
	fenced := []driver.Record{{Topic: topicAlerts.Name, Key: "k", Value: []byte("fenced")}}
	for p := range topicThings.Partitions {
		if p == owner.last.Partition {
			if err := d.Publish(t.Context(), fenced, &driver.Fence{Topic: topicThings.Name, Group: "g", Partition: p, Epoch: owner.last.Epoch}); err != nil {
				t.Fatal(err)
			}
		}
	}
	follow(t, d, driver.Subscription{Topic: work.Name, Group: "g"}).value("v")
	for _, topic := range []driver.Topic{topicThings, topicAlerts, work} {
		if _, err := d.Inspect(t.Context(), topic.Name); err != nil {
			t.Fatal(err)
		}
	}
	if err := owner.Close(); err != nil {
		t.Fatal(err)
	}
	if err := d.Health(); err != nil {
		t.Errorf("Kemi was refused something: %v", err)
	}

	// The team, with Kemi's own driver as kemi tail has it.
	c := as("team")
	c.InboxPrefix = "_INBOX_team"
	team := dialled(t, c, s)
	follow(t, team, driver.Subscription{Topic: topicAlerts.Name, Start: driver.Start{Snapshot: true}}).value("fenced")
	begun := time.Now()
	_, err := team.Subscribe(t.Context(), driver.Subscription{Topic: topicThings.Name})
	soon(t, err, begun, "may not publish to $JS.API.STREAM.INFO.kemi_things_v1")
	soon(t, team.Publish(t.Context(), fenced, nil), begun, "may not publish to kemi.alerts.v1")
	_, err = team.Subscribe(t.Context(), driver.Subscription{Topic: topicAlerts.Name, Group: "g"})
	soon(t, err, begun, "KV_kemi_groups")

	// The team, with nothing of ours.
	nc, err := nats.Connect(s.ClientURL(), nats.UserInfo("team", "team"), nats.CustomInboxPrefix("_INBOX_team"))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	own, err := js.CreateOrUpdateConsumer(ctx, "kemi_alerts_v1", jetstream.ConsumerConfig{Durable: "team", AckPolicy: jetstream.AckExplicitPolicy, FilterSubject: "kemi.alerts.v1.*.*"})
	if err != nil {
		t.Fatal(err)
	}
	m, err := own.Next(jetstream.FetchContext(ctx))
	if err != nil || string(m.Data()) != "v" {
		t.Fatalf("got %v, %v", m, err)
	}
	if err := m.DoubleAck(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestRefusalsAreRead(t *testing.T) {
	for text, want := range map[string]string{
		`Permissions Violation for Publish to "kemi.alerts.v1.p3.host1"`:                      "publish kemi.alerts.v1.p3.host1 kemi.alerts.v1.>",
		`Permissions Violation for Publish to "kemi.alerts.v1.=fence.g.log.p0"`:               "publish kemi.alerts.v1.=fence.g.log.p0 kemi.alerts.v1.>",
		`Permissions Violation for Subscription to "_INBOX.0123456789abcdefghijkl.*"`:         "subscribe _INBOX.0123456789abcdefghijkl.* _INBOX.>",
		`Permissions Violation for Subscription to "a.b" using queue "q" (sid "3")`:           "subscribe a.b a.b",
		`Permissions Violation for Publish with Reply of "_INBOX.0123456789abcdefghijkl.xyz"`: "publish _INBOX.0123456789abcdefghijkl.xyz _INBOX.>",
		`Permissions Violation for Publish to "$JS.API.CONSUMER.MSG.NEXT.kemi_a_v1.xyz"`:      "publish $JS.API.CONSUMER.MSG.NEXT.kemi_a_v1.xyz $JS.API.CONSUMER.MSG.NEXT.kemi_a_v1.>",
		`Permissions Violation for Publish to "$JS.API.CONSUMER.CREATE.kemi_a_v1.x.kemi.a"`:   "publish $JS.API.CONSUMER.CREATE.kemi_a_v1.x.kemi.a $JS.API.CONSUMER.CREATE.kemi_a_v1.>",
		`Permissions Violation for Publish to "$JS.ACK.kemi_a_v1.g.1.2.3.4.5"`:                "publish $JS.ACK.kemi_a_v1.g.1.2.3.4.5 $JS.ACK.kemi_a_v1.>",
		`Permissions Violation for Publish to "$KV.kemi_groups.a.b.p0"`:                       "publish $KV.kemi_groups.a.b.p0 $KV.kemi_groups.>",
		`Permissions Violation for Publish to "$JS.API.STREAM.INFO.kemi_a_v1"`:                "publish $JS.API.STREAM.INFO.kemi_a_v1 $JS.API.STREAM.INFO.kemi_a_v1",
		`Permissions Violation`: "", `Permissions Violation for Publish to ""`: "",
	} {
		r := refused(fmt.Errorf("%w: %s", nats.ErrPermissionViolation, text), time.Now())
		got := ""
		if r != nil {
			got = r.verb + " " + r.subject + " " + pattern(r.subject)
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
	if r := refused(errors.New(`Permissions Violation for Publish to "x"`), time.Now()); r != nil {
		t.Errorf("another error is taken for %v", r)
	}
}

func FuzzRefusals(f *testing.F) {
	f.Add(`Permissions Violation for Publish to "kemi.alerts.v1.p3.host1"`)
	f.Add(`permissions violation for subscription to "_INBOX.0123456789abcdefghijkl.*"`)
	f.Fuzz(func(t *testing.T, text string) {
		if r := refused(fmt.Errorf("%w: %s", nats.ErrPermissionViolation, text), time.Now()); r != nil {
			if r.subject == "" || !strings.Contains(r.Error(), r.subject) || pattern(r.subject) == "" {
				t.Fatalf("%q is read as %+v", text, r)
			}
		}
	})
}

// What a full disk does not let be done is one thing, though how full it is changes all the time.
func TestAFullDiskIsSaidOnceInAWhile(t *testing.T) {
	var text strings.Builder
	l, log := newLink(), slog.New(slog.NewTextHandler(&text, nil))
	for n := range 10 {
		l.warn(log, "look after partitions anew", fmt.Errorf("%w: %d MiB are free", driver.ErrFull, n))
	}
	if got := strings.Count(text.String(), "\n"); got != 1 {
		t.Errorf("said %d times: %s", got, text.String())
	}
}
