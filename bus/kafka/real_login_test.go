package kafka

import (
	"context"
	"crypto/pbkdf2"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl/plain"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/internal/brokers"
	"kemi.dev/kemi/internal/certs"
	"kemi.dev/kemi/internal/conf"
)

// permission is a line of the table in docs/operating.md.
type permission struct {
	resource   kafkago.ResourceType
	name       string // Appended to the prefix, but for the cluster.
	operations []kafkago.ACLOperationType
}

var permissions = map[string]permission{
	"topics":       {kafkago.ResourceTypeTopic, "", []kafkago.ACLOperationType{kafkago.ACLOperationTypeRead, kafkago.ACLOperationTypeWrite, kafkago.ACLOperationTypeCreate, kafkago.ACLOperationTypeDescribeConfigs}},
	"groups":       {kafkago.ResourceTypeGroup, ".", []kafkago.ACLOperationType{kafkago.ACLOperationTypeRead}},
	"transactions": {kafkago.ResourceTypeTransactionalID, "/", []kafkago.ACLOperationType{kafkago.ACLOperationTypeWrite}},
	"cluster":      {kafkago.ResourceTypeCluster, "kafka-cluster", []kafkago.ACLOperationType{kafkago.ACLOperationTypeDescribe}},
}

// allow is all permissions of a user, whose topics begin with its name, without some.
func allow(user string, without ...string) []kafkago.ACLEntry {
	var out []kafkago.ACLEntry
	for name, p := range permissions {
		for _, o := range p.operations {
			e := kafkago.ACLEntry{
				ResourceType: p.resource, ResourceName: user + p.name, ResourcePatternType: kafkago.PatternTypePrefixed,
				Principal: "User:" + user, Host: "*", Operation: o, PermissionType: kafkago.ACLPermissionTypeAllow,
			}
			if p.resource == kafkago.ResourceTypeCluster {
				e.ResourceName, e.ResourcePatternType = p.name, kafkago.PatternTypeLiteral
			}
			wanted := true
			for _, w := range without {
				wanted = wanted && w != name && w != fmt.Sprint(name, ":", o)
			}
			if wanted {
				out = append(out, e)
			}
		}
	}
	return out
}

