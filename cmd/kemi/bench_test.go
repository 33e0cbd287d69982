package main

import (
	"bufio"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gosnmp/gosnmp"

	"kemi.dev/kemi/internal/netns"
)

// The standard device poll: sysUpTime, sysName and 11 interface columns of 50 interfaces, 552 values.
var standardColumns = []string{
	".1.3.6.1.2.1.31.1.1.1.6", ".1.3.6.1.2.1.31.1.1.1.10", ".1.3.6.1.2.1.31.1.1.1.7", ".1.3.6.1.2.1.31.1.1.1.11",
	".1.3.6.1.2.1.2.2.1.14", ".1.3.6.1.2.1.2.2.1.20", ".1.3.6.1.2.1.2.2.1.13", ".1.3.6.1.2.1.2.2.1.19",
	".1.3.6.1.2.1.31.1.1.1.15", ".1.3.6.1.2.1.2.2.1.7", ".1.3.6.1.2.1.2.2.1.8",
}

// metrics reads the process's own metrics, summed over labels.
func (p *process) metrics(t testing.TB) map[string]float64 {
	t.Helper()
	resp, err := http.Get("http://" + p.addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	all := map[string]float64{}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		name, value, ok := strings.Cut(lines.Text(), " ")
		if !ok || strings.HasPrefix(name, "#") {
			continue
		}
		name, _, _ = strings.Cut(name, "{")
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			all[name] += v
		}
	}
	return all
}

// after waits by the clock: these benchmarks measure what happens in a span of time.
func after(d time.Duration) { <-time.After(d) }

// BenchmarkStandardPoll measures CPU time per standard device poll, from the packet to the stored sample with two rules
// evaluated, in the real process on a real net-snmp agent, and gosnmp alone on the same agent in the same run.
func BenchmarkStandardPoll(b *testing.B) {
	host := netns.New(b, 20)
	host.Pairs(b, 24) // With lo and the way out: 50.
	host.Snmpd(b)
	addr := freeAddr(b)
	var targets strings.Builder
	const devices = 60
	for i := range devices {
		fmt.Fprintf(&targets, "  - {id: device-%02d, class: switch, address: %q}\n", i, host.Address+":161")
	}
	dir := files(b, map[string]string{
		"kemi.yaml": fmt.Sprintf(`listen: %s
cmdb: [{file: {path: targets.yaml}}]
credentials: {lab: {snmp: {version: 2c, community: public}}}
rules: [rules.yaml]
log: {level: warn}
`, addr),
		"targets.yaml": "classes: {switch: {checks: [{kind: snmp, every: 1s, profile: interfaces, credential: lab}]}}\ntargets:\n" + targets.String(),
		"rules.yaml": `groups:
  - name: two
    rules:
      - {alert: Saturated, expr: "rate(ifHCInOctets[1m]) * 8 > 0.9 * ifHighSpeed * 1e6", for: 1m}
      - {alert: LinkLost, expr: "ifOperStatus != 1 and ifAdminStatus == 1", for: 1m}
`,
	})
	p := start(b, filepath.Join(dir, "kemi.yaml"), addr)
	after(10 * time.Second)
	m0 := p.metrics(b)
	after(20 * time.Second)
	m1 := p.metrics(b)
	delta := func(name string) float64 { return m1[name] - m0[name] }
	polls := delta("kemi_collector_polls_total")
	if polls < devices*10 {
		b.Fatalf("only %v polls in 20 s", polls)
	}
	kemi := 1000 * delta("process_cpu_seconds_total") / polls
	p.kill()

	floor := gosnmpAlone(b, host.Address)
	b.ReportMetric(kemi, "kemi-cpu-ms/poll")
	b.ReportMetric(floor, "gosnmp-cpu-ms/poll")
	b.ReportMetric(kemi/floor, "ratio")
	b.ReportMetric(delta("kemi_series_samples_written_total")/polls, "samples/poll")
	b.ReportMetric(0, "ns/op")
}

// gosnmpAlone reads the same with gosnmp and throws the values away; CPU in ms per poll.
func gosnmpAlone(b *testing.B, address string) float64 {
	b.Helper()
	g := &gosnmp.GoSNMP{Target: address, Port: 161, Version: gosnmp.Version2c, Community: "public", Timeout: 2 * time.Second, MaxRepetitions: 50}
	if err := g.Connect(); err != nil {
		b.Fatal(err)
	}
	defer g.Conn.Close()
	const polls = 100
	values := 0
	began := cpu()
	for range polls {
		if _, err := g.Get([]string{".1.3.6.1.2.1.1.3.0", ".1.3.6.1.2.1.1.5.0"}); err != nil {
			b.Fatal(err)
		}
		for _, column := range standardColumns {
			if err := g.BulkWalk(column, func(gosnmp.SnmpPDU) error { values++; return nil }); err != nil {
				b.Fatal(err)
			}
		}
	}
	if values != polls*550 {
		b.Fatalf("%d values in %d polls, want 550 each", values, polls)
	}
	return float64(cpu()-began) / float64(time.Millisecond) / polls
}

// cpu is the CPU time this process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkIdleTargets measures the memory of a process that has 10,000 targets that are not due.
func BenchmarkIdleTargets(b *testing.B) {
	resident := func(n int) float64 {
		addr := freeAddr(b)
		var targets strings.Builder
		for i := range n {
			fmt.Fprintf(&targets, "  - {id: vm-%05d, class: vm, address: %q, labels: {site: dc1, rack: r%d}}\n", i, fmt.Sprintf("127.9.%d.%d", i/250, i%250+1), i%100)
		}
		dir := files(b, map[string]string{
			"kemi.yaml":    fmt.Sprintf("listen: %s\ncmdb: [{file: {path: targets.yaml}}]\ncredentials: {lab: {snmp: {version: 2c, community: public}}}\nlog: {level: warn}\n", addr),
			"targets.yaml": "classes: {vm: {checks: [{kind: snmp, cron: '0 0 1 1 *', profile: system, credential: lab}]}}\ntargets:\n" + targets.String(),
		})
		p := start(b, filepath.Join(dir, "kemi.yaml"), addr)
		within(b, 2*time.Minute, "all targets are known", func() error {
			var all []struct{}
			if err := p.get("/api/kemi/v1/targets", &all); err != nil {
				return err
			}
			if len(all) != n {
				return fmt.Errorf("%d", len(all))
			}
			return nil
		})
		after(15 * time.Second)
		m := p.metrics(b)
		p.kill()
		return m["process_resident_memory_bytes"]
	}
	few, many := resident(10), resident(10000)
	b.ReportMetric(few/(1<<20), "MiB-with-10")
	b.ReportMetric(many/(1<<20), "MiB-with-10000")
	b.ReportMetric((many-few)/9990/1000, "kB/target")
	b.ReportMetric(0, "ns/op")
}
