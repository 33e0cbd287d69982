package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/docs"
	"kemi.dev/kemi/internal/judge"
)

const top = "../../.."

func generated(t *testing.T) []byte {
	t.Helper()
	doc, err := generate(top)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestTheDocumentIsWhatTheCodeSays(t *testing.T) {
	doc := generated(t)
	if !bytes.Equal(doc, generated(t)) {
		t.Error("twice the same code made two documents")
	}
	if diff := cmp.Diff(strings.Split(docs.EventsAsyncAPI, "\n"), strings.Split(string(doc), "\n")); diff != "" {
		t.Errorf("docs/events.asyncapi.yaml is not what the code says: run `go run ./cmd/kemi/asyncapi` at the top of the repository, and look at the difference (-file +code):\n%s", diff)
	}
}

func TestReadersOfTheLastVersionGoOnReading(t *testing.T) {
	all, err := breaches(top, generated(t))
	if err != nil {
		t.Fatalf("%v: `go run ./cmd/kemi/asyncapi -release` keeps the first one", err)
	}
	for _, b := range all {
		t.Errorf("%s (docs/adding.md, \"Changing a word\", says what may be done)", b)
	}
}

func TestARefusedReleaseLeavesTheLastOne(t *testing.T) {
	root := t.TempDir()
	for _, file := range []string{lastDocument, lastDescriptor} {
		data, err := os.ReadFile(filepath.Join(top, file))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, file)), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, file), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	doc := generated(t)
	broken := bytes.Replace(doc, []byte("const: dev.kemi.alert.v1"), []byte("const: dev.kemi.alarm.v1"), 1)
	if err := release(root, broken); err == nil || !strings.Contains(err.Error(), "was dev.kemi.alert.v1, is dev.kemi.alarm.v1") {
		t.Errorf("released: %v", err)
	}
	longer := bytes.Replace(doc, []byte("One problem made a transition"), []byte("A problem made a transition"), 1)
	if err := release(root, longer); err != nil {
		t.Errorf("not released: %v", err)
	}
	if got, _ := os.ReadFile(filepath.Join(root, lastDocument)); !bytes.Equal(got, longer) {
		t.Error("the last version is not the one that was released")
	}
}

// Every topic of the words is in the document on both brokers, as event has it, and the key and route stand where it says.
func TestTheDocumentHasEveryTopic(t *testing.T) {
	var doc struct {
		Channels map[string]struct {
			Topic struct {
				Name       string
				Partitions int
				Key, Route string
			} `yaml:"x-kemi-topic"`
			Servers []map[string]string
		}
	}
	if err := yaml.Unmarshal(generated(t), &doc); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for id, c := range doc.Channels {
		for _, topic := range event.Topics("{zone}") {
			if c.Topic.Name == topic.Name && c.Topic.Partitions == topic.Partitions {
				seen[topic.Name]++
			}
		}
		if len(c.Servers) != 1 {
			t.Errorf("%s is on %v", id, c.Servers)
		}
	}
	for _, topic := range event.Topics("{zone}") {
		if seen[topic.Name] != 2 {
			t.Errorf("%s is there %d times, want once on each of two brokers", topic.Name, seen[topic.Name])
		}
	}
	for _, w := range words() {
		if w.value == nil {
			continue
		}
		data, err := os.ReadFile(filepath.Join(top, "bus/event/testdata/v1", w.golden))
		if err != nil {
			t.Fatal(err)
		}
		e, err := event.Parse(w.topic.Name, data)
		if err != nil {
			t.Fatal(err)
		}
		var ce map[string]any
		if err := json.Unmarshal(data, &ce); err != nil {
			t.Fatal(err)
		}
		pointer := func(p string) string {
			v, _ := ce["data"].(map[string]any)[strings.TrimPrefix(p, "/data/")].(string)
			return v
		}
		if w.keyAt != "computed" && pointer(w.keyAt) != e.Key() {
			t.Errorf("the key of %s is %s, not what stands at %s", w.name, e.Key(), w.keyAt)
		}
		// A target's and a command's route is their key, another's the domain.
		if pointer(w.routeAt) != e.Route() {
			t.Errorf("the route of %s is %s, not what stands at %s", w.name, e.Route(), w.routeAt)
		}
	}
}

// Who reads jobs and readings with the protobuf of the last version reads what is written now.
func TestProtobufOfTheLastVersionReadsWhatIsWrittenNow(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(top, lastDescriptor))
	if err != nil {
		t.Fatal(err)
	}
	var last descriptorpb.FileDescriptorProto
	if err := proto.Unmarshal(data, &last); err != nil {
		t.Fatal(err)
	}
	file, err := protodesc.NewFile(&last, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range words() {
		if w.proto == "" {
			continue
		}
		golden, err := os.ReadFile(filepath.Join(top, "bus/event/testdata/v1", w.golden))
		if err != nil {
			t.Fatal(err)
		}
		e, err := event.Parse(strings.ReplaceAll(w.topic.Name, "{zone}", event.DefaultZone), golden)
		if err != nil {
			t.Fatal(err)
		}
		now, err := e.Encode()
		if err != nil {
			t.Fatal(err)
		}
		before, after := dynamicpb.NewMessage(file.Messages().ByName(protoreflect.Name(w.proto))), dynamicpb.NewMessage(file.Messages().ByName(protoreflect.Name(w.proto)))
		if err := errors.Join(proto.Unmarshal(golden, before), proto.Unmarshal(now, after)); err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(before, after) {
			t.Errorf("%s: the golden file and what is written now read differently:\n%v\n%v", w.name, before, after)
		}
		if got := before.Get(before.Descriptor().Fields().ByName("target")).String(); got != e.Key() {
			t.Errorf("%s: the target is %q, want %q", w.name, got, e.Key())
		}
	}
}

func TestIntegrationTheAsyncAPIParserTakesTheDocument(t *testing.T) {
	if testing.Short() {
		t.Skip("runs Node")
	}
	for _, c := range judge.New(t, top).Documents(filepath.Join(top, "docs/events.asyncapi.yaml"), filepath.Join(top, lastDocument)) {
		t.Error(c)
	}
}
