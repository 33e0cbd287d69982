package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/docs"
	"kemi.dev/kemi/internal/judge"
	"kemi.dev/kemi/internal/obs"
)

// seen is a record as a stranger saw it.
type seen struct {
	judge.Record
	partition int
	key       string
	removed   bool
}

// published are the events that were stored on a topic, in their order, each identity once.
type published map[string][]event.Event

// publishAll opens a bus over a driver and says everything on it, and that one alert is no more.
func publishAll(t *testing.T, d driver.Driver) published {
	t.Helper()
	b := bus.New(d, bus.Settings{}, obs.Scope{})
	t.Cleanup(func() { _ = b.Close() }) // The test is over either way.
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := b.Open(ctx); err != nil {
		t.Fatal(err)
	}
	all, known := published{}, map[string]bool{}
	var events []event.Event
	for _, e := range everything(t) {
		if id := e.Topic().Name + e.Identity(); !known[id] {
			known[id] = true
			events = append(events, e)
			all[e.Topic().Name] = append(all[e.Topic().Name], e)
		}
	}
	if err := b.Publish(ctx, events...); err != nil {
		t.Fatal(err)
	}
	gone := &event.Alert{ID: "gone", Domain: "default"}
	if err := b.Publish(ctx, gone); err != nil {
		t.Fatal(err)
	}
	if err := b.Remove(ctx, gone); err != nil {
		t.Fatal(err)
	}
	return all
}

// check holds what strangers saw of a topic to what was published: everything, each route in its order, at the place and
// with the headers that the document names. newest says that only the newest of each key has to be there.
func check(t *testing.T, topic event.Topic, said []event.Event, saw []seen, newest bool) (records []judge.Record) {
	t.Helper()
	byID, order := map[string]event.Event{}, map[string][]string{}
	last := map[string]string{}
	for _, e := range said {
		byID[e.Identity()] = e
		order[e.Route()] = append(order[e.Route()], e.Identity())
		last[e.Key()] = e.Identity()
	}
	found := map[string]bool{}
	came := map[string][]string{}
	for _, s := range saw {
		if s.removed || s.key == "gone" {
			continue
		}
		var ce struct{ ID string }
		if err := json.Unmarshal([]byte(s.Value), &ce); err != nil {
			t.Errorf("%s: %v", s.Name, err)
			continue
		}
		e := byID[ce.ID]
		if e == nil {
			t.Errorf("%s: nobody published %s", s.Name, ce.ID)
			continue
		}
		if s.key != e.Key() {
			t.Errorf("%s: the key is %q, want %q", s.Name, s.key, e.Key())
		}
		if want := bus.Partition(e.Route(), topic.Partitions); s.partition != want {
			t.Errorf("%s: it is in partition %d, want %d", s.Name, s.partition, want)
		}
		if !found[ce.ID] {
			came[e.Route()] = append(came[e.Route()], ce.ID)
		}
		found[ce.ID] = true
		records = append(records, s.Record)
	}
	for id, e := range byID {
		if !found[id] && (!newest || last[e.Key()] == id) {
			t.Errorf("%s: %q is missing", topic.Name, e.Key())
		}
	}
	for route, ids := range came {
		i := 0
		for _, id := range order[route] {
			if i < len(ids) && ids[i] == id {
				i++
			}
		}
		if i < len(ids) {
			t.Errorf("%s: events of route %q came in another order", topic.Name, route)
		}
	}
	return records
}

// judged lets the judges see what strangers saw, by today's document and by the last version's.
func judged(t *testing.T, j *judge.Judge, records []judge.Record) {
	t.Helper()
	for _, document := range []string{"docs/events.asyncapi.yaml", lastDocument} {
		for _, c := range j.Records(filepath.Join(top, document), knownTo(t, document, records)) {
			t.Errorf("%s: %s", document, c)
		}
	}
}

// removal looks for the record that took an alert away.
func removal(t *testing.T, saw []seen) {
	t.Helper()
	for _, s := range saw {
		if s.removed && s.key == "gone" {
			return
		}
	}
	t.Error("nobody saw that the alert is gone")
}

// addressOf reads where the document says that a topic is: with the default prefix, on a broker.
func addressOf(t *testing.T, id string) string {
	t.Helper()
	var doc struct {
		Channels map[string]struct {
			Address    string
			Parameters map[string]struct{ Default string }
		}
	}
	if err := yaml.Unmarshal([]byte(docs.EventsAsyncAPI), &doc); err != nil {
		t.Fatal(err)
	}
	c, there := doc.Channels[id]
	if !there {
		t.Fatalf("the document has no channel %s", id)
	}
	return strings.ReplaceAll(c.Address, "{prefix}", c.Parameters["prefix"].Default)
}

// fenced returns the blocks of docs/events.md in a language.
func fenced(t *testing.T, language string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(top, "docs/events.md"))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, m := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		all = append(all, strings.TrimSpace(m[1]))
	}
	return all
}

// command finds the one command of docs/events.md that has all the words.
func command(t *testing.T, words ...string) string {
	t.Helper()
	var found []string
	for _, c := range fenced(t, "sh") {
		has := true
		for _, w := range words {
			has = has && strings.Contains(c, w)
		}
		if has {
			found = append(found, c)
		}
	}
	if len(found) != 1 {
		t.Fatalf("docs/events.md has %d commands with %q", len(found), words)
	}
	return found[0]
}

// shell runs a command as a person would type it at the top of the repository, with what differs here replaced.
func shell(t *testing.T, line string, replace ...string) (stdout []byte, stderr string, err error) {
	t.Helper()
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(line, replace[i]) {
			t.Fatalf("%q has no %q", line, replace[i])
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", strings.NewReplacer(replace...).Replace(line))
	cmd.Dir = top
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.Bytes(), errs.String(), err
}

// lines decodes JSON lines.
func lines[T any](t *testing.T, text []byte) []T {
	t.Helper()
	var all []T
	for dec := json.NewDecoder(bytes.NewReader(text)); dec.More(); {
		var v T
		if err := dec.Decode(&v); err != nil {
			t.Fatalf("what was written is no JSON: %v", err)
		}
		all = append(all, v)
	}
	return all
}

// cloudEvents are the words that are CloudEvents.
func cloudEvents() (all []word) {
	for _, w := range words() {
		if w.value != nil {
			all = append(all, w)
		}
	}
	return all
}

func nameOf(i int, w word) string { return fmt.Sprintf("%s %d", w.name, i) }