// day does what Kemi does with a broker.
func day(ctx context.Context, d *Driver, group string) error {
	in, out := driver.Topic{Name: "in", Partitions: 1}, driver.Topic{Name: "out", Partitions: 1, MaxBytes: 1 << 20}
	work := driver.Topic{Name: "work", Kind: driver.Work, Partitions: 1}
	if err := d.Ensure(ctx, []driver.Topic{in, out, work}); err != nil {
		return err
	}
	if err := d.Publish(ctx, []driver.Record{{Topic: in.Name, Key: "k"}, {Topic: out.Name, Key: "k"}, {Topic: work.Name, Key: "k"}}, nil); err != nil {
		return err
	}
	for _, s := range []driver.Subscription{{Topic: in.Name}, {Topic: in.Name, Group: group, Writes: []string{out.Name}}, {Topic: work.Name, Group: group}} {
		f, err := d.Subscribe(ctx, s)
		if err != nil {
			return err
		}
		for done := false; !done; {
			got, err := f.Next(ctx)
			if err != nil {
				return err
			}
			for _, x := range got {
				if x.Event != driver.Data {
					continue
				}
				done = true
				if s.Writes != nil {
					err = d.Publish(ctx, []driver.Record{{Topic: out.Name, Key: "k"}}, &driver.Fence{Topic: in.Name, Group: group, Epoch: x.Epoch})
				}
				if s.Group != "" {
					err = errors.Join(err, f.Ack(ctx, x))
				}
				if err != nil {
					return err
				}
			}
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	_, err := d.Inspect(ctx, in.Name)
	return err
}

// A Kafka that asks for everything there is: a certificate, a name, and leave to do what is done.
func TestIntegrationRealKafkaRefusesInWords(t *testing.T) {
	if testing.Short() {
		t.Skip("starts Kafka")
	}
	ca, other := brokers.NewCA(t), brokers.NewCA(t)
	config := map[string]string{
		"super.users": "User:ANONYMOUS;User:admin",
		"listener.name.client.sasl.enabled.mechanisms":                   "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
		"listener.name.client.scram-sha-256.sasl.jaas.config":            "org.apache.kafka.common.security.scram.ScramLoginModule required;",
		"listener.name.client.plain.sasl.jaas.config":                    `org.apache.kafka.common.security.plain.PlainLoginModule required user_kemi="secret" user_admin="secret";`,
		"listener.name.client.connection.failed.authentication.delay.ms": "100",
	}
	for i, c := range []brokers.Cert{{Name: "old", NotAfter: time.Now().Add(-time.Hour)}, {Name: "elsewhere", Hosts: []string{"elsewhere.example"}}} {
		cert, key := ca.Issue(t, c)
		for name, file := range map[string]string{"certificate.chain": cert, "key": key} {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			config[fmt.Sprintf("listener.name.path%d.ssl.keystore.%s", i, name)] = string(text)
		}
	}
	users := map[string]string{"kemi": "secret"}
	acls := allow("kemi")
	lacks := map[string]string{ // What a user lacks, and what is to be said of it.
		"topics": "on the topics with", "topics:" + fmt.Sprint(kafkago.ACLOperationTypeRead): "on the topics with", "topics:" + fmt.Sprint(kafkago.ACLOperationTypeWrite): "on the topics with",
		"topics:" + fmt.Sprint(kafkago.ACLOperationTypeCreate): "on the topics with", "topics:" + fmt.Sprint(kafkago.ACLOperationTypeDescribeConfigs): "on the topics with",
		"groups": "on the groups with", "transactions": "on the transactional ids with", "cluster": "",
	}
	userOf := func(lack string) string { return "no-" + strings.ReplaceAll(lack, ":", "-") }
	for lack := range lacks {
		users[userOf(lack)] = "secret"
		acls = append(acls, allow(userOf(lack), lack)...)
	}
	cluster := brokers.Kafka(t, 1, brokers.KafkaOptions{TLS: &brokers.TLS{CA: ca, Clients: true}, SASL: "SCRAM-SHA-512", Users: users, ACLs: acls, Paths: 2, Config: config})
	cert, key := ca.Issue(t, brokers.Cert{Name: "client"})
	strangeCert, strangeKey := other.Issue(t, brokers.Cert{Name: "client"})
	secure := &certs.Client{CAFile: ca.File, CertFile: cert, KeyFile: key}
	as := func(mechanism, user, password string) SASL {
		return SASL{Mechanism: mechanism, User: user, Password: conf.NewSecret(password)}
	}
	right := as("scram-sha-512", "kemi", "secret")
	addSmall(t, cluster.Addrs, secure)

	type attempt struct {
		config Config
		want   string
	}
	attempts := map[string]attempt{
		"scram-sha-512":                    {Config{TLS: secure, SASL: right}, ""},
		"scram-sha-256":                    {Config{TLS: secure, SASL: as("scram-sha-256", "kemi", "secret")}, ""},
		"plain":                            {Config{TLS: secure, SASL: as("plain", "kemi", "secret")}, ""},
		"wrong password, scram-sha-512":    {Config{TLS: secure, SASL: as("scram-sha-512", "kemi", "mistaken")}, "sasl.password"},
		"wrong password, scram-sha-256":    {Config{TLS: secure, SASL: as("scram-sha-256", "kemi", "mistaken")}, "sasl.password"},
		"wrong password, plain":            {Config{TLS: secure, SASL: as("plain", "kemi", "mistaken")}, "sasl.password"},
		"no such user":                     {Config{TLS: secure, SASL: as("plain", "nobody", "secret")}, "sasl.user"},
		"unknown authority":                {Config{TLS: &certs.Client{CAFile: other.File, CertFile: cert, KeyFile: key}, SASL: right}, "tls.ca_file"},
		"no client certificate":            {Config{TLS: &certs.Client{CAFile: ca.File}, SASL: right}, "tls.cert_file"},
		"a stranger's certificate":         {Config{TLS: &certs.Client{CAFile: ca.File, CertFile: strangeCert, KeyFile: strangeKey}, SASL: right}, "tls.cert_file"},
		"the broker's has expired":         {Config{Brokers: cluster.Paths[0].Addrs(), TLS: secure, SASL: right}, "has expired"},
		"the broker's is for another host": {Config{Brokers: cluster.Paths[1].Addrs(), TLS: secure, SASL: right}, "tls.server_name"},
		"another mechanism":                {Config{Brokers: cluster.Paths[1].Addrs(), TLS: &certs.Client{CAFile: ca.File, CertFile: cert, KeyFile: key, ServerName: "elsewhere.example"}, SASL: as("plain", "kemi", "secret")}, "sasl.mechanism"},
	}
	for lack, want := range lacks {
		attempts["without "+lack] = attempt{Config{TLS: secure, SASL: as("scram-sha-512", userOf(lack), "secret"), Prefix: userOf(lack)}, want}
	}
	for name, a := range attempts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if a.config.Brokers == nil {
				a.config.Brokers = cluster.Addrs
			}
			d := dialled(t, a.config)
			d.tuning.lease = 3 * time.Second
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			begin := time.Now()
			err := day(ctx, d, strings.ReplaceAll(name, " ", "-"))
			switch {
			case a.want == "" && err != nil:
				t.Error(err)
			case a.want != "" && (err == nil || !strings.Contains(err.Error(), a.want) || strings.Contains(err.Error(), "mistaken")):
				t.Errorf("got %v, want %q", err, a.want)
			case errors.Is(err, driver.ErrAway) || ctx.Err() != nil:
				t.Errorf("a broker that refuses is waited for: %v", err)
			default:
				t.Logf("after %s: %v", time.Since(begin).Round(time.Millisecond), err)
			}
		})
	}
}

