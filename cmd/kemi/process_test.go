package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kemi.dev/kemi/internal/simulate"
)

// running is a real process over a few simulated switches.
func running(t *testing.T, devices int) (p *process, dir string, fleet *simulate.Fleet) {
	t.Helper()
	listen, err := simulate.ParseListen("127.79.0.0/16:0")
	must(t, err)
	ds, err := simulate.Uniform(devices, simulate.Switch, 4, listen)
	must(t, err)
	fleet = playFleet(t, simulate.Config{Listen: listen, Devices: ds, Community: "hunter2"})
	addr := freeAddr(t)
	dir = files(t, map[string]string{
		"kemi.yaml":  fmt.Sprintf("listen: %s\ncanary_every: 1s\ncmdb: [{file: {path: targets.yaml}}]\nrules: [rules.yaml]\ncredentials: {lab: {snmp: {version: 2c, community: hunter2, timeout: 300ms}}}\n", addr),
		"rules.yaml": downRule, "targets.yaml": targetsYAML(fleet.Devices(), time.Second),
	})
	return start(t, filepath.Join(dir, "kemi.yaml"), addr), dir, fleet
}

func targetIDs(p *process) (ids []string, err error) {
	var all []struct{ ID string }
	err = p.get("/api/kemi/v1/targets", &all)
	for _, one := range all {
		ids = append(ids, one.ID)
	}
	return ids, err
}

func wantTargets(p *process, n int) func() error {
	return func() error {
		ids, err := targetIDs(p)
		if err == nil && len(ids) != n {
			err = fmt.Errorf("%d targets, want %d", len(ids), n)
		}
		return err
	}
}

