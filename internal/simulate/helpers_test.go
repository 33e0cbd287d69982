package simulate

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/gosnmp/gosnmp"
)

// testListen is a range of its own for each caller; port 0 takes a free port,
// so tests may run side by side.
func testListen(t testing.TB) Listen {
	t.Helper()
	l, err := ParseListen("127.77.0.0/16:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// start runs a fleet until the test ends and returns it when it is ready.
func start(t testing.TB, cfg Config) *Fleet {
	t.Helper()
	f, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("Run does not return when its context ends")
		}
	})
	select {
	case <-f.Ready():
	case err := <-done:
		done <- nil
		t.Fatalf("Run: %v", err)
	case <-time.After(10 * time.Second):
		t.Fatal("the fleet does not become ready")
	}
	return f
}

func uniform(t testing.TB, n int, class Class, ports int) []Device {
	t.Helper()
	devices, err := Uniform(n, class, ports, testListen(t))
	if err != nil {
		t.Fatal(err)
	}
	return devices
}

// client is a gosnmp client of one device, with a short patience.
func client(t testing.TB, to netip.AddrPort, version gosnmp.SnmpVersion) *gosnmp.GoSNMP {
	t.Helper()
	g := &gosnmp.GoSNMP{
		Target: to.Addr().String(), Port: to.Port(), Community: "public", Version: version,
		Timeout: 2 * time.Second, Retries: 0, MaxOids: 100, MaxRepetitions: 25,
	}
	if err := g.Connect(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Conn.Close() })
	return g
}

// impatient asks for sysUpTime and waits only a moment.
func impatient(t testing.TB, to netip.AddrPort) error {
	t.Helper()
	g := client(t, to, gosnmp.Version2c)
	g.Timeout = 150 * time.Millisecond
	_, err := g.Get([]string{upTimeOID})
	return err
}

const upTimeOID = ".1.3.6.1.2.1.1.3.0"

// eventually waits until ok holds, looking again every few milliseconds.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("never happened: %s", what)
		case <-tick.C:
		}
	}
}
