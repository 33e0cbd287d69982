package faults_test

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/kafka"
	"kemi.dev/kemi/bus/nats"
	"kemi.dev/kemi/internal/brokers"
)

// The only broker there is is killed under load and started again: what was acknowledged is all there, of both durabilities.
func TestIntegrationNothingAcknowledgedIsLostByAKillOfTheOnlyBroker(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: needs real brokers; make integration runs it")
	}
	for name, begin := range map[string]func(t *testing.T) (*brokers.Node, func() (driver.Driver, error)){
		"nats": func(t *testing.T) (*brokers.Node, func() (driver.Driver, error)) {
			c := brokers.NATS(t, 1)
			return c.Nodes[0], func() (driver.Driver, error) { return nats.New(nats.Config{URLs: c.URLs, Replicas: 1}, "", scope()) }
		},
		"kafka": func(t *testing.T) (*brokers.Node, func() (driver.Driver, error)) {
			c := brokers.Kafka(t, 1)
			return c.Nodes[0], func() (driver.Driver, error) {
				return kafka.New(kafka.Config{Brokers: c.Addrs, Replicas: 1}, "", scope())
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			node, open := begin(t)
			d, err := open()
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			topics := []driver.Topic{
				{Name: "process.v1", Partitions: 1, Keep: time.Hour, MaxBytes: 64 << 20}, {Name: "power.v1", Partitions: 1, Keep: time.Hour, MaxBytes: 64 << 20, Sync: true},
			}
			ready, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := d.Ensure(ready, topics); err != nil {
				t.Fatal(err)
			}
			acknowledged := make([][]string, len(topics))
			saying, stop := context.WithTimeout(t.Context(), 3*time.Second)
			defer stop()
			var all sync.WaitGroup
			for i, topic := range topics {
				all.Go(func() {
					for n := 0; saying.Err() == nil; n++ {
						r := driver.Record{Topic: topic.Name, Key: "k", Value: []byte(strconv.Itoa(n))}
						one, over := context.WithTimeout(saying, time.Second)
						if d.Publish(one, []driver.Record{r}, nil) == nil {
							acknowledged[i] = append(acknowledged[i], string(r.Value))
						}
						over()
					}
				})
			}
			kill := time.AfterFunc(1500*time.Millisecond, node.Kill)
			defer kill.Stop()
			all.Wait()
			node.Start()
			node.Ready()
			for i, topic := range topics {
				have := map[string]bool{}
				reading, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				f, err := d.Subscribe(reading, driver.Subscription{Topic: topic.Name})
				if err != nil {
					t.Fatal(err)
				}
				for caught := false; !caught; {
					ds, err := f.Next(reading)
					if err != nil {
						t.Fatal(err)
					}
					for _, x := range ds {
						have[string(x.Record.Value)] = true
						caught = caught || x.Event == driver.CaughtUp
					}
				}
				f.Close()
				lost := 0
				for _, value := range acknowledged[i] {
					if !have[value] {
						lost++
					}
				}
				said := fmt.Sprintf("%s: %d acknowledged, %d lost", topic.Name, len(acknowledged[i]), lost)
				if t.Log(said); lost > 0 || len(acknowledged[i]) == 0 {
					t.Error(said)
				}
			}
		})
	}
}
