package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"kemi.dev/kemi/bus/event"
)

// version of the contract: the first number is that of the topics (v1), the second grows when something is added that
// readers may use, the third when only words of explanation change.
const version = "1.0.0"

const about = `Kemi's topics, for those who read them. The document is written from the reader's side: what Kemi sends, the
operations receive. A topic is a stream on NATS and a topic on Kafka; which of the two carries Kemi is the site's choice.

Targets, findings, alerts, incidents, pages, commands, silences and overrides are CloudEvents 1.0 in structured JSON mode, jobs and readings are
protobuf. The same fact always has the same id, and everything may come more than once: remember the ids you have handled.
Events of one route (partitionkey) come in the order in which they were said; nothing is promised between routes.

Within v1 only optional fields, values of x-extensible-enum, new reason codes, headers and CloudEvents attributes are added:
leave alone what you do not know. Anything else is a new topic with a new version, told in the changelog, with both versions
said for a time. How to subscribe: docs/events.md.

Kemi watches itself with a target of its own, the canary, and says it like any other: leave out targets and readings of the key
kemi-canary, and findings and alerts whose data.rule is kemi:canary. Its alert is said every 10 s and always resolved; it has no
incidents and no pages.`

// generate makes the document of the repository whose top is root.
func generate(root string) ([]byte, error) {
	src, err := readSource(filepath.Join(root, "bus/event"))
	if err != nil {
		return nil, err
	}
	proto, err := os.ReadFile(filepath.Join(root, protoFile))
	if err != nil {
		return nil, fmt.Errorf("read the protobuf: %w", err)
	}
	s := &schemas{source: src, all: map[string]object{}}
	var channels, operations, messages, events object
	for _, w := range words() {
		m, err := message(w, root, string(proto), s)
		if err != nil {
			return nil, fmt.Errorf("describe %s: %w", w.name, err)
		}
		messages = append(messages, yaml.MapItem{Key: w.name, Value: m})
		if w.value != nil {
			events = append(events, yaml.MapItem{Key: w.name + "Event", Value: eventOf(w)})
		}
		for _, b := range []broker{onNATS, onKafka} {
			id := w.name + "s" + b.name
			channels = append(channels, yaml.MapItem{Key: id, Value: channel(w, b)})
			operations = append(operations, yaml.MapItem{Key: "read" + id, Value: operation(w, b, id)})
		}
	}
	all := append(object{{Key: "CloudEvent", Value: cloudEvent()}}, events...)
	for _, name := range s.names {
		all = append(all, yaml.MapItem{Key: name, Value: s.all[name]})
	}
	if s.err != nil {
		return nil, s.err
	}
	doc := obj(
		"asyncapi", "3.0.0",
		"info", obj("title", "Kemi events", "version", version, "description", about,
			"license", obj("name", "Apache-2.0", "url", "https://www.apache.org/licenses/LICENSE-2.0")),
		"defaultContentType", typeCloudEvent,
		"servers", servers(),
		"channels", channels,
		"operations", operations,
		"components", obj("messages", messages, "schemas", all),
	)
	text, err := yaml.MarshalWithOptions(doc, yaml.UseLiteralStyleIfMultiline(true), yaml.IndentSequence(true))
	if err != nil {
		return nil, fmt.Errorf("write the document: %w", err)
	}
	text = regexp.MustCompile(`(?m)[ \t]+$`).ReplaceAll(text, nil) // Of empty lines in long texts.
	return append([]byte("# Generated from the code by make generate; do not edit.\n"), text...), nil
}

func servers() object {
	server := func(protocol, port, about string) object {
		return obj("host", "{host}:"+port, "protocol", protocol, "description", about,
			"variables", obj("host", obj("default", "127.0.0.1", "description", "A server of the cluster that the site's kemi.yaml names under bus.")))
	}
	return obj(
		"nats", server("nats", "4222", "NATS 2.10 or later with JetStream. A Kemi whose server is embedded lets nobody in from outside: give it a server of its own."),
		"kafka", server("kafka", "9092", "Kafka 2.5 or later."),
	)
}

const typeCloudEvent = "application/cloudevents+json"

