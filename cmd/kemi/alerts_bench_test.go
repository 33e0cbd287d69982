package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// spent is the CPU time that a running process has used.
func (p *process) spent(b *testing.B) time.Duration {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, err := strconv.Atoi(fields[12])
	if err != nil {
		b.Fatal(err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond // Linux counts in hundredths.
}

// BenchmarkActiveAlerts has the real process take in 100,000 alerts by Alertmanager's API, of 2,500 racks with 40 hosts each
// that the CMDB does not know; KEMI_ALERTS says how many instead. What is listed by a filter, what the process keeps in
// memory and uses while nothing happens, and how it is back after kill -9, all alerts with it.
func BenchmarkActiveAlerts(b *testing.B) {
	n := 100_000
	if text := os.Getenv("KEMI_ALERTS"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	addr := freeAddr(b)
	dir := files(b, map[string]string{"kemi.yaml": fmt.Sprintf(`listen: %s
receivers: {box: {inbox: {}}}
teams: {default: {receiver: box}}
log: {level: warn}
series: []
alertmanager: {max_firing: %d}
`, addr, 2*n)})
	p := start(b, filepath.Join(dir, "kemi.yaml"), addr)
	within(b, time.Minute, "ready", p.ready)
	report := func(v float64, unit string) { b.ReportMetric(v, unit) }

	handled := func(n int) func() error {
		return func() error {
			got, err := p.metric("kemi_bus_handled_total", `group="alerting",topic="alerts.v1"`)
			if err == nil && int(got) < n {
				err = fmt.Errorf("%v handled", got)
			}
			return err
		}
	}
	before := p.spent(b)
	ends := time.Now().Add(12 * time.Hour).UTC().Format(time.RFC3339)
	for at := 0; at < n; at += 500 {
		var all []map[string]any
		for i := at; i < min(n, at+500); i++ {
			all = append(all, map[string]any{
				"labels":      map[string]string{"alertname": "DiskFull", "instance": fmt.Sprint("host-", i), "rack": fmt.Sprint("rack-", i/40), "severity": "critical", "job": "node", "site": "west"},
				"annotations": map[string]string{"summary": fmt.Sprintf("the disk of host-%d is full", i)}, "endsAt": ends,
			})
		}
		body, err := json.Marshal(all)
		if err != nil {
			b.Fatal(err)
		}
		resp, err := http.Post("http://"+addr+"/api/v2/alerts", "application/json", bytes.NewReader(body))
		if err != nil {
			b.Fatal(err)
		}
		if text, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
			b.Fatalf("%s: %s", resp.Status, text)
		}
		resp.Body.Close()
		within(b, 10*time.Minute, "alerting keeps up", handled(at-4000))
	}
	within(b, 10*time.Minute, "alerting knows of all", handled(n))
	report((p.spent(b)-before).Seconds()*1e6/float64(n), "intake-cpu-µs/alert")

	query := "/api/v2/alerts?active=true&filter=" + url.QueryEscape(`rack="rack-7"`)
	list := func() error {
		var all []struct{}
		err := p.get(query, &all)
		if err == nil && len(all) != 40 {
			err = fmt.Errorf("%d of the 40 alerts of a rack", len(all))
		}
		return err
	}
	within(b, 10*time.Minute, "the alerts of a rack are listed", list)
	after(30 * time.Second) // Incidents are told, and what is left of the intake is collected.

	idle := p.spent(b)
	after(20 * time.Second)
	report((p.spent(b)-idle).Seconds()*1000/20, "idle-cpu-ms/s")

	idle = p.spent(b)
	const times = 20
	began := time.Now()
	for range times {
		if err := list(); err != nil {
			b.Fatal(err)
		}
	}
	report(time.Since(began).Seconds()*1000/times, "list-ms")
	report((p.spent(b)-idle).Seconds()*1000/times, "list-cpu-ms")
	rss, err := p.resident()
	if err != nil {
		b.Fatal(err)
	}
	report(float64(rss)/(1<<20), "MiB")

	p.kill()
	began = time.Now()
	p.start()
	within(b, 5*time.Minute, "ready again", p.ready)
	report(time.Since(began).Seconds(), "restart-s")
	report(p.spent(b).Seconds(), "restart-cpu-s")
	if err := list(); err != nil {
		b.Errorf("ready, and it does not know all: %v", err)
	}
	if rss, err = p.resident(); err != nil {
		b.Fatal(err)
	}
	report(float64(rss)/(1<<20), "MiB-restarted")
	report(0, "ns/op")
}
