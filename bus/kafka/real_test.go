package kafka

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"kemi.dev/kemi/bus/bustest"
	"kemi.dev/kemi/internal/brokers"
)

// keeps holds a cluster to the clauses whose names have one of the words in them, no words are all; and then, for the others
// do not expect that, to the one that restarts brokers.
func keeps(t *testing.T, cluster *brokers.KafkaCluster, restart func(), words ...string) {
	var clauses atomic.Int64
	in := func(restart func()) func(*testing.T) bustest.Harness {
		return func(t *testing.T) bustest.Harness {
			h := harness(t, Config{Brokers: cluster.Addrs, Prefix: fmt.Sprint("clause", clauses.Add(1))}, restart)
			h.Quiet = 500 * time.Millisecond
			return h
		}
	}
	t.Run("while it runs", func(t *testing.T) { bustest.Run(t, in(nil), words...) })
	t.Run("while it is restarted", func(t *testing.T) { bustest.Run(t, in(restart), "survive a restart") })
}

func TestIntegrationRealKafkaKeepsTheContract(t *testing.T) {
	if testing.Short() {
		t.Skip("starts Kafka")
	}
	cluster := brokers.Kafka(t, 1)
	keeps(t, cluster, cluster.Nodes[0].Restart)
}

// Of three nodes the clauses are held that could come out otherwise than of one: each partition, group and transaction
// has its own node, every record waits for a second replica, a topic is made at once and known later, and what a topic
// holds is added up from all. In the end the nodes are killed one after the other, each with what it leads and looks after.
func TestIntegrationRealKafkaKeepsTheContractOnThreeNodes(t *testing.T) {
	if testing.Short() {
		t.Skip("starts Kafka")
	}
	cluster := brokers.Kafka(t, 3)
	killed := 0
	keeps(
		t, cluster, func() {
			cluster.Nodes[killed%3].Restart()
			killed++
		},
		"Ensure", "stored before Publish", "of one call", "of one key", "knows its size", "full topic refuses", "large records pass",
		"hand-over", "lost", "fence", "whether the epoch", "one member writes", "whole run", "done once", "taken while keys change",
		"reopen", "is away", "how its broker is",
	)
}
