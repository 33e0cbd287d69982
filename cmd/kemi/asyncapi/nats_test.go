package main

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"kemi.dev/kemi/bus/nats"
	"kemi.dev/kemi/internal/brokers"
	"kemi.dev/kemi/internal/conf"
	"kemi.dev/kemi/internal/judge"
	"kemi.dev/kemi/internal/obs"
)

// line is a line of docs/examples/subscribe-nats.
type line struct {
	Subject string
	Headers map[string]string
	Removed bool
	Event   json.RawMessage
}

// The program that docs/events.md hands to teams imports nothing of Kemi.
func TestTheExampleImportsNothingOfKemi(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "kemi.dev/kemi/docs/examples/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range strings.Fields(string(out)) {
		if strings.HasPrefix(p, "kemi.dev/") && !strings.HasPrefix(p, "kemi.dev/kemi/docs/examples/") {
			t.Errorf("it imports %s", p)
		}
	}
}

// Strangers follow docs/events.md and read every topic of CloudEvents from NATS; a team that may read one reads that one.
func TestIntegrationStrangersReadFromNATS(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a NATS server and Node")
	}
	j := judge.New(t, top)
	server := brokers.NATS(t, 1, brokers.NATSOptions{MaxFile: 16 << 30, Config: strings.Join(fenced(t, "nats"), "\n")})
	d, err := nats.New(nats.Config{URLs: server.URLs, User: "kemi", Password: conf.NewSecret("secret")}, "", obs.Scope{})
	if err != nil {
		t.Fatal(err)
	}
	said := publishAll(t, d)

	program := filepath.Join(t.TempDir(), "subscribe-nats")
	if out, err := exec.Command("go", "build", "-o", program, "kemi.dev/kemi/docs/examples/subscribe-nats").CombinedOutput(); err != nil {
		t.Fatalf("build the example: %v\n%s", err, out)
	}
	here := []string{"nats.example:4222", strings.TrimPrefix(server.URLs[0], "nats://"), "go run ./docs/examples/subscribe-nats", program}
	create, read := command(t, "subscribe-nats", "-create"), command(t, "subscribe-nats", "-user network")

	var records []judge.Record
	for _, w := range cloudEvents() {
		address := addressOf(t, w.name+"sNATS")
		subjects := strings.NewReplacer("{partition}", "*", "{key}", "*", "p{partition}", "*").Replace(address)
		place := regexp.MustCompile("^" + strings.NewReplacer(`\{partition\}`, `(\d+)`, `\{key\}`, `([^.]+)`).Replace(regexp.QuoteMeta(address)) + "$")
		count := len(said[w.topic.Name])
		switch w.topic.Name {
		case "alerts.v1":
			count += 2 // One that is gone, and that it is.
		case "targets.v1":
			keys := map[string]bool{}
			for _, e := range said[w.topic.Name] {
				keys[e.Key()] = true
			}
			count = len(keys)
		}
		// The first as who looks after NATS, the others as the team where it may, and from where the first left off.
		here := append(slices.Clone(here), "-topic alerts.v1", "-topic "+w.topic.Name)
		first, errs, err := shell(t, create+" -filter '"+subjects+"'", here...)
		if err != nil {
			t.Fatalf("%s: %v\n%s", w.topic.Name, err, errs)
		}
		reader := read
		if w.topic.Name != "alerts.v1" {
			reader = strings.NewReplacer("NATS_PASSWORD=hidden", "NATS_PASSWORD=secret", "-user network", "-user kemi").Replace(read)
		}
		rest, errs, err := shell(t, reader+" -n "+strconv.Itoa(count-1), here...)
		if err != nil {
			t.Fatalf("%s: %v\n%s", w.topic.Name, err, errs)
		}
		var saw []seen
		for i, m := range lines[line](t, slices.Concat(first, rest)) {
			at := place.FindStringSubmatch(m.Subject)
			if at == nil {
				t.Errorf("%s: the subject %s is not what the document says: %s", w.name, m.Subject, address)
				continue
			}
			partition, _ := strconv.Atoi(at[1]) // Digits.
			s := seen{Record: judge.Record{Name: nameOf(i, w), Binding: "nats", Headers: m.Headers, Value: string(m.Event)}, partition: partition, key: plainKey(t, at[2]), removed: m.Removed}
			if id := m.Headers["Nats-Msg-Id"] + m.Headers["Kemi-Id"]; !m.Removed && !strings.Contains(string(m.Event), `"id":"`+id+`"`) {
				t.Errorf("%s: the header says that it is %q", s.Name, id)
			}
			saw = append(saw, s)
		}
		if len(saw) != count {
			t.Errorf("%s: strangers saw %d, want %d", w.topic.Name, len(saw), count)
		}
		records = append(records, check(t, w.topic, said[w.topic.Name], saw, w.topic.Keep == 0)...)
		if w.topic.Name == "alerts.v1" {
			removal(t, saw)
		}
	}
	judged(t, j, records)

	// What the team may not read it is told about.
	_, errs, err := shell(t, read+" -n 1", append(here, "-topic alerts.v1", "-topic pages.v1")...)
	if err == nil || !strings.Contains(strings.ToLower(errs), "permissions violation") || !strings.Contains(errs, "kemi_pages_v1") {
		t.Errorf("a team reads what it may not: %v\n%s", err, errs)
	}
	_, errs, err = shell(t, read+" -create -n 1", here...)
	if err == nil || !strings.Contains(strings.ToLower(errs), "permissions violation") {
		t.Errorf("a team makes consumers: %v\n%s", err, errs)
	}
}

// plainKey undoes what the document says of keys in subjects.
func plainKey(t *testing.T, token string) string {
	t.Helper()
	if token == "=" {
		return ""
	}
	return regexp.MustCompile("=[0-9A-F]{2}").ReplaceAllStringFunc(token, func(s string) string {
		c, err := strconv.ParseUint(s[1:], 16, 8)
		if err != nil {
			t.Error(err)
		}
		return string([]byte{byte(c)})
	})
}