// addSmall lets the user kemi in by SCRAM-SHA-256, too.
func addSmall(t *testing.T, addrs []string, secure *certs.Client) {
	t.Helper()
	encrypted, err := secure.TLS()
	if err != nil {
		t.Fatal(err)
	}
	transport := &kafkago.Transport{TLS: encrypted, SASL: plain.Mechanism{Username: "admin", Password: "secret"}}
	defer transport.CloseIdleConnections()
	client := &kafkago.Client{Addr: kafkago.TCP(addrs...), Transport: transport, Timeout: 10 * time.Second}
	salt := []byte("salt of a test")
	salted, err := pbkdf2.Key(sha256.New, "secret", salt, 4096, sha256.Size)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client.AlterUserScramCredentials(t.Context(), &kafkago.AlterUserScramCredentialsRequest{
		Upsertions: []kafkago.UserScramCredentialsUpsertion{{Name: "kemi", Mechanism: kafkago.ScramMechanismSha256, Iterations: 4096, Salt: salt, SaltedPassword: salted}},
	})
	if err == nil {
		for _, r := range answer.Results {
			err = errors.Join(err, r.Error)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A broker over TLS that was killed and started again has all handshakes of a whole Kemi to do at once, and gets done with them.
func TestIntegrationABusOverTLSGoesOnAfterAKillOfTheBroker(t *testing.T) {
	if testing.Short() {
		t.Skip("starts Kafka")
	}
	ca := brokers.NewCA(t)
	cluster := brokers.Kafka(t, 1, brokers.KafkaOptions{TLS: &brokers.TLS{CA: ca}, SASL: "PLAIN", Users: map[string]string{"kemi": "secret"}})
	d, dials, goesOn := busy(t, Config{
		Brokers: cluster.Addrs, TLS: &certs.Client{CAFile: ca.File},
		SASL: SASL{Mechanism: "plain", User: "kemi", Password: conf.NewSecret("secret")},
	})
	for range 2 {
		cluster.Nodes[0].Kill()
		before := dials.Load()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		writers(ctx, d)()
		cancel()
		if n := dials.Load() - before; n > 40 {
			t.Errorf("%d dials in 10 s", n)
		}
		cluster.Nodes[0].Start()
		cluster.Nodes[0].Ready()
		begin, before := time.Now(), dials.Load()
		if err := d.Publish(t.Context(), []driver.Record{{Topic: "t0", Key: "k"}}, nil); err != nil {
			t.Fatal(err)
		}
		t.Logf("the first record %s after the broker was ready", time.Since(begin).Round(time.Millisecond))
		goesOn()
		t.Logf("all go on after %s and %d dials", time.Since(begin).Round(time.Millisecond), dials.Load()-before)
		if d.Health() != nil {
			t.Error(d.Health())
		}
	}
}
