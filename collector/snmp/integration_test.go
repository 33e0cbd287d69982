package snmp

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/conf"
)

// need finds a program of a Debian package for make integration; without it the test is skipped, or with KEMI_CI=1 fails.
func need(t testing.TB, program, debian string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("tests with real agents are not short")
	}
	for _, at := range []string{program, "/usr/sbin/" + program} {
		if path, err := exec.LookPath(at); err == nil {
			return path
		}
	}
	absent(t, fmt.Sprintf("%s is not installed: apt-get install %s", program, debian))
	return ""
}

func absent(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("KEMI_CI") == "1" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// freePort finds a UDP port of 127.0.0.1 that nobody has.
func freePort(t testing.TB) string {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.LocalAddr().String()
}

// background runs a program until the test ends.
func background(t testing.TB, name string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, name, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 3 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s said: %.2000s", name, out.String())
		}
	})
}

// pollUntil polls until the target answers: it may still be starting.
func pollUntil(t testing.TB, p *Poller, j *event.Job, within time.Duration) *event.Reading {
	t.Helper()
	for end := time.Now().Add(within); ; {
		r := p.Poll(t.Context(), j)
		if r.Status.Up() || time.Now().After(end) {
			return r
		}
		if r.Status == event.StatusRefused {
			wait, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			<-wait.Done()
			cancel()
		}
	}
}

