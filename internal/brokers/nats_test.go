package brokers_test

import (
	"context"
	"crypto/tls"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"kemi.dev/kemi/internal/await"
	"kemi.dev/kemi/internal/brokers"
)

func connect(t *testing.T, url string, options ...nats.Option) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(url, append(options, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// within tries until it works or the time is over; a broker that is away answers a try within two seconds, or not at all.
func within(t *testing.T, d time.Duration, what string, try func(context.Context) error) {
	t.Helper()
	await.Within(t, d, what, func(ctx context.Context) error {
		one, stop := context.WithTimeout(ctx, 2*time.Second)
		defer stop()
		return try(one)
	})
}

func TestIntegrationANATSServerKeepsItsDataThroughKillAndRestart(t *testing.T) {
	short(t)
	t.Parallel()
	c := brokers.NATS(t, 1)
	js := connect(t, c.URLs[0])
	store(t, js, 1)
	n := c.Nodes[0]
	n.Kill()
	if n.Alive() {
		t.Error("a killed node is alive")
	}
	n.Chill()
	n.Restart()
	holds(t, js, 1)
	n.Wipe()
	n.Restart()
	within(t, 10*time.Second, "the stream is gone", func(ctx context.Context) error {
		_, err := js.Stream(ctx, "S")
		if err == nil {
			t.Fatal("a wiped server still has its stream")
		}
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return nil
		}
		return err
	})
}

func store(t *testing.T, js jetstream.JetStream, replicas int) {
	t.Helper()
	within(t, 20*time.Second, "a stream is made", func(ctx context.Context) error {
		_, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}, Replicas: replicas})
		return err
	})
	within(t, 20*time.Second, "a message is stored", func(ctx context.Context) error {
		_, err := js.Publish(ctx, "s.a", []byte("hello"), jetstream.WithMsgID("1"))
		return err
	})
}

func holds(t *testing.T, js jetstream.JetStream, n uint64) {
	t.Helper()
	within(t, 20*time.Second, "the message is there", func(ctx context.Context) error {
		s, err := js.Stream(ctx, "S")
		if err != nil {
			return err
		}
		if got := s.CachedInfo().State.Msgs; got != n {
			t.Fatalf("%d messages, want %d", got, n)
		}
		return nil
	})
}

func TestIntegrationANATSClusterLosesItsLeaderAndGoesOn(t *testing.T) {
	short(t)
	t.Parallel()
	c := brokers.NATS(t, 3, brokers.NATSOptions{Paths: 1})
	js := connect(t, c.URLs[0]+","+c.URLs[1]+","+c.URLs[2])
	store(t, js, 3)
	leader := c.Leader("S")
	if leader == nil || c.MetaLeader() == nil {
		t.Fatal("nobody leads")
	}
	leader.Kill()
	holds(t, js, 1)
	within(t, 20*time.Second, "another leads", func(context.Context) error {
		if now := c.Leader("S"); now == nil || now == leader {
			return context.DeadlineExceeded
		}
		return nil
	})
	leader.Wipe()
	leader.Restart()
	within(t, 20*time.Second, "the stream is on all three again", func(ctx context.Context) error {
		s, err := js.Stream(ctx, "S")
		if err != nil {
			return err
		}
		for _, r := range s.CachedInfo().Cluster.Replicas {
			if !r.Current || r.Offline {
				return context.DeadlineExceeded
			}
		}
		return nil
	})

	// A member on a path of its own is cut off, alone.
	path := c.Paths[0]
	far := connect(t, path.URLs()[0]+","+path.URLs()[1]+","+path.URLs()[2])
	holds(t, far, 1)
	path.Drop()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := far.Stream(ctx, "S"); err == nil {
		t.Error("who was cut off reads on")
	}
	holds(t, js, 1)
	path.Heal()
	holds(t, far, 1)
}

func TestIntegrationAPausedNATSServerComesBack(t *testing.T) {
	short(t)
	t.Parallel()
	c := brokers.NATS(t, 1)
	js := connect(t, c.URLs[0])
	store(t, js, 1)
	c.Nodes[0].Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := js.Stream(ctx, "S"); err == nil || c.Nodes[0].Alive() {
		t.Error("a paused server answers")
	}
	c.Nodes[0].Resume()
	holds(t, js, 1)
}

func TestIntegrationANATSServerAsksForWhatItWasToldTo(t *testing.T) {
	short(t)
	t.Parallel()
	ca := brokers.NewCA(t)
	c := brokers.NATS(t, 1, brokers.NATSOptions{
		TLS: &brokers.TLS{CA: ca, Clients: true}, SyncAlways: true,
		Users: []brokers.NATSUser{{Name: "kemi", Password: "secret"}, {Name: "team", Password: "t", Publish: []string{"a.>"}, Subscribe: []string{"_INBOX.>"}}},
	})
	if _, err := nats.Connect(c.URLs[0], nats.RootCAs(ca.File)); err == nil {
		t.Error("nobody in particular was let in")
	}
	cert, key := ca.Issue(t, brokers.Cert{Name: "client"})
	store(t, connect(t, c.URLs[0], nats.RootCAs(ca.File), nats.ClientCert(cert, key), nats.UserInfo("kemi", "secret")), 1)
	expired, key := ca.Issue(t, brokers.Cert{Name: "client", NotAfter: time.Now().Add(-time.Hour)})
	if _, err := nats.Connect(c.URLs[0], nats.RootCAs(ca.File), nats.ClientCert(expired, key), nats.UserInfo("kemi", "secret")); err == nil {
		t.Error("an expired certificate was taken")
	}
	if _, err := nats.Connect(c.URLs[0], nats.Secure(&tls.Config{MinVersion: tls.VersionTLS12}), nats.UserInfo("kemi", "secret")); err == nil {
		t.Error("who trusts nobody connected")
	}
}

func TestIntegrationTheOldNATSServerRuns(t *testing.T) {
	short(t)
	t.Parallel()
	store(t, connect(t, brokers.OldNATS(t).URLs[0]), 1)
}

func short(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs real servers")
	}
}
