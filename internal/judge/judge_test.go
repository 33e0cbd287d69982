package judge_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kemi.dev/kemi/internal/judge"
)

const (
	top      = "../.."
	document = top + "/docs/events.asyncapi.yaml"
)

// golden returns a stored event and its record.
func golden(t *testing.T, word string) judge.Record {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(top, "bus/event/testdata/v1", word+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return judge.Record{
		Name: word, Binding: "kafka", Value: string(data),
		Headers: map[string]string{"content-type": "application/cloudevents+json", "kemi-word": "dev.kemi." + word + ".v1", "kemi-route": "default"},
	}
}

// change edits the event of a record.
func change(t *testing.T, r judge.Record, edit func(ce map[string]any)) judge.Record {
	t.Helper()
	var ce map[string]any
	if err := json.Unmarshal([]byte(r.Value), &ce); err != nil {
		t.Fatal(err)
	}
	edit(ce)
	data, err := json.Marshal(ce)
	if err != nil {
		t.Fatal(err)
	}
	r.Value = string(data)
	return r
}

// A judge that finds nothing wrong says nothing: each of these must be found.
func TestIntegrationTheJudgesFindWhatIsWrong(t *testing.T) {
	if testing.Short() {
		t.Skip("runs Node")
	}
	j := judge.New(t, top)
	alert := golden(t, "alert")
	data := func(edit func(data map[string]any)) judge.Record {
		return change(t, alert, func(ce map[string]any) { edit(ce["data"].(map[string]any)) })
	}
	header := func(name, value string) judge.Record {
		r := alert
		r.Headers = map[string]string{}
		for n, v := range alert.Headers {
			r.Headers[n] = v
		}
		r.Headers[name] = value
		return r
	}
	cases := map[string]struct {
		record judge.Record
		want   string
	}{
		"no id":                 {change(t, alert, func(ce map[string]any) { delete(ce, "id") }), "id"},
		"an empty source":       {change(t, alert, func(ce map[string]any) { ce["source"] = "" }), "source"},
		"a time of its own":     {change(t, alert, func(ce map[string]any) { ce["time"] = "yesterday" }), "time"},
		"a capital attribute":   {change(t, alert, func(ce map[string]any) { ce["traceParent"] = "x" }), "traceParent"},
		"another specification": {change(t, alert, func(ce map[string]any) { ce["specversion"] = "0.3" }), "specversion"},
		"an unknown type":       {change(t, alert, func(ce map[string]any) { ce["type"] = "dev.kemi.weather.v1" }), "weather"},
		"a state nobody knows":  {data(func(d map[string]any) { d["state"] = "sleeping" }), "/data/state"},
		"a number as text":      {data(func(d map[string]any) { d["value"] = "7" }), "/data/value"},
		"a missing field":       {data(func(d map[string]any) { delete(d, "labels") }), "labels"},
		"a date that is none":   {data(func(d map[string]any) { d["starts_at"] = "2026-13-01" }), "/data/starts_at"},
		"a label that is none":  {data(func(d map[string]any) { d["labels"] = map[string]any{"a": 1} }), "/data/labels/a"},
		"a deep mistake":        {data(func(d map[string]any) { d["reason"] = map[string]any{"text": "why"} }), "/data/reason"},
		"binary mode":           {header("content-type", "application/json"), "content-type"},
		"another word":          {header("kemi-word", "dev.kemi.page.v1"), "kemi-word"},
	}
	var records []judge.Record
	for name, c := range cases {
		c.record.Name = name
		if name == "binary mode" {
			c.record.Binding = "nats"
		}
		records = append(records, c.record)
	}
	complaints := j.Records(document, records)
	for name, c := range cases {
		found := false
		for _, line := range complaints {
			found = found || strings.HasPrefix(line, name+" over ") && strings.Contains(line, c.want)
		}
		if !found {
			t.Errorf("%s: nobody complained of %s:\n%s", name, c.want, strings.Join(complaints, "\n"))
		}
	}
	for _, line := range j.Records(document, []judge.Record{alert, change(t, alert, func(ce map[string]any) { ce["sampledrate"] = 3 })}) {
		t.Errorf("of what is well: %s", line)
	}
}

func TestIntegrationTheParserFindsWhatIsWrong(t *testing.T) {
	if testing.Short() {
		t.Skip("runs Node")
	}
	j := judge.New(t, top)
	good, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string][3]string{
		"a dangling reference":       {"$ref: \"#/components/messages/Alert\"", "$ref: \"#/components/messages/Alarm\"", "Alarm"},
		"an operation of its own":    {"action: receive", "action: listen", "action"},
		"protobuf that is none":      {"message Column {", "message Column (", "protobuf"},
		"an example that fits not":   {"state: resolved", "state: 7", "state"},
		"partitions that are none":   {"partitions: 4\n        topicConfiguration", "partitions: none\n        topicConfiguration", "partitions"},
		"a schema that JSON has not": {"type: boolean", "type: yesno", "type"},
	}
	dir, files := t.TempDir(), []string{}
	file := func(name string) string { return filepath.Join(dir, strings.ReplaceAll(name, " ", "-")+".yaml") }
	for name, c := range cases {
		bad := strings.Replace(string(good), c[0], c[1], 1)
		if bad == string(good) {
			t.Errorf("%s: the document has no %q", name, c[0])
			continue
		}
		if err := os.WriteFile(file(name), []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, file(name))
	}
	complaints := j.Documents(files...)
	for name, c := range cases {
		found := false
		for _, line := range complaints {
			found = found || strings.HasPrefix(line, file(name)) && strings.Contains(strings.ToLower(line), strings.ToLower(c[2]))
		}
		if !found {
			t.Errorf("%s: nobody complained of %s:\n%s", name, c[2], strings.Join(complaints, "\n"))
		}
	}
}