// startSnmpd runs Debian's agent and returns its address.
func startSnmpd(t testing.TB) string {
	t.Helper()
	snmpd := need(t, "snmpd", "snmpd")
	dir, address := t.TempDir(), freePort(t)
	file := filepath.Join(dir, "snmpd.conf")
	if err := os.WriteFile(file, []byte("rocommunity public 127.0.0.1\nagentaddress udp:"+address+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SNMP_PERSISTENT_DIR", dir)
	background(t, snmpd, "-f", "-C", "-c", file, "-Lo", "-p", filepath.Join(dir, "pid"))
	return address
}

// What we read from Debian's snmpd is what net-snmp's own snmpbulkwalk reads from it.
func TestIntegrationValuesAreThoseOfNetSNMP(t *testing.T) {
	walk := need(t, "snmpbulkwalk", "snmp")
	address := startSnmpd(t)
	p := newPoller(t, "timeout: 1s")
	j := job(address, "host-resources")
	before := pollUntil(t, p, j, 20*time.Second)
	want(t, before, event.StatusOK, "")
	// theirs gives the values of a column by row.
	theirs := func(o oid) map[string]string {
		out, err := exec.Command(walk, "-v2c", "-cpublic", "-OnqUet", "-Cr20", address, o.String()).Output()
		if err != nil {
			t.Fatal(err)
		}
		rows := map[string]string{}
		for line := range strings.Lines(string(out)) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
			rows[strings.TrimPrefix(name, "."+o.String()+".")] = strings.Trim(value, `"`)
		}
		return rows
	}
	judge := map[string]map[string]string{}
	plan := p.profiles["host-resources"]
	for _, tb := range plan.tables {
		for _, c := range tb.columns {
			judge[c.name] = theirs(c.oid)
		}
	}
	names := theirs(mustOID("1.3.6.1.2.1.31.1.1.1.1"))
	after := p.Poll(t.Context(), j)
	want(t, after, event.StatusOK, "")
	compared := 0
	for i := range after.Tables {
		tb := &after.Tables[i]
		if len(tb.Index) == 0 {
			continue
		}
		for k := range tb.Columns {
			c := &tb.Columns[k]
			if got, want := tb.Rows-len(c.Missing), len(judge[c.Name]); got != want {
				t.Errorf("%s has %d values, snmpbulkwalk reads %d", c.Name, got, want)
			}
			for row, index := range tb.Index[0].Values {
				text, there := judge[c.Name][index]
				if !there {
					continue
				}
				value, err := strconv.ParseFloat(text, 64)
				if err != nil {
					t.Fatalf("snmpbulkwalk says %s.%s is %q", c.Name, index, text)
				}
				first := tableOf(t, before, tb.Name)
				low, high := cell(columnOf(t, first, c.Name), row), cell(c, row)
				// What moves was read before and after: hrStorageUsed and hrProcessorLoad move both ways.
				moves := c.Name == "hrStorageUsed" || c.Name == "hrProcessorLoad" || c.Name == "hrStorageSize"
				if !moves && (value < low || value > high) || moves && value < 0 {
					t.Errorf("%s.%s is %v then %v, snmpbulkwalk read %v in between", c.Name, index, low, high, value)
				}
				compared++
			}
		}
		if tb.Name == "interfaces" {
			for row, name := range labelOf(t, tb, "ifName") {
				if index := tb.Index[0].Values[row]; names[index] != name {
					t.Errorf("interface %s is %q, snmpbulkwalk reads %q", index, name, names[index])
				}
			}
		}
	}
	if compared < 30 {
		t.Errorf("only %d values were compared", compared)
	}
}

func cell(c *event.Column, row int) float64 {
	if c.Kind == event.Counter {
		return float64(c.Counters[row])
	}
	return c.Gauges[row]
}

// recordings lists the walks of real devices.
func recordings(t testing.TB) []string {
	t.Helper()
	shared := os.Getenv("KEMI_SHARED")
	if shared == "" {
		shared = "../../../shared" // beside the repository's root
	}
	files, _ := filepath.Glob(filepath.Join(shared, "walks", "*.snmprec.bz2"))
	if len(files) == 0 {
		absent(t, "no recordings of walks in "+shared+"/walks: set KEMI_SHARED")
	}
	return files
}

// unpack puts what a recording has of the groups that our profiles read (and their neighbours) where snmpsim reads it,
// and returns how many values each column of a plan has in it. All of it would take snmpsim a minute to index.
func unpack(t testing.TB, file, to string, plan *plan) map[string]int {
	t.Helper()
	in, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	columns := map[string]string{}
	for _, tb := range plan.tables {
		for _, c := range tb.columns {
			columns[c.oid.String()+"."] = c.name
		}
	}
	counts := map[string]int{}
	lines := bufio.NewScanner(bzip2.NewReader(in))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		name, _, _ := strings.Cut(lines.Text(), "|")
		arcs := strings.SplitN(name, ".", 8)
		if len(arcs) < 8 || !slices.Contains([]string{"1", "2", "4", "25", "31"}, arcs[6]) || !strings.HasPrefix(name, "1.3.6.1.2.1.") {
			continue
		}
		if _, err := fmt.Fprintln(out, lines.Text()); err != nil {
			t.Fatal(err)
		}
		for prefix, column := range columns {
			if strings.HasPrefix(name, prefix) {
				counts[column]++
			}
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return counts
}

// Every recorded device is read whole, by both profiles, through snmpsim.
func TestIntegrationRecordedDevicesAreReadWhole(t *testing.T) {
	snmpsim := need(t, "snmpsimd", "snmpsim")
	files := recordings(t)
	data, cache, address := t.TempDir(), t.TempDir(), freePort(t)
	p := newPoller(t, "timeout: 5s, retries: 3")
	counts := map[string]map[string]int{}
	for _, f := range files {
		device, _, _ := strings.Cut(filepath.Base(f), ".")
		counts[device] = unpack(t, f, filepath.Join(data, device+".snmprec"), p.profiles["host-resources"])
	}
	for _, dir := range []string{data, cache, filepath.Dir(data)} {
		if err := os.Chmod(dir, 0o777); err != nil { // snmpsimd does not run as root.
			t.Fatal(err)
		}
	}
	args := []string{"--data-dir=" + data, "--cache-dir=" + cache, "--agent-udpv4-endpoint=" + address, "--logging-method=null"}
	if os.Geteuid() == 0 {
		args = append(args, "--process-user=nobody", "--process-group=nogroup")
	}
	background(t, snmpsim, args...)
	base := p.credentials["lab"]
	for device, want := range counts {
		t.Run(device, func(t *testing.T) {
			c := base
			c.Community = conf.NewSecret(device) // snmpsim finds a recording by community
			p.credentials[device] = c
			for _, profile := range []string{"interfaces", "host-resources"} {
				j := job(address, profile)
				j.Target, j.Credential = device, device
				j.Deadline = time.Now().Add(time.Minute)
				r := pollUntil(t, p, j, 60*time.Second)
				if r.Status != event.StatusOK {
					t.Fatalf("%s: %s, %s", profile, r.Status, r.Message)
				}
				got := map[string]int{}
				for i := range r.Tables {
					tb := &r.Tables[i]
					for k := range tb.Columns {
						got[tb.Columns[k].Name] = tb.Rows - len(tb.Columns[k].Missing)
					}
				}
				for _, tb := range p.profiles[profile].tables {
					for _, c := range tb.columns {
						if got[c.name] != want[c.name] {
							t.Errorf("%s has %d values, the recording %d", c.name, got[c.name], want[c.name])
						}
					}
				}
				if r.Booted.IsZero() || r.Values() == 0 {
					t.Errorf("%s: booted %s, %d values", profile, r.Booted, r.Values())
				}
			}
		})
	}
}