// TestARunningKemi walks through a day of a running process: ready, a changed file, a mistake in it, a shrink that is
// held and accepted, a second process on the same data and port, and the end.
func TestARunningKemi(t *testing.T) {
	p, dir, fleet := running(t, 10)
	within(t, 20*time.Second, "ready", func() error {
		resp, err := http.Get("http://" + p.addr + "/-/ready")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s", resp.Status)
		}
		return nil
	})
	file := filepath.Join(dir, "targets.yaml")
	write := func(text string) { must(t, os.WriteFile(file, []byte(text), 0o600)) }
	full := targetsYAML(fleet.Devices(), time.Second)

	began := time.Now()
	write(full + "  - {id: extra, class: switch, address: \"127.79.0.1:1\", team: network}\n")
	within(t, 5*time.Second, "a new target is polled", func() error {
		got, err := p.query(`up{target="extra"}`, "target")
		if err == nil && len(got) != 1 {
			err = fmt.Errorf("%v", got)
		}
		return err
	})
	t.Logf("a new target was polled %s after the file was saved", time.Since(began).Round(time.Millisecond))

	write(full + "  - {id: broken, clas: switch}\n")
	within(t, 5*time.Second, "the mistake is told", func() error { return sourceState(p, "invalid", `unknown key "clas"`) })
	must(t, wantTargets(p, 11)())

	write("targets: []\n")
	within(t, 5*time.Second, "an emptied file is held", func() error { return sourceState(p, "held", "") })
	must(t, wantTargets(p, 11)())
	if code, _, errs := kemi(t, "targets", "accept-shrink", "file:nothing", "--server", "http://"+p.addr); code != 1 || !strings.Contains(errs, "there is no source") {
		t.Errorf("accepting nothing: %d %s", code, errs)
	}

	write(targetsYAML(fleet.Devices()[:5], time.Second))
	within(t, 5*time.Second, "half of it is held too", func() error { return sourceState(p, "held", "it lost 6 of its 11 targets") })
	if code, out, errs := kemi(t, "targets", "accept-shrink", "file:targets.yaml", "--server", "http://"+p.addr); code != 0 || !strings.Contains(out, "6 targets") {
		t.Errorf("accepting: %d %s %s", code, out, errs)
	}
	within(t, 5*time.Second, "accepted", wantTargets(p, 5))

	t.Run("the command line shows it", func(t *testing.T) {
		for args, want := range map[string]string{
			"targets list": "switch-01", "targets show switch-01": `"class": "switch"`, "incidents list": "STATE", "pages list": "RECEIVER", "alerts list": "ALERT",
			"topics": "readings.v1", "topics readings.v1": "rule ", "dead list": "REASON", "tail readings.v1 --from 1m --limit 3": "  snmp  ok  ",
			"replay targets.v1 --from beginning --key switch-01": `"subject":"switch-01"`, "replay readings.v1 --from 5s --into readings.v1 --yes": "said again on readings.v1",
		} {
			code, out, errs := kemi(t, append(strings.Fields(args), "--server", "http://"+p.addr)...)
			if code != 0 || !strings.Contains(out, want) {
				t.Errorf("kemi %s: %d, lacks %q\n%s%s", args, code, want, out, errs)
			}
		}
		if code, _, errs := kemi(t, "targets", "show", "nobody", "--server", "http://"+p.addr); code != 1 || !strings.Contains(errs, "no target") {
			t.Errorf("showing nobody: %d %s", code, errs)
		}
	})
	t.Run("rules are read again when asked", func(t *testing.T) {
		reload := func() (int, string) {
			resp, err := http.Post("http://"+p.addr+"/-/reload", "", nil)
			must(t, err)
			return resp.StatusCode, readAll(t, resp)
		}
		rules := filepath.Join(dir, "rules.yaml")
		firing := func(n int) func() error {
			return func() error {
				var all []struct{}
				if err := p.get("/api/kemi/v1/alerts?state=firing", &all); err != nil {
					return err
				}
				if len(all) != n {
					return fmt.Errorf("%d alerts", len(all))
				}
				return nil
			}
		}
		within(t, 10*time.Second, "nothing fires", firing(0))
		must(t, os.WriteFile(rules, []byte(strings.Replace(downRule, "up == 0", "up ==", 1)), 0o600))
		if code, said := reload(); code != 400 || !strings.Contains(said, "rules.yaml:4:") {
			t.Errorf("with a mistake: %d %s", code, said)
		}
		must(t, os.WriteFile(rules, []byte(strings.Replace(downRule, "up == 0", "up == 1", 1)), 0o600))
		if code, said := reload(); code != 200 {
			t.Errorf("without: %d %s", code, said)
		}
		within(t, 10*time.Second, "the new rule fires", firing(5))
	})
	t.Run("a second process keeps out", func(t *testing.T) {
		if code, _, errs := kemi(t, "run", "-c", p.config); code != 1 || !strings.Contains(errs, "the port is taken") {
			t.Errorf("on the same port: %d %s", code, errs)
		}
		other := filepath.Join(dir, "other.yaml")
		text, err := os.ReadFile(p.config)
		must(t, err)
		must(t, os.WriteFile(other, []byte(strings.Replace(string(text), p.addr, "127.0.0.1:0", 1)), 0o600))
		if code, _, errs := kemi(t, "run", "-c", other); code != 1 || !strings.Contains(errs, "in use") {
			t.Errorf("on the same data: %d %s", code, errs)
		}
	})
	t.Run("a secret is nowhere", func(t *testing.T) {
		for _, path := range []string{"/api/kemi/v1/targets", "/api/kemi/v1/status", "/metrics", "/"} {
			resp, err := http.Get("http://" + p.addr + path)
			must(t, err)
			if strings.Contains(readAll(t, resp), "hunter2") {
				t.Errorf("%s shows it", path)
			}
		}
		for _, topic := range []string{"jobs.v1.default", "targets.v1", "readings.v1"} {
			for _, l := range p.everything(topic) {
				if strings.Contains(string(l.Event), "hunter2") {
					t.Fatalf("%s carries it", topic)
				}
			}
		}
		if strings.Contains(p.log.String(), "hunter2") {
			t.Error("the log has it")
		}
	})
	if took := p.stop(); took > stopsWithin {
		t.Errorf("stopping took %s", took)
	}
}

func readAll(t *testing.T, resp *http.Response) string {
	t.Helper()
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	must(t, err)
	return string(data)
}

// sourceState is nil when the file source is in a state and says something.
func sourceState(p *process, state, says string) error {
	var status struct{ Sources []json.RawMessage }
	if err := p.get("/api/kemi/v1/status", &status); err != nil {
		return err
	}
	for _, raw := range status.Sources {
		var s struct{ Name, State string }
		if err := json.Unmarshal(raw, &s); err != nil {
			return err
		}
		if s.Name == "kemi" {
			continue
		}
		text := strings.ReplaceAll(string(raw), `\"`, `"`)
		if s.State != state || !strings.Contains(text, says) {
			return fmt.Errorf("%s", raw)
		}
	}
	return nil
}
