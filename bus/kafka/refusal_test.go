package kafka

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/internal/certs"
	"kemi.dev/kemi/internal/conf"
	"kemi.dev/kemi/internal/pause"
)

// allowed is a rule by prefix.
func allowed(kind kmsg.ACLResourceType, name string, what kmsg.ACLOperation) kfake.ACL {
	return kfake.ACL{Resource: kind, Name: name, Pattern: kmsg.ACLResourcePatternTypePrefixed, Operation: what, Allow: true}
}

// What a user may not do is said by Health as long as it is asked for in vain, with what to allow: the broker answers, so
// nothing else shows it.
func TestAPermissionThatIsMissingIsSaidByHealth(t *testing.T) {
	t.Parallel()
	const topic, group, id = kmsg.ACLResourceTypeTopic, kmsg.ACLResourceTypeGroup, kmsg.ACLResourceTypeTransactionalId
	topics := []kfake.ACL{
		allowed(topic, "kemi", kmsg.ACLOperationRead), allowed(topic, "kemi", kmsg.ACLOperationDescribe), allowed(topic, "kemi", kmsg.ACLOperationDescribeConfigs),
		allowed(topic, "kemi", kmsg.ACLOperationCreate),
		{Resource: kmsg.ACLResourceTypeCluster, Name: "kafka-cluster", Operation: kmsg.ACLOperationDescribe, Allow: true},
	}
	write, groups, ids := allowed(topic, "kemi", kmsg.ACLOperationWrite), allowed(group, "kemi.", kmsg.ACLOperationRead), allowed(id, "kemi/", kmsg.ACLOperationWrite)
	rules := func(more ...kfake.ACL) []kfake.ACL { return append(append([]kfake.ACL{}, topics...), more...) }
	secret := conf.NewSecret("secret")
	broker := guarded(
		t, kfake.EnableSASL(), kfake.EnableACLs(), kfake.Superuser("PLAIN", "root", "secret"),
		kfake.User("PLAIN", "all", "secret", rules(write, groups, ids)...),
		kfake.User("PLAIN", "no-group", "secret", rules(write, ids)...),
		kfake.User("PLAIN", "no-id", "secret", rules(write, groups)...),
		kfake.User("PLAIN", "no-write", "secret", rules(groups, ids)...),
	)
	as := func(user string) *Driver {
		return dialled(t, Config{Brokers: []string{broker}, SASL: SASL{Mechanism: "plain", User: user, Password: secret}})
	}
	if err := as("root").Ensure(t.Context(), []driver.Topic{{Name: "t", Partitions: 1}, {Name: "jobs", Kind: driver.Work, Partitions: 1}}); err != nil {
		t.Fatal(err)
	}
	for user, want := range map[string]string{
		"all": "", "no-group": "Read and Describe on the groups", "no-id": "the transactional ids with Kemi's prefix", "no-write": "Write and, for topics that are missing, Create on the topics",
	} {
		t.Run(user, func(t *testing.T) {
			t.Parallel()
			d := as(user)
			if user == "no-write" {
				if err := d.Publish(t.Context(), []driver.Record{{Topic: "t", Key: "k"}}, nil); err == nil {
					t.Fatal("published without the permission")
				}
			} else {
				f, err := d.Subscribe(t.Context(), driver.Subscription{Topic: "t", Group: "g-" + user, Writes: []string{"t"}})
				if err == nil {
					defer f.Close()
				}
				if (err == nil) != (want == "") {
					t.Fatalf("subscribe: %v", err)
				}
				var told driver.Advised
				if err != nil && !errors.As(err, &told) {
					t.Errorf("no advice in %v", err)
				}
			}
			switch err := d.Health(); {
			case want == "" && err != nil:
				t.Errorf("health: %v", err)
			case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
				t.Errorf("health: %v, want %q", err, want)
			}
		})
	}
}

// A refusal is over when what was refused is done, or is not asked for any more.
func TestARefusalIsOverWhenItWorks(t *testing.T) {
	var rs refusals
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	no := fmt.Errorf("find the coordinator: %w", kafkago.GroupAuthorizationFailed)
	rs.judge("subscribe", "a", errors.New("the network"), now)
	rs.judge("subscribe", "a", kafkago.NotLeaderForPartition, now)
	if err := rs.health(now); err != nil {
		t.Errorf("what passes is a refusal: %v", err)
	}
	rs.judge("subscribe", "a", no, now)
	rs.judge("subscribe", "b", no, now.Add(time.Second))
	if err := rs.health(now.Add(time.Second)); err == nil || !strings.Contains(err.Error(), "since 2026-11-22T12:00:00Z") || !strings.Contains(err.Error(), "1 more") {
		t.Errorf("got %v", err)
	}
	rs.judge("subscribe", "a", nil, now.Add(2*time.Second))
	rs.judge("subscribe", "c", nil, now.Add(2*time.Second))
	if err := rs.health(now.Add(2 * time.Second)); err == nil || strings.Contains(err.Error(), "more are") {
		t.Errorf("got %v", err)
	}
	if err := rs.health(now.Add(2*time.Second + recent)); err != nil {
		t.Errorf("nobody asked for a minute: %v", err)
	}
}

// Why no broker is reached is known long before the first attempt to open the bus is over.
func TestHealthKnowsWhyWhileTheDriverIsStillOpening(t *testing.T) {
	t.Parallel()
	_, _, certFile, keyFile := newAuthority(t).sign(t, "server", nil)
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	plain, secure := guarded(t), guarded(t, kfake.TLS(&tls.Config{Certificates: []tls.Certificate{pair}}))
	login := guarded(t, kfake.EnableSASL(), kfake.Superuser("PLAIN", "root", "secret"))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	l.Close()
	for name, c := range map[string]struct {
		config Config
		want   string
	}{
		"nobody listens": {Config{Brokers: []string{nobody}}, "refused"},
		"tls on plain":   {Config{Brokers: []string{plain}, TLS: &certs.Client{}}, "not answered"},
		"no tls":         {Config{Brokers: []string{secure}}, "tls"},
		"no sasl":        {Config{Brokers: []string{login}}, "sasl"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := dialled(t, c.config)
			d.tuning = defaults()
			opened := make(chan struct{})
			go func() {
				defer close(opened)
				_ = d.Ensure(t.Context(), []driver.Topic{{Name: "t", Partitions: 1}})
			}()
			began := time.Now()
			for {
				err := d.Health()
				if err != nil && strings.Contains(err.Error(), "no broker answers since") && strings.Contains(strings.ToLower(err.Error()), c.want) {
					break
				}
				if time.Since(began) > 8*time.Second {
					t.Fatalf("health after 8 s: %v", err)
				}
				pause.For(t.Context(), 20*time.Millisecond)
			}
			t.Logf("after %s: %v", time.Since(began).Round(time.Millisecond), d.Health())
			d.Close()
			<-opened
		})
	}
}
