package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"kemi.dev/kemi/internal/brokers"
)

// metric sums the values of a metric over its labels, as far as they contain the text.
func (p *process) metric(name, label string) (sum float64, err error) {
	resp, err := http.Get("http://" + p.addr + "/metrics")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(body)) {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || rest == "" || rest[0] != '{' && rest[0] != ' ' || !strings.Contains(rest, label) {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(rest[strings.LastIndexByte(rest, ' ')+1:]), 64)
		if err != nil {
			return 0, fmt.Errorf("read %q: %w", line, err)
		}
		sum += v
	}
	return sum, nil
}

// resident is the memory that the process has, in bytes.
func (p *process) resident() (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "VmRSS:" {
			kb, err := strconv.ParseInt(fields[1], 10, 64)
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("no VmRSS in %q", status)
}

// duration is what an environment variable says, or something shorter.
func duration(t *testing.T, name string, otherwise time.Duration) time.Duration {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return otherwise
	}
	d, err := time.ParseDuration(s)
	must(t, err)
	return d
}

// The broker is gone for a while (KEMI_TEST_AWAY, 40 s by default): the process stays, says what is wrong, takes no more
// memory than it had and some, tells nobody anything, and goes on by itself when the broker is back. What was due
// meanwhile is counted and not run. A process that is started meanwhile waits and begins by itself.
func TestIntegrationTheBrokerIsAwayForAWhile(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: needs real brokers; make integration runs it")
	}
	away := duration(t, "KEMI_TEST_AWAY", 40*time.Second)
	for _, broker := range []struct {
		name  string
		start func(t *testing.T) (bus string, node *brokers.Node)
	}{
		{"kafka", func(t *testing.T) (string, *brokers.Node) {
			c := brokers.Kafka(t, 1, brokers.KafkaOptions{})
			return fmt.Sprintf("{kafka: {brokers: [%s]}}", quotedList(c.Addrs)), c.Nodes[0]
		}},
		{"nats", func(t *testing.T) (string, *brokers.Node) {
			c := brokers.NATS(t, 1, brokers.NATSOptions{MaxFile: 32 << 30})
			return fmt.Sprintf("{nats: {urls: [%s]}}", quotedList(c.URLs)), c.Nodes[0]
		}},
	} {
		t.Run(broker.name, func(t *testing.T) {
			bus, node := broker.start(t)
			m := newTeam(t, bus, 60, time.Second)
			p := m.join()
			within(t, 90*time.Second, "everything is up", func() error { return allUp(p, m.devices) })
			within(t, 30*time.Second, "ready", p.ready)
			before, err := p.resident()
			must(t, err)

			node.Kill()
			gone := time.Now()
			within(t, 30*time.Second, "the process says that the bus is away", func() error {
				if err := p.ready(); err == nil || !strings.Contains(err.Error(), "the bus") {
					return fmt.Errorf("ready says %v", err)
				}
				if connected, err := p.metric("kemi_bus_connected", ""); err != nil || connected != 0 {
					return fmt.Errorf("kemi_bus_connected is %v: %v", connected, err)
				}
				return nil
			})
			late := m.join()
			within(t, 30*time.Second, "a process that starts meanwhile stays, and says why it waits", func() error {
				if err := late.ready(); err == nil || !strings.Contains(err.Error(), "the bus was not reached yet") {
					return fmt.Errorf("ready says %v", err)
				}
				return nil
			})
			highest := before
			within(t, away+30*time.Second, "the broker stays away", func() error {
				now, err := p.resident()
				must(t, err)
				highest = max(highest, now)
				if time.Since(gone) < away {
					return fmt.Errorf("%s so far", time.Since(gone))
				}
				return nil
			})
			if grown := highest - before; grown > 128<<20 {
				t.Errorf("%d MiB more while the broker was away", grown>>20)
			}
			node.Start()
			node.Ready()
			within(t, 60*time.Second, "the process goes on by itself", p.ready)
			within(t, 60*time.Second, "the late one begins by itself", late.ready)
			within(t, 60*time.Second, "everything is up", func() error { return allUp(p, m.devices) })
			missed, err := p.metric("kemi_scheduler_slots_missed_total", "")
			must(t, err)
			if least := away.Seconds() * float64(m.devices) / 2; missed < least {
				t.Errorf("%v slots were counted as missed in %s, want %v and more", missed, away, least)
			}
			if all := m.hook.list(); len(all) > 0 {
				t.Errorf("people were told: %+v", all)
			}
			t.Logf("away for %s: %v slots missed, resident %d MiB before, at most %d MiB meanwhile", away, missed, before>>20, highest>>20)
		})
	}
}
