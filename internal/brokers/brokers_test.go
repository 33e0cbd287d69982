package brokers_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"kemi.dev/kemi/internal/brokers"
)

// The variable makes the test below the victim: it starts a broker, says where, and waits to be killed.
const victim = "KEMI_TEST_VICTIM"

func TestIntegrationABrokerDiesWithATestThatIsKilled(t *testing.T) {
	short(t)
	if os.Getenv(victim) != "" {
		fmt.Printf("listens on %s\n", brokers.NATS(t, 1).Nodes[0].Addr)
		<-t.Context().Done()
		return
	}
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), victim+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	addr := ""
	for lines := bufio.NewScanner(out); addr == "" && lines.Scan(); {
		_, addr, _ = strings.Cut(lines.Text(), "listens on ")
	}
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatalf("the broker at %q: %v", addr, err)
	}
	conn.Close()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // It was killed.
	within(t, 10*time.Second, "the broker is gone", func(context.Context) error {
		conn, err := net.Dial("tcp", addr)
		if errors.Is(err, syscall.ECONNREFUSED) {
			return nil
		}
		if err == nil {
			conn.Close()
		}
		return fmt.Errorf("it is still there: %w", err)
	})
}

func TestAddressesAreOneTestsOwn(t *testing.T) {
	seen := map[string]bool{}
	for range 50 {
		addr := brokers.Address(t)
		if seen[addr] {
			t.Fatalf("%s was given twice", addr)
		}
		seen[addr] = true
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		ln.Close()
	}
}

func TestCertificatesAreGoodForWhatTheySay(t *testing.T) {
	ca := brokers.NewCA(t)
	for name, c := range map[string]struct {
		cert brokers.Cert
		good bool
	}{
		"here":      {brokers.Cert{Name: "a"}, true},
		"expired":   {brokers.Cert{Name: "a", NotAfter: time.Now().Add(-time.Hour)}, false},
		"elsewhere": {brokers.Cert{Name: "a", Hosts: []string{"elsewhere.example"}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			err := handshake(t, ca, c.cert)
			if (err == nil) != c.good {
				t.Errorf("handshake: %v", err)
			}
		})
	}
}
