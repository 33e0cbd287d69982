package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/brokers"
	"kemi.dev/kemi/internal/judge"
	"kemi.dev/kemi/internal/simulate"
)

// A Kemi runs on somebody's NATS server and finds a switch down; a program that knows nothing of Kemi reads what happened,
// from the target to the page, and the CloudEvents SDK and the AsyncAPI document have nothing to say against it.
func TestIntegrationStrangersReadWhatARunningKemiSays(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a NATS server and Node")
	}
	j := judge.New(t, "../..")
	server := brokers.NATS(t, 1, brokers.NATSOptions{MaxFile: 16 << 30})
	hook := newReceiver(t)
	listen, err := simulate.ParseListen("127.78.0.0/16:0")
	must(t, err)
	ds, err := simulate.Uniform(2, simulate.Switch, 4, listen)
	must(t, err)
	fleet := playFleet(t, simulate.Config{Listen: listen, Devices: ds, Community: "hunter2"})
	targets := targetsYAML(fleet.Devices(), time.Second) + "  - {id: gone-1, class: switch, address: \"" + freeAddr(t) + "\", team: network}\n"
	addr := freeAddr(t)
	dir := files(t, map[string]string{
		"kemi.yaml": fmt.Sprintf("listen: %s\ncanary_every: 1s\nbus: {nats: {urls: [%q]}}\ncmdb: [{file: {path: targets.yaml}}]\nrules: [rules.yaml]\n"+
			"receivers: {hook: {webhook: {url: %q}}}\nteams: {default: {receiver: hook}, network: {receiver: hook}}\n"+
			"credentials: {lab: {snmp: {version: 2c, community: hunter2, timeout: 300ms}}}\n", addr, server.URLs[0], hook.URL),
		"rules.yaml": downRule, "targets.yaml": targets,
	})
	start(t, filepath.Join(dir, "kemi.yaml"), addr)
	within(t, 60*time.Second, "a page", func() error {
		if len(hook.list()) == 0 {
			return fmt.Errorf("nobody was paged")
		}
		return nil
	})

	program := filepath.Join(dir, "subscribe-nats")
	if out, err := exec.Command("go", "build", "-o", program, "kemi.dev/kemi/docs/examples/subscribe-nats").CombinedOutput(); err != nil {
		t.Fatalf("build the example: %v\n%s", err, out)
	}
	var records []judge.Record
	type about struct{ Target, Cause, Stage string }
	told := map[string]about{}
	for topic, count := range map[string]int{"targets": 4, "findings": 5, "alerts": 4, "incidents": 1, "pages": 2} {
		cmd := exec.CommandContext(t.Context(), program, "-url", server.URLs[0], "-topic", topic+".v1", "-consumer", "reader", "-create", "-n", fmt.Sprint(count))
		var errs bytes.Buffer
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("read %s: %v\n%s", topic, err, errs.String())
		}
		for n, text := range bytes.Split(bytes.TrimSpace(out), []byte("\n")) {
			var line struct {
				Headers map[string]string
				Event   json.RawMessage
			}
			must(t, json.Unmarshal(text, &line))
			var e struct {
				Type string
				Data about
			}
			must(t, json.Unmarshal(line.Event, &e))
			if e.Data.Target != event.CanaryTarget {
				told[e.Type] = e.Data
			}
			records = append(records, judge.Record{Name: fmt.Sprintf("%s %d", topic, n), Binding: "nats", Headers: line.Headers, Value: string(line.Event)})
		}
	}
	for _, document := range []string{"../../docs/events.asyncapi.yaml", "../../bus/event/testdata/v1/events.asyncapi.yaml"} {
		for _, c := range j.Records(document, records) {
			t.Errorf("%s: %s", document, c)
		}
	}
	if len(told) != 5 || told["dev.kemi.incident.v1"].Cause != "gone-1" || !strings.Contains("retrying sent", told["dev.kemi.page.v1"].Stage) {
		t.Errorf("strangers read %v", told)
	}
}
