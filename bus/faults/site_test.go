package faults_test

import (
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/history"
	"kemi.dev/kemi/bus/nats"
	"kemi.dev/kemi/internal/brokers"
	"kemi.dev/kemi/internal/obs"
)

// paths is how many members have a way to the brokers of their own, which can be cut.
const paths = 3

// direct is the way that is never cut.
const direct = -1

// site is a cluster of three nodes and the driver for it.
type site struct {
	nodes []*brokers.Node
	paths []*brokers.Path
	rules history.Rules
	// settle is longer than a quarter of the time after which the broker gives work of a lost member to another.
	settle time.Duration
	// open makes a driver of that prefix on a path.
	open func(t testing.TB, prefix string, path int) driver.Driver
	// leader is the node that leads something: n chooses what; nil when nobody does.
	leader func(prefix string, topics []driver.Topic, n int) *brokers.Node
}

// sites runs a test on every broker.
func sites(t *testing.T, run func(t *testing.T, s *site)) {
	t.Helper()
	t.Run("nats", func(t *testing.T) { run(t, natsSite(t)) })
	t.Run("kafka", func(t *testing.T) { run(t, kafkaSite(t)) })
}

// scope is silent, unless KEMI_CHAOS_LOG is set: then it says what drivers say.
func scope() obs.Scope {
	if os.Getenv("KEMI_CHAOS_LOG") == "" {
		return obs.Scope{}
	}
	return obs.New(slog.New(slog.NewTextHandler(os.Stderr, nil)), nil)
}

func natsSite(t *testing.T) *site {
	c := brokers.NATS(t, 3, brokers.NATSOptions{Paths: paths})
	return &site{
		nodes: c.Nodes, paths: c.Paths,
		rules: history.Rules{CommitDelay: 6 * time.Second, AckDelay: 2 * time.Second, UnknownDelay: time.Minute}, settle: 9 * time.Second,
		open: func(t testing.TB, prefix string, path int) driver.Driver {
			urls := c.URLs
			if path != direct {
				urls = c.Paths[path].URLs()
			}
			d, err := nats.New(nats.Config{URLs: urls, Prefix: prefix, Replicas: 3}, "", scope())
			if err != nil {
				t.Fatal(err)
			}
			return d
		},
		leader: func(prefix string, topics []driver.Topic, n int) *brokers.Node {
			switch n %= len(topics) + 2; n {
			case len(topics):
				return c.MetaLeader()
			case len(topics) + 1: // Of the leases.
				return c.Leader("KV_" + prefix + "_groups")
			}
			return c.Leader(prefix + "_" + strings.ReplaceAll(topics[n].Name, ".", "_"))
		},
	}
}
