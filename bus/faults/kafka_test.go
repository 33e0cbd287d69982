package faults_test

import (
	"testing"
	"time"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/history"
	"kemi.dev/kemi/bus/kafka"
	"kemi.dev/kemi/internal/brokers"
)

func kafkaSite(t *testing.T) *site {
	c := brokers.Kafka(t, 3, brokers.KafkaOptions{Paths: paths})
	return &site{
		nodes: c.Nodes, paths: c.Paths,
		rules: history.Rules{CommitDelay: 6 * time.Second, AckDelay: 6 * time.Second, UnknownDelay: time.Minute}, settle: 3 * time.Second,
		open: func(t testing.TB, prefix string, path int) driver.Driver {
			addrs := c.Addrs
			if path != direct {
				addrs = c.Paths[path].Addrs()
			}
			d, err := kafka.New(kafka.Config{Brokers: addrs, Prefix: prefix}, "", scope())
			if err != nil {
				t.Fatal(err)
			}
			return d
		},
		leader: func(prefix string, topics []driver.Topic, n int) *brokers.Node {
			switch n %= len(topics) + 2; n {
			case len(topics):
				return c.Leader("__consumer_offsets", n%4)
			case len(topics) + 1:
				return c.Leader("__transaction_state", n%4)
			}
			return c.Leader(prefix+"."+topics[n].Name, 0)
		},
	}
}
