package brokers_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"

	"kemi.dev/kemi/internal/brokers"
)

func client(t *testing.T, addrs []string, transport *kafka.Transport) *kafka.Client {
	t.Helper()
	// Who leads is asked anew all the time: the client does not ask by itself when the one it knows is gone.
	transport.MetadataTTL = time.Second
	t.Cleanup(transport.CloseIdleConnections)
	return &kafka.Client{Addr: kafka.TCP(addrs...), Transport: transport, Timeout: 5 * time.Second}
}

func create(ctx context.Context, c *kafka.Client) error {
	answer, err := c.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{Topic: "s", NumPartitions: 1, ReplicationFactor: -1}}})
	if err == nil {
		err = answer.Errors["s"]
	}
	if errors.Is(err, kafka.TopicAlreadyExists) {
		return nil
	}
	return err
}

func produce(ctx context.Context, c *kafka.Client) error {
	answer, err := c.Produce(ctx, &kafka.ProduceRequest{
		Topic: "s", RequiredAcks: kafka.RequireAll, Records: kafka.NewRecordReader(kafka.Record{Value: kafka.NewBytes([]byte("hello"))}),
	})
	if err != nil {
		return err
	}
	return answer.Error
}

// stored is nil when the record is there, once at least: one whose acknowledgement was lost is produced again.
func stored(ctx context.Context, c *kafka.Client) error {
	answer, err := c.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{"s": {kafka.LastOffsetOf(0)}}})
	if err != nil {
		return err
	}
	p := answer.Topics["s"][0]
	if p.Error == nil && p.LastOffset < 1 {
		return errors.New("nothing is stored")
	}
	return p.Error
}

func does(t *testing.T, c *kafka.Client, what string, try func(context.Context, *kafka.Client) error) {
	t.Helper()
	within(t, 60*time.Second, what, func(ctx context.Context) error { return try(ctx, c) })
}

func TestIntegrationAKafkaNodeKeepsItsDataThroughKillAndRestart(t *testing.T) {
	short(t)
	k := brokers.Kafka(t, 1)
	c := client(t, k.Addrs, &kafka.Transport{})
	does(t, c, "a topic is made", create)
	does(t, c, "a record is stored", produce)
	n := k.Nodes[0]
	if got := k.Leader("s", 0); got != n {
		t.Errorf("%v leads, want the only node", got)
	}
	n.Kill()
	n.Chill()
	n.Restart()
	does(t, c, "the record is there", stored)
	n.Wipe()
	n.Restart()
	does(t, c, "a wiped node knows nothing", func(ctx context.Context, c *kafka.Client) error {
		answer, err := c.Metadata(ctx, &kafka.MetadataRequest{})
		if err == nil && len(answer.Topics) > 0 {
			err = fmt.Errorf("%d topics are there", len(answer.Topics))
		}
		return err
	})
}

func TestIntegrationAKafkaClusterLosesALeaderAndGoesOn(t *testing.T) {
	short(t)
	k := brokers.Kafka(t, 3, brokers.KafkaOptions{Paths: 1})
	c := client(t, k.Addrs, &kafka.Transport{DialTimeout: 2 * time.Second})
	does(t, c, "a topic is made", create)
	does(t, c, "a record is stored", produce)
	leader := k.Leader("s", 0)
	if leader == nil {
		t.Fatal("nobody leads")
	}
	leader.Kill()
	does(t, c, "the record is there", stored)
	within(t, 60*time.Second, "another leads", func(context.Context) error {
		if now := k.Leader("s", 0); now == nil || now == leader {
			return errors.New("the old one still does")
		}
		return nil
	})
	leader.Restart()

	path := k.Paths[0]
	far := client(t, path.Addrs(), &kafka.Transport{})
	does(t, far, "who goes along the path reads", stored)
	path.Drop()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if stored(ctx, far) == nil {
		t.Error("who was cut off reads on")
	}
	does(t, c, "the others read on", stored)
	path.Heal()
	does(t, far, "who was cut off reads again", stored)

	paused := k.Leader("s", 0)
	paused.Pause()
	within(t, 60*time.Second, "another leads for a paused one", func(context.Context) error {
		if now := k.Leader("s", 0); now == nil || now == paused {
			return errors.New("the old one still does")
		}
		return nil
	})
	paused.Resume()
	paused.Ready()
	does(t, c, "the record is still there", stored)
}

func TestIntegrationAKafkaNodeAsksForWhatItWasToldTo(t *testing.T) {
	short(t)
	ca := brokers.NewCA(t)
	trusted, own := pool(t, ca), []tls.Certificate{pair(t, ca, brokers.Cert{Name: "client"})}
	good := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: trusted, Certificates: own}
	users := map[string]string{"kemi": "secret", "team": "t"}
	known := func(mechanism, user, password string) sasl.Mechanism {
		if mechanism == "PLAIN" {
			return plain.Mechanism{Username: user, Password: password}
		}
		m, err := scram.Mechanism(scram.SHA512, user, password)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-512"} {
		t.Run(mechanism, func(t *testing.T) {
			k := brokers.Kafka(t, 1, brokers.KafkaOptions{
				TLS: &brokers.TLS{CA: ca, Clients: true}, SASL: mechanism, Users: users,
				ACLs: []kafka.ACLEntry{
					{ResourceType: kafka.ResourceTypeTopic, ResourceName: "*", ResourcePatternType: kafka.PatternTypeLiteral, Principal: "User:kemi", Host: "*", Operation: kafka.ACLOperationTypeAll, PermissionType: kafka.ACLPermissionTypeAllow},
					{ResourceType: kafka.ResourceTypeCluster, ResourceName: "kafka-cluster", ResourcePatternType: kafka.PatternTypeLiteral, Principal: "User:kemi", Host: "*", Operation: kafka.ACLOperationTypeAll, PermissionType: kafka.ACLPermissionTypeAllow},
				},
			})
			c := client(t, k.Addrs, &kafka.Transport{TLS: good, SASL: known(mechanism, "kemi", "secret")})
			does(t, c, "a topic is made", create)
			does(t, c, "a record is stored", produce)
			for what, transport := range map[string]*kafka.Transport{
				"a wrong password": {TLS: good, SASL: known(mechanism, "kemi", "wrong")},
				"a user without":   {TLS: good, SASL: known(mechanism, "team", "t")},
				"no name":          {TLS: good},
				"no certificate":   {TLS: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: trusted}, SASL: known(mechanism, "kemi", "secret")},
				"nobody to trust":  {TLS: &tls.Config{MinVersion: tls.VersionTLS12, Certificates: own}, SASL: known(mechanism, "kemi", "secret")},
				"no encryption":    {SASL: known(mechanism, "kemi", "secret")},
			} {
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				if produce(ctx, client(t, k.Addrs, transport)) == nil {
					t.Errorf("%s: a record was stored", what)
				}
				cancel()
			}
		})
	}
}