// cloudEvent is what every JSON event has around its data.
// Source: CloudEvents specification 1.0.2 with the partitioning extension.
func cloudEvent() object {
	attribute := func(about string, more ...any) object {
		return append(obj("description", about, "type", "string", "minLength", 1), obj(more...)...)
	}
	return obj(
		"description", "A CloudEvent. Attributes that are not named here may be there.",
		"type", "object",
		"required", []string{"specversion", "id", "source", "type", "datacontenttype", "data"},
		"properties", obj(
			"specversion", attribute("Version of the CloudEvents specification.", "const", "1.0"),
			"id", attribute("Identity of the fact, computed from what it says: who has handled an id has nothing to do when it comes again."),
			"source", attribute("The room of Kemi that said it.", "format", "uri-reference"),
			"type", attribute("What kind of event it is, with the version."),
			"subject", attribute("The key: what the event is about. Control characters are written as %XX here; not in the data."),
			"time", obj("description", "When it became true.", "type", "string", "format", "date-time"),
			"datacontenttype", attribute("Media type of the data.", "const", "application/json"),
			"partitionkey", attribute("The route: events of one route keep their order. Written as subject is."),
			"data", obj("description", "The word itself."),
		),
	)
}

// eventOf is a word in its envelope.
func eventOf(w word) object {
	return obj(
		"description", w.says,
		"allOf", []object{
			ref("schemas/CloudEvent"),
			obj("type", "object", "properties", obj(
				"type", obj("type", "string", "const", w.topic.Word),
				"source", obj("type", "string", "const", "/kemi/"+w.room),
				"data", ref("schemas/"+w.name),
			)),
		},
	)
}

// message describes the records of a topic.
func message(w word, root, proto string, s *schemas) (object, error) {
	contentType, encoding := w.topic.ContentType, any(nil)
	var payload object
	var examples any
	if w.value != nil {
		s.of(w.value)
		payload = ref("schemas/" + w.name + "Event")
		file := filepath.Join(root, "bus/event/testdata/v1", w.golden)
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read the example: %w", err)
		}
		var golden any
		if err := yaml.UnmarshalWithOptions(data, &golden, yaml.UseOrderedMap()); err != nil { // JSON is YAML.
			return nil, fmt.Errorf("read the example %s: %w", file, err)
		}
		examples = []object{obj("name", strings.TrimSuffix(w.golden, ".json"), "summary", "bus/event/testdata/v1/"+w.golden, "payload", golden)}
	} else {
		cut, err := protoOf(proto, w.proto)
		if err != nil {
			return nil, err
		}
		payload = obj("schemaFormat", "application/vnd.google.protobuf;version=3", "schema", cut)
	}
	if w.topic.Compress {
		encoding = obj("type", "string", "const", "s2", "description", "The value is one s2 block (github.com/klauspost/compress/s2). Not there when the value is as it is, which small ones are.")
	}
	var proto3 any
	if w.proto != "" {
		proto3 = obj("file", protoFile, "message", "kemi.event.v1."+w.proto, "golden", "bus/event/testdata/v1/"+w.golden)
	}
	return obj(
		"name", w.topic.Word, "title", w.name, "summary", w.says,
		"contentType", contentType,
		"headers", obj(
			"type", "object", "required", []string{"content-type", "kemi-word", "kemi-route"},
			"properties", headers(w, contentType, encoding),
		),
		"payload", payload,
		"bindings", obj("kafka", obj("key", obj("type", "string", "description", w.key), "bindingVersion", "0.5.0")),
		"examples", examples,
		"x-kemi-proto", proto3,
	), nil
}

// headers are the bus's, and those that a driver adds.
func headers(w word, contentType string, encoding any) object {
	id, quiet := "Nats-Msg-Id", any(nil)
	if w.topic.Kind == event.Latest {
		id, quiet = "Kemi-Id", obj("type", "string", "description", "On NATS: 1 on a message that removes its key; it has no body.")
	}
	const epoch = " Among events of one key, those of a lower epoch that come after a higher one were said by an owner that did not know yet that it was no longer one."
	return obj(
		"content-type", obj("type", "string", "const", contentType),
		"kemi-word", obj("type", "string", "const", w.topic.Word, "description", "What kind of event it is, for those who do not want to look into it."),
		"kemi-route", obj("type", "string", "description", "The route: events of one route keep their order. "+w.route),
		"content-encoding", encoding,
		"kemi-id", obj("type", "string", "description", "On Kafka: the identity of the event."),
		"kemi-epoch", obj("type", "string", "pattern", "^[0-9]+$", "description", "On Kafka: which ownership it was said under, by rooms that share a topic."+epoch),
		id, obj("type", "string", "description", "On NATS: the identity of the event."),
		"Kemi-Epoch", obj("type", "string", "pattern", "^[^ ]+/[0-9]+ [^ ]+ [0-9]+$", "description", "On NATS: the topic and partition owned, the group, and the epoch of the ownership it was said under."+epoch),
		"Kemi-Removed", quiet,
	)
}

// duration writes whole days as days.
func duration(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d == 0:
		return "for ever"
	case d%day == 0:
		return fmt.Sprintf("%d days", d/day)
	case d == time.Hour:
		return "an hour"
	}
	return fmt.Sprintf("%d hours", d/time.Hour)
}
