package main

import (
	"fmt"
	"strings"

	"kemi.dev/kemi/bus/event"
)

// broker is one of the two ways to a topic.
type broker struct {
	name, server string
	// address of a topic, with parameters.
	address func(topic string) string
	// also are sentences that hold for every topic there.
	also func(t event.Topic) string
}

var (
	onNATS = broker{
		name: "NATS", server: "nats",
		address: func(topic string) string { return "{prefix}." + topic + ".p{partition}.{key}" },
		also: func(t event.Topic) string {
			s := "Kept in the stream `" + streamOf(t) + "` (here with the prefix kemi). Records under longer subjects of the stream are Kemi's own and no events: filter by the address with * for partition and key."
			if t.Kind == event.Latest {
				s += " A message with the header Kemi-Removed and no body removes its key."
			}
			return s
		},
	}
	onKafka = broker{
		name: "Kafka", server: "kafka",
		address: func(topic string) string { return "{prefix}." + topic },
		also: func(t event.Topic) string {
			s := "Read with isolation.level read_committed."
			if t.Kind == event.Latest {
				s += " A record without a value removes its key."
			}
			return s
		},
	}
)

// streamOf is the NATS stream of a topic, with the default prefix.
func streamOf(t event.Topic) string { return "kemi_" + strings.ReplaceAll(t.Name, ".", "_") }

var kinds = map[event.Kind]string{event.Log: "log", event.Latest: "keep-latest", event.Work: "shared work"}

var durabilities = map[event.Durability]string{event.Process: "process", event.Power: "power"}

// workPartitions is how many partitions bus/kafka gives a topic of shared work at least; a test compares it with a broker.
const workPartitions = 16

// channel describes a topic on a broker.
func channel(w word, b broker) object {
	t := w.topic
	parameters := obj("prefix", obj("default", "kemi", "description", "The prefix of the installation: bus."+b.server+".prefix in its kemi.yaml."))
	if strings.Contains(t.Name, "{zone}") {
		parameters = append(parameters, obj("zone", obj("default", event.DefaultZone, "description", "The zone whose pollers take the jobs."))...)
	}
	if b.server == onNATS.server {
		parameters = append(parameters, obj(
			"partition", obj("description", fmt.Sprintf("0 to %d: murmur2 of the route, as Kafka's Java clients compute it, modulo %d. Subscribe to all with *.", t.Partitions-1, t.Partitions)),
			"key", obj("description", w.key+" Letters, digits, - and _ stand for themselves, any other byte is = and two hexadecimal digits."),
		)...)
	}
	full := "refuses; nothing is dropped"
	if t.DropOldest {
		full = "forgets the oldest"
	}
	bindings := obj("nats", object{})
	if b.server == onKafka.server {
		partitions := t.Partitions
		if t.Kind == event.Work {
			partitions = max(partitions, workPartitions)
		}
		bindings = obj("kafka", obj("topic", "kemi."+t.Name, "partitions", partitions, "topicConfiguration", configuration(t), "bindingVersion", "0.5.0"))
	}
	return obj(
		"address", b.address(t.Name),
		"title", w.name+"s on "+b.name,
		"summary", w.says,
		"description", strings.TrimSpace(describe(w)+" "+b.also(t)),
		"servers", []object{obj("$ref", "#/servers/"+b.server)},
		"parameters", parameters,
		"messages", obj(w.name, ref("messages/"+w.name)),
		"bindings", bindings,
		"x-kemi-topic", obj(
			"name", t.Name, "kind", kinds[t.Kind], "partitions", t.Partitions, "key", w.keyAt, "route", w.routeAt,
			"keepSeconds", int64(t.Keep.Seconds()), "maxBytes", t.MaxBytes, "whenFull", full, "durability", durabilities[t.Durability],
		),
	)
}

// describe says in sentences how a topic is kept.
func describe(w word) string {
	t := w.topic
	switch {
	case t.Kind == event.Latest && t.Keep == 0:
		return "The newest event of each key is kept for ever, older ones for a while at most: read it from the beginning to know everything there is."
	case t.Kind == event.Latest:
		return "Kept for " + duration(t.Keep) + "; of each key the newest events, the last of them for at least as long."
	case t.Kind == event.Work:
		return "Kept for " + duration(t.Keep) + fmt.Sprintf(", less when there is more than %d MiB", t.MaxBytes>>20) + ", whether a poller took them or not: a consumer of your own reads them all and takes nothing away. Only the pollers' own group, collector, is not to be joined: what another takes there is not polled."
	}
	return "Kept for " + duration(t.Keep) + ", less when there is more than " + fmt.Sprintf("%d MiB.", t.MaxBytes>>20)
}

// configuration is the topic's on Kafka.
func configuration(t event.Topic) object {
	policy, keep := []string{"delete"}, int64(-1)
	if t.Kind == event.Latest {
		policy = []string{"compact"}
	}
	if t.Keep > 0 {
		keep = t.Keep.Milliseconds()
		if t.Kind == event.Latest {
			policy = []string{"compact", "delete"}
		}
	}
	return obj("cleanup.policy", policy, "retention.ms", keep)
}

// operation is what a reader does.
func operation(w word, b broker, channel string) object {
	bindings := any(nil)
	if b.server == onKafka.server {
		bindings = obj("kafka", obj("groupId", obj("type", "string", "description", "A name of your own, such as your team's; those that begin with kemi are Kemi's."), "bindingVersion", "0.5.0"))
	}
	return obj(
		"action", "receive", "title", "Read "+w.name+"s on "+b.name, "channel", obj("$ref", "#/channels/"+channel),
		"messages", []object{obj("$ref", "#/channels/"+channel+"/messages/"+w.name)},
		"bindings", bindings,
	)
}
