package main

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	kafkago "github.com/segmentio/kafka-go"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/bus/kafka"
	"kemi.dev/kemi/docs"
	"kemi.dev/kemi/internal/brokers"
	"kemi.dev/kemi/internal/judge"
	"kemi.dev/kemi/internal/netns"
	"kemi.dev/kemi/internal/obs"
)

// record is what kcat -J writes.
type record struct {
	Topic     string
	Partition int
	Headers   []string // Names and values in turn.
	Key       string
	Payload   *string
}

// Strangers follow docs/events.md and read every topic of CloudEvents from Kafka, with kcat.
func TestIntegrationStrangersReadFromKafka(t *testing.T) {
	if testing.Short() {
		t.Skip("runs Kafka and Node")
	}
	if _, err := exec.LookPath("kcat"); err != nil {
		netns.Missing(t, "kcat (Debian package kcat)")
	}
	j := judge.New(t, top)
	cluster := brokers.Kafka(t, 1)
	d, err := kafka.New(kafka.Config{Brokers: cluster.Addrs}, "", obs.Scope{})
	if err != nil {
		t.Fatal(err)
	}
	said := publishAll(t, d)
	all, group, plain := command(t, "kcat", "-o beginning", "-J"), command(t, "kcat", "-G network"), command(t, "kcat", `-f '%s\n'`)
	var records []judge.Record
	for _, w := range cloudEvents() {
		here := []string{"kafka.example:9092", cluster.Addrs[0], "kemi.alerts.v1", addressOf(t, w.name+"sKafka")}
		out, errs, err := shell(t, all, here...)
		if err != nil {
			t.Fatalf("%s: %v\n%s", w.topic.Name, err, errs)
		}
		var saw []seen
		for i, r := range lines[record](t, out) {
			s := seen{Record: judge.Record{Name: nameOf(i, w), Binding: "kafka", Headers: map[string]string{}}, partition: r.Partition, key: r.Key, removed: r.Payload == nil}
			for h := range slices.Chunk(r.Headers, 2) {
				s.Headers[h[0]] = h[1]
			}
			if !s.removed {
				s.Value = *r.Payload
				if !strings.Contains(s.Value, `"id":"`+s.Headers["kemi-id"]+`"`) {
					t.Errorf("%s: the header says that it is %q", s.Name, s.Headers["kemi-id"])
				}
			}
			saw = append(saw, s)
		}
		records = append(records, check(t, w.topic, said[w.topic.Name], saw, false)...)
		if w.topic.Name == "alerts.v1" {
			removal(t, saw)
		}

		// The same as a group, which then has read everything; and the events alone.
		for want, read := range []int{len(saw), 0} {
			out, errs, err = shell(t, group, here...)
			if n := len(lines[record](t, out)); err != nil || n != read {
				t.Errorf("%s: reading %d as a group gave %d, want %d: %v\n%s", w.topic.Name, want+1, n, read, err, errs)
			}
		}
		out, errs, err = shell(t, plain, here...)
		if n := strings.Count(string(out), "\n"); err != nil || n != len(saw) {
			t.Errorf("%s: %d lines of events, want %d: %v\n%s", w.topic.Name, n, len(saw), err, errs)
		}
	}
	judged(t, j, records)
	asDocumented(t, cluster.Addrs[0])
}

// asDocumented compares every topic of a broker with what the document says of it.
func asDocumented(t *testing.T, addr string) {
	t.Helper()
	var doc struct {
		Channels map[string]struct {
			Bindings struct {
				Kafka *struct {
					Topic      string
					Partitions int
					Config     map[string]any `yaml:"topicConfiguration"`
				}
			}
		}
	}
	if err := yaml.Unmarshal([]byte(docs.EventsAsyncAPI), &doc); err != nil {
		t.Fatal(err)
	}
	client := &kafkago.Client{Addr: kafkago.TCP(addr)}
	n := 0
	for id, c := range doc.Channels {
		k := c.Bindings.Kafka
		if k == nil {
			continue
		}
		n++
		name := strings.ReplaceAll(k.Topic, "{zone}", event.DefaultZone)
		meta, err := client.Metadata(t.Context(), &kafkago.MetadataRequest{Topics: []string{name}})
		if err != nil {
			t.Fatal(err)
		}
		if got := len(meta.Topics[0].Partitions); got != k.Partitions {
			t.Errorf("%s: the broker has %d partitions, the document says %d", id, got, k.Partitions)
		}
		answer, err := client.DescribeConfigs(t.Context(), &kafkago.DescribeConfigsRequest{
			Resources: []kafkago.DescribeConfigRequestResource{{ResourceType: kafkago.ResourceTypeTopic, ResourceName: name}},
		})
		if err != nil || len(answer.Resources) != 1 {
			t.Fatalf("%s: %v", name, err)
		}
		have := map[string]string{}
		for _, e := range answer.Resources[0].ConfigEntries {
			have[e.ConfigName] = e.ConfigValue
		}
		for name, want := range k.Config {
			text := strings.ReplaceAll(strings.Trim(fmt.Sprint(want), "[]"), " ", ",")
			if have[name] != text {
				t.Errorf("%s: the broker has %s=%s, the document says %s", id, name, have[name], text)
			}
		}
	}
	if n != len(words()) {
		t.Errorf("%d topics were compared, want %d", n, len(words()))
	}
}
