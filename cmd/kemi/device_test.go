package main

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"kemi.dev/kemi/internal/netns"
)

// TestIntegrationARealDeviceFromPacketToPage polls net-snmp's agent in a network namespace with the real process,
// compares what the query API says with snmpbulkwalk, takes an interface away and waits for the page, and for the page
// that it is over.
func TestIntegrationARealDeviceFromPacketToPage(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: make integration runs it")
	}
	walk, err := exec.LookPath("snmpbulkwalk")
	if err != nil {
		netns.Missing(t, "snmpbulkwalk (Debian package snmp)")
	}
	host := netns.New(t, 10)
	host.Pairs(t, 3)
	host.Snmpd(t)
	hook := newReceiver(t)
	addr := freeAddr(t)
	dir := files(t, map[string]string{
		"kemi.yaml": fmt.Sprintf(`listen: %s
canary_every: 1s
cmdb: [{file: {path: targets.yaml}}]
credentials: {lab: {snmp: {version: 2c, community: public}}}
rules: [rules.yaml]
receivers: {hook: {webhook: {url: %q}}}
teams: {network: {receiver: hook}, default: {receiver: hook}}
alerting: {group_wait: 1s}
`, addr, hook.URL),
		"targets.yaml": fmt.Sprintf(`classes: {server: {checks: [{kind: snmp, every: 1s, profile: interfaces, credential: lab}]}}
targets: [{id: box, class: server, address: %q, team: network}]
`, host.Address+":161"),
		"rules.yaml": `groups:
  - name: links
    rules:
      - alert: LinkLost
        expr: ifOperStatus != 1 and ifAdminStatus == 1
        for: 2s
        labels: {severity: critical}
        annotations: {summary: "{{ $labels.ifName }} of {{ $labels.target }} lost its link (ifOperStatus {{ $value }})"}
`,
	})
	config := filepath.Join(dir, "kemi.yaml")

	code, out, errs := kemi(t, "poll", "box", "-c", config, "-o", "json")
	if code != 0 {
		t.Fatalf("kemi poll: %d %s", code, errs)
	}
	var reading struct {
		Status string
		Tables []struct {
			Name string
			Rows []struct {
				Labels map[string]string
				Values map[string]any
			}
		}
	}
	must(t, json.Unmarshal([]byte(out), &reading))
	rows := 0
	for _, table := range reading.Tables {
		if table.Name == "interfaces" {
			rows = len(table.Rows)
		}
	}
	if reading.Status != "ok" || rows != 8 {
		t.Errorf("kemi poll: status %q, %d interfaces, want ok and 8:\n%s", reading.Status, rows, out)
	}

	p := start(t, config, addr)
	within(t, 20*time.Second, "the series are there", func() error {
		got, err := p.query(`ifHCInOctets{target="box"}`, "ifName")
		if err == nil && len(got) != 8 {
			err = fmt.Errorf("%d series", len(got))
		}
		return err
	})

	// What changes least says most: counters of interfaces without traffic, and constants.
	for column, oid := range map[string]string{
		"ifHighSpeed": "1.3.6.1.2.1.31.1.1.1.15", "ifOperStatus": "1.3.6.1.2.1.2.2.1.8", "ifAdminStatus": "1.3.6.1.2.1.2.2.1.7",
		"ifInErrors": "1.3.6.1.2.1.2.2.1.14", "ifHCInOctets": "1.3.6.1.2.1.31.1.1.1.6",
	} {
		within(t, 20*time.Second, column+" agrees with snmpbulkwalk", func() error {
			before := walked(t, walk, host.Address, oid)
			got, err := p.query(fmt.Sprintf(`%s{target="box"}`, column), "ifIndex")
			if err != nil {
				return err
			}
			after := walked(t, walk, host.Address, oid)
			if len(got) != len(after) {
				return fmt.Errorf("%d values, snmpbulkwalk has %d", len(got), len(after))
			}
			for index, v := range got {
				// Between two walks with nothing in between the value must be one of those in between; the sample
				// is up to one interval older than the first walk.
				if column == "ifHCInOctets" && v <= after[index] && v >= before[index]-20000 {
					continue
				}
				if v != after[index] {
					return fmt.Errorf("ifIndex %s: %v, snmpbulkwalk says %v", index, v, after[index])
				}
			}
			return nil
		})
	}

	host.IP(t, "link set eth1 down") // Its peer eth2 stays up and loses its link.
	within(t, 30*time.Second, "the page", func() error {
		all := hook.list()
		if len(all) != 1 || all[0].Status != "firing" || all[0].Cause != "box" || !strings.Contains(all[0].Title, "LinkLost") {
			return fmt.Errorf("got %+v", all)
		}
		return nil
	})
	t.Logf("page: %+v", hook.list()[0])
	host.IP(t, "link set eth1 up")
	within(t, 30*time.Second, "the page that it is over", func() error {
		all := hook.list()
		if len(all) != 2 || all[1].Status != "resolved" || all[1].Dedup != all[0].Dedup {
			return fmt.Errorf("got %+v", all)
		}
		return nil
	})
	if took := p.stop(); took > stopsWithin {
		t.Errorf("stopping took %s", took)
	}
}

// walked returns a column by index as net-snmp reads it.
func walked(t *testing.T, walk, address, oid string) map[string]float64 {
	t.Helper()
	out, err := exec.Command(walk, "-v2c", "-c", "public", "-On", "-Oe", "-Oq", "-OU", address, oid).Output()
	if err != nil {
		t.Fatalf("snmpbulkwalk: %v", err)
	}
	all := map[string]float64{}
	for line := range strings.Lines(string(out)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			t.Fatalf("snmpbulkwalk said %q", line)
		}
		all[name[strings.LastIndexByte(name, '.')+1:]] = v
	}
	return all
}
