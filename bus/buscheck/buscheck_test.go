package buscheck_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"kemi.dev/kemi/bus/buscheck"
	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/kafka"
	"kemi.dev/kemi/bus/mem"
	"kemi.dev/kemi/bus/nats"
	"kemi.dev/kemi/internal/brokers"
	"kemi.dev/kemi/internal/obs"
)

func TestTheBusOverMemory(t *testing.T) {
	t.Parallel()
	buscheck.Run(t, func(t *testing.T) buscheck.Harness {
		broker := mem.New()
		t.Cleanup(func() { broker.Close() })
		return buscheck.Harness{Open: func() driver.Driver { return broker.Open() }}
	})
}

func TestTheBusOverNATS(t *testing.T) {
	t.Parallel()
	buscheck.Run(t, func(t *testing.T) buscheck.Harness {
		d, err := nats.New(nats.Config{Embedded: true}, t.TempDir(), obs.Scope{})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { d.Close() })
		// Embedded servers have one driver: another bus is over the same one, and closes nothing.
		return buscheck.Harness{Open: func() driver.Driver { return shared{d} }}
	})
}

func TestTheBusOverKafka(t *testing.T) {
	t.Parallel()
	buscheck.Run(t, func(t *testing.T) buscheck.Harness {
		c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.BrokerConfigs(map[string]string{"group.initial.rebalance.delay.ms": "0"}))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return buscheck.Harness{Open: func() driver.Driver {
			d, err := kafka.New(kafka.Config{Brokers: c.ListenAddrs()}, "", obs.Scope{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { d.Close() })
			return d
		}}
	})
}

// A real broker has transactions, groups and clean-up that a false one has only by name: the same clauses, each under a
// prefix of its own.
func TestIntegrationTheBusOverRealKafka(t *testing.T) {
	if testing.Short() {
		t.Skip("starts Kafka")
	}
	cluster := brokers.Kafka(t, 1)
	var clauses atomic.Int64
	// All clauses at once make more than a hundred topics: two at a time spare the broker.
	turn := make(chan struct{}, 2)
	buscheck.Run(t, func(t *testing.T) buscheck.Harness {
		turn <- struct{}{}
		t.Cleanup(func() { <-turn })
		prefix := fmt.Sprint("check", clauses.Add(1))
		return buscheck.Harness{Patience: 2 * time.Minute, Open: func() driver.Driver {
			d, err := kafka.New(kafka.Config{Brokers: cluster.Addrs, Prefix: prefix}, "", obs.Scope{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { d.Close() })
			return d
		}}
	})
}

// shared is a driver that stays open.
type shared struct{ driver.Driver }

func (shared) Close() error { return nil }
