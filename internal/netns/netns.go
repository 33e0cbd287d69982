// Package netns makes network namespaces with devices in them, for tests against real SNMP agents.
//
// In: a name and what the namespace should hold. Out: a host of its own on this machine, reachable by an address, and
// gone when the test ends.
// It promises to touch no interface that it did not make; a test that cannot have a namespace (not root, no iproute2)
// skips by name, or fails when KEMI_CI is set.
// It never reaches beyond this machine.
package netns

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Host is a network namespace with an address.
type Host struct {
	Name    string
	Address string
}

// Missing skips the test because something is not there, or fails it where it has to be.
func Missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("KEMI_CI") != "" {
		t.Fatalf("%s is missing, and KEMI_CI says that it must be there", what)
	}
	t.Skipf("skipped: %s is missing", what)
}

// New makes a namespace that is reached over a pair of virtual interfaces; index (1 to 250) chooses its addresses.
func New(t testing.TB, index int) *Host {
	t.Helper()
	if os.Geteuid() != 0 {
		Missing(t, "root, to make network namespaces,")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		Missing(t, "ip (Debian package iproute2)")
	}
	h := &Host{Name: fmt.Sprintf("kemi-%d-%d", os.Getpid()%10000, index), Address: fmt.Sprintf("198.18.%d.2", index)}
	outside, inside := fmt.Sprintf("k%do%d", os.Getpid()%10000, index), fmt.Sprintf("k%di%d", os.Getpid()%10000, index)
	t.Cleanup(func() {
		_ = exec.Command("ip", "link", "del", outside).Run() // Its peer goes with it; gone already is fine.
		_ = exec.Command("ip", "netns", "del", h.Name).Run()
	})
	// 198.18.0.0/15 is set aside for tests of this kind (RFC 2544).
	for _, args := range []string{
		"netns add " + h.Name,
		"link add " + outside + " type veth peer name " + inside,
		"link set " + inside + " netns " + h.Name,
		fmt.Sprintf("addr add 198.18.%d.1/30 dev %s", index, outside),
		"link set " + outside + " up",
		fmt.Sprintf("-n %s addr add %s/30 dev %s", h.Name, h.Address, inside),
		fmt.Sprintf("-n %s link set %s up", h.Name, inside),
		fmt.Sprintf("-n %s link set lo up", h.Name),
	} {
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			if strings.HasPrefix(args, "netns add") || strings.Contains(args, "veth") {
				Missing(t, fmt.Sprintf("permission for `ip %s` (%s)", args, strings.TrimSpace(string(out))))
			}
			t.Fatalf("ip %s: %v\n%s", args, err, out)
		}
	}
	return h
}

// IP runs ip(8) in the namespace.
func (h *Host) IP(t testing.TB, args string) {
	t.Helper()
	if out, err := exec.Command("ip", append([]string{"-n", h.Name}, strings.Fields(args)...)...).CombinedOutput(); err != nil {
		t.Fatalf("ip -n %s %s: %v\n%s", h.Name, args, err, out)
	}
}

// Pairs adds n pairs of interfaces that are wired to each other, named eth1 to eth2n, up: eth1 with eth2 and so on.
func (h *Host) Pairs(t testing.TB, n int) {
	t.Helper()
	for i := 1; i < 2*n; i += 2 {
		a, b := fmt.Sprintf("eth%d", i), fmt.Sprintf("eth%d", i+1)
		h.IP(t, "link add "+a+" type veth peer name "+b)
		h.IP(t, "link set "+a+" up")
		h.IP(t, "link set "+b+" up")
	}
}

// Snmpd runs net-snmp's agent in the namespace, community public, on port 161.
func (h *Host) Snmpd(t testing.TB) {
	t.Helper()
	path, err := exec.LookPath("snmpd")
	if err != nil {
		if path = "/usr/sbin/snmpd"; !exists(path) {
			Missing(t, "snmpd (Debian package snmpd)")
		}
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "snmpd.conf")
	content := "rocommunity public\nsysName kemi-test\nsysLocation rack 7\nagentaddress udp:161\n"
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("ip", "netns", "exec", h.Name, path, "-f", "-C", "-c", file, "-Lf", filepath.Join(dir, "log"), "-p", filepath.Join(dir, "pid"))
	cmd.Env = append(os.Environ(), "SNMP_PERSISTENT_DIR="+dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // It holds nothing worth keeping.
		_ = cmd.Wait()
	})
	h.await(t, dir)
}

// await returns when the agent answers a hand-made GetRequest for sysUpTime.
func (h *Host) await(t testing.TB, dir string) {
	t.Helper()
	// SEQUENCE { version 1 (v2c), "public", GetRequest { id 1, 0, 0, { sysUpTime.0 NULL } } }
	request := []byte("\x30\x26\x02\x01\x01\x04\x06public\xa0\x19\x02\x01\x01\x02\x01\x00\x02\x01\x00\x30\x0e\x30\x0c\x06\x08\x2b\x06\x01\x02\x01\x01\x03\x00\x05\x00")
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		conn, err := net.Dial("udp", net.JoinHostPort(h.Address, "161"))
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(200 * time.Millisecond))
		_, werr := conn.Write(request)
		n, rerr := conn.Read(make([]byte, 1500))
		conn.Close()
		if werr == nil && rerr == nil && n > 0 {
			return
		}
		if rerr != nil && strings.Contains(rerr.Error(), "refused") {
			// Not listening yet: the answer came at once, so wait a little by hand.
			<-time.After(50 * time.Millisecond)
		}
	}
	log, _ := os.ReadFile(filepath.Join(dir, "log")) // Empty when it could not even start.
	t.Fatalf("snmpd does not answer at %s:\n%s", h.Address, log)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
