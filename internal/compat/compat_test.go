package compat_test

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"kemi.dev/kemi/internal/compat"
)

// copied makes a document that can be changed.
func copied(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, e := range v {
			m[k] = copied(e)
		}
		return m
	case []any:
		s := make([]any, len(v))
		for i, e := range v {
			s[i] = copied(e)
		}
		return s
	}
	return v
}

// document parses the real one.
func document(t *testing.T) map[string]any {
	t.Helper()
	text, err := os.ReadFile("../../docs/events.asyncapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := yaml.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// at walks to the mapping at a path.
func at(t *testing.T, doc map[string]any, path string) map[string]any {
	t.Helper()
	for _, name := range strings.Split(path, "/") {
		next, ok := doc[name].(map[string]any)
		if !ok {
			t.Fatalf("the document has no %s of %s", name, path)
		}
		doc = next
	}
	return doc
}

const (
	alert    = "components/schemas/Alert"
	fields   = alert + "/properties"
	envelope = "components/schemas/CloudEvent"
	kafka    = "channels/AlertsKafka"
	message  = "components/messages/Alert"
)

type edits map[string]func(t *testing.T, doc map[string]any)

func without(list any, text string) []any {
	return slices.DeleteFunc(slices.Clone(list.([]any)), func(e any) bool { return e == text })
}

func set(path, key string, v any) func(*testing.T, map[string]any) {
	return func(t *testing.T, doc map[string]any) { at(t, doc, path)[key] = v }
}

func remove(path, key string) func(*testing.T, map[string]any) {
	return func(t *testing.T, doc map[string]any) {
		m := at(t, doc, path)
		if _, there := m[key]; !there {
			t.Fatalf("%s has no %s", path, key)
		}
		delete(m, key)
	}
}

func add(path, key string, v any) func(*testing.T, map[string]any) {
	return func(t *testing.T, doc map[string]any) {
		m := at(t, doc, path)
		m[key] = append(slices.Clone(m[key].([]any)), v)
	}
}

func TestWhatBreaksAReaderIsRefused(t *testing.T) {
	before := document(t)
	for name, edit := range (edits{
		"a field is gone": remove(fields, "team"),
		"a field is renamed": func(t *testing.T, doc map[string]any) {
			remove(fields, "team")(t, doc)
			set(fields, "crew", map[string]any{"type": "string"})(t, doc)
		},
		"a field is of another type": set(fields+"/value", "type", "string"),
		"a number is a whole one":    set(fields+"/value", "type", "integer"),
		"a time is any text":         remove(fields+"/starts_at", "format"),
		"a text is a list":           set(fields, "name", map[string]any{"type": "array", "items": map[string]any{"type": "string"}}),
		"anything is something":      set("components/schemas/Check/properties/spec", "type", "object"),
		"what was always there may be missing": func(t *testing.T, doc map[string]any) {
			m := at(t, doc, alert)
			m["required"] = without(m["required"], "rule")
		},
		"what might be missing has to be there": add(alert, "required", "team"),
		"a new field has to be there": func(t *testing.T, doc map[string]any) {
			set(fields, "mood", map[string]any{"type": "string"})(t, doc)
			add(alert, "required", "mood")(t, doc)
		},
		"nothing is required":       remove(alert, "required"),
		"no other fields are taken": set(alert, "additionalProperties", false),
		"a label is a number":       set(fields+"/labels/additionalProperties", "type", "number"),
		"a closed set grows":        add("components/schemas/AlertState", "enum", "sleeping"),
		"a closed set shrinks": func(t *testing.T, doc map[string]any) {
			m := at(t, doc, "components/schemas/AlertState")
			m["enum"] = without(m["enum"], "resolved")
		},
		"a closed set is open": func(t *testing.T, doc map[string]any) {
			m := at(t, doc, "components/schemas/AlertState")
			m["x-extensible-enum"] = m["enum"]
			delete(m, "enum")
		},
		"an open set shrinks": func(t *testing.T, doc map[string]any) {
			m := at(t, doc, "components/schemas/PageKind")
			m["x-extensible-enum"] = without(m["x-extensible-enum"], "update")
		},
		"an open set is closed": func(t *testing.T, doc map[string]any) {
			m := at(t, doc, "components/schemas/PageKind")
			m["enum"] = m["x-extensible-enum"]
			delete(m, "x-extensible-enum")
		},
		"an open set is any text":          remove("components/schemas/PageKind", "x-extensible-enum"),
		"any text is one of a few":         set(fields+"/severity", "enum", []any{"critical"}),
		"a text has a pattern":             set(fields+"/name", "pattern", "^[a-z]+$"),
		"a text has a limit":               set(fields+"/name", "maxLength", 20),
		"a field refers to another schema": set(fields, "reason", map[string]any{"$ref": "#/components/schemas/Check"}),
		"a schema is gone":                 remove("components/schemas", "Reason"),
		"a deep field is gone":             remove("components/schemas/SuppressedAlert/properties", "class"),
		"an item of a list differs":        set("components/schemas/Incident/properties/told/items", "type", "integer"),
		"an unknown keyword narrows":       set(fields+"/name", "not", map[string]any{"const": "x"}),
		"the envelope lacks the id": func(t *testing.T, doc map[string]any) {
			m := at(t, doc, envelope)
			m["required"] = without(m["required"], "id")
		},
		"the envelope has another specversion": set(envelope+"/properties/specversion", "const", "2.0"),
		"an event is of another type": func(t *testing.T, doc map[string]any) {
			part := at(t, doc, "components/schemas/AlertEvent")["allOf"].([]any)[1].(map[string]any)
			part["properties"].(map[string]any)["type"].(map[string]any)["const"] = "dev.kemi.alarm.v1"
		},
		"an event has one part more":      add("components/schemas/AlertEvent", "allOf", map[string]any{"required": []any{"subject"}}),
		"a topic is gone":                 remove("channels", "AlertsNATS"),
		"a topic has another name":        set(kafka, "address", "{prefix}.alarms.v1"),
		"the prefix is another":           set(kafka+"/parameters/prefix", "default", "monitoring"),
		"a topic has more partitions":     set(kafka+"/bindings/kafka", "partitions", 8),
		"a topic says more partitions":    set(kafka+"/x-kemi-topic", "partitions", 8),
		"a topic has another key":         set(kafka+"/x-kemi-topic", "key", "/data/name"),
		"a topic has another route":       set(kafka+"/x-kemi-topic", "route", "/data/team"),
		"a topic is kept for less":        set(kafka+"/x-kemi-topic", "keepSeconds", 60),
		"what was for ever is for a time": set("channels/TargetsNATS/x-kemi-topic", "keepSeconds", 60),
		"a topic is only a log":           set(kafka+"/x-kemi-topic", "kind", "log"),
		"a topic survives less":           set(kafka+"/x-kemi-topic", "durability", "process"),
		"a topic forgets keys":            set(kafka+"/bindings/kafka/topicConfiguration", "cleanup.policy", []any{"delete"}),
		"a topic is on another server":    set(kafka, "servers", []any{map[string]any{"$ref": "#/servers/nats"}}),
		"a topic carries another message": set(kafka+"/messages", "Page", map[string]any{"$ref": "#/components/messages/Page"}),
		"a topic's message is another":    set(kafka+"/messages", "Alert", map[string]any{"$ref": "#/components/messages/Page"}),
		"an operation is gone":            remove("operations", "readAlertsKafka"),
		"an operation is another":         set("operations/readAlertsKafka", "action", "send"),
		"an operation is elsewhere":       set("operations/readAlertsKafka/channel", "$ref", "#/channels/PagesKafka"),
		"a message is gone":               remove("components/messages", "Alert"),
		"a message has another name":      set(message, "name", "dev.kemi.alarm.v1"),
		"a message is of another type":    set(message, "contentType", "application/json"),
		"a header is gone":                remove(message+"/headers/properties", "kemi-route"),
		"a header is another":             set(message+"/headers/properties/kemi-word", "const", "dev.kemi.alarm.v1"),
		"a header may be missing":         set(message+"/headers", "required", []any{"content-type"}),
		"what was JSON is protobuf":       set(message, "payload", map[string]any{"schemaFormat": "application/vnd.google.protobuf;version=3", "schema": ""}),
		"a stored example is gone":        set(message, "examples", []any{}),
		"a stored example is rewritten": func(t *testing.T, doc map[string]any) {
			e := at(t, doc, message)["examples"].([]any)[0].(map[string]any)
			e["payload"].(map[string]any)["subject"] = "another"
		},
		"another AsyncAPI": set("info", "version", "2.0.0"),
	}) {
		now := copied(before).(map[string]any)
		edit(t, now)
		if name == "another AsyncAPI" {
			now["asyncapi"] = "4.0.0"
		}
		if breaches := compat.Documents(before, now); len(breaches) == 0 {
			t.Errorf("%s: nobody noticed", name)
		} else if name == "a field is gone" && !strings.Contains(breaches[0], "schemas/Alert/team: the field was there, is no more") {
			t.Errorf("a field that is gone is told as %s", breaches[0])
		}
	}
}

func TestWhatBreaksNobodyPasses(t *testing.T) {
	before := document(t)
	for name, edit := range (edits{
		"nothing":                     func(*testing.T, map[string]any) {},
		"a field that may be missing": set(fields, "mood", map[string]any{"type": "string"}),
		"a new kind of thing in a field": func(t *testing.T, doc map[string]any) {
			set("components/schemas", "Mood", map[string]any{"type": "object", "required": []any{"a"}, "properties": map[string]any{"a": map[string]any{"type": "string"}}})(t, doc)
			set(fields, "mood", map[string]any{"$ref": "#/components/schemas/Mood"})(t, doc)
		},
		"a value of an open set":      add("components/schemas/PageKind", "x-extensible-enum", "reminder"),
		"names for what was any text": set(fields+"/severity", "x-extensible-enum", []any{"critical", "warning"}),
		"another attribute":           set(envelope+"/properties", "traceparent", map[string]any{"type": "string"}),
		"another header":              set(message+"/headers/properties", "traceparent", map[string]any{"type": "string"}),
		"another topic": func(t *testing.T, doc map[string]any) {
			c := at(t, doc, "channels")
			c["AlarmsKafka"] = c["AlertsKafka"]
		},
		"another message": func(t *testing.T, doc map[string]any) {
			m := at(t, doc, "components/messages")
			m["Alarm"] = m["Alert"]
		},
		"a topic is kept for longer":    set(kafka+"/x-kemi-topic", "keepSeconds", 100*24*3600),
		"a topic is kept for ever":      set(kafka+"/x-kemi-topic", "keepSeconds", 0),
		"a larger topic":                set(kafka+"/x-kemi-topic", "maxBytes", 1<<40),
		"better words":                  set(fields+"/name", "description", "What it is called."),
		"a title":                       set(alert, "title", "Alert"),
		"an example more":               add(message, "examples", map[string]any{"name": "more", "payload": map[string]any{}}),
		"the order of what is required": func(t *testing.T, doc map[string]any) { slices.Reverse(at(t, doc, alert)["required"].([]any)) },
		"a description beside a $ref": func(t *testing.T, doc map[string]any) {
			m := at(t, doc, fields)
			m["reason"] = m["reason"].(map[string]any)["allOf"].([]any)[0]
		},
		"a number that is written 4.0": set(kafka+"/bindings/kafka", "partitions", 4.0),
		"the same schema by another name": func(t *testing.T, doc map[string]any) {
			s := at(t, doc, "components/schemas")
			s["Why"] = s["Reason"]
			set(fields, "reason", map[string]any{"$ref": "#/components/schemas/Why"})(t, doc)
		},
	}) {
		now := copied(before).(map[string]any)
		edit(t, now)
		for _, b := range compat.Documents(before, now) {
			t.Errorf("%s: %s", name, b)
		}
	}
}

// silent are parts of a document that may say anything: they explain.
var silent = map[string]bool{
	"description": true, "title": true, "summary": true, "info": true, "defaultContentType": true, "bindingVersion": true, "replicas": true,
	"retention.ms": true, "maxBytes": true, "whenFull": true, "x-kemi-proto": true, "groupId": true, "name": true, "variables": true,
}

// Whatever leaf of the document is taken away, somebody notices, but for what only explains.
func TestNothingThatMeansSomethingIsTakenAwayUnnoticed(t *testing.T) {
	before := document(t)
	leaves := 0
	var walk func(v any, path []string)
	walk = func(v any, path []string) {
		switch v := v.(type) {
		case map[string]any:
			for _, k := range slices.Sorted(maps.Keys(v)) {
				// A property may be called as an explaining keyword is.
				if silent[k] && (len(path) == 0 || path[len(path)-1] != "properties") || len(path) > 0 && path[len(path)-1] == "messages" && path[0] == "operations" {
					continue
				}
				walk(v[k], append(slices.Clone(path), k))
			}
			return
		case []any:
			for i := range v {
				walk(v[i], append(slices.Clone(path), fmt.Sprint(i)))
			}
			return
		}
		at := strings.Join(path, "/")
		if path[0] == "servers" || path[0] == "operations" && strings.Contains(at, "messages") || strings.Contains(at, "/bindings/kafka/key/") || strings.Contains(at, "/payload/schema") && path[1] == "messages" ||
			path[0] == "components" && path[1] == "messages" && slices.Contains([]string{"Job", "Reading"}, path[2]) && path[3] == "payload" {
			return // Where a server is and how a client is to be called is not the topics'; protobuf is Descriptors'.
		}
		leaves++
		now := copied(before).(map[string]any)
		cut(now, path)
		if len(compat.Documents(before, now)) == 0 {
			t.Errorf("%s is gone, and nobody noticed", at)
		}
	}
	walk(map[string]any(before), nil)
	if leaves < 500 {
		t.Fatalf("only %d leaves were tried", leaves)
	}
}

// cut takes a leaf out of a document.
func cut(v any, path []string) any {
	switch v := v.(type) {
	case map[string]any:
		if len(path) == 1 {
			delete(v, path[0])
		} else {
			v[path[0]] = cut(v[path[0]], path[1:])
		}
		return v
	case []any:
		var i int
		_, _ = fmt.Sscan(path[0], &i) // It was printed by us.
		if len(path) == 1 {
			return slices.Delete(slices.Clone(v), i, i+1)
		}
		v[i] = cut(v[i], path[1:])
		return v
	}
	return v
}
