package brokers

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// Ports lie below those the kernel gives to outgoing connections: while a broker is dead a client that tries its
// port from a port of the kernel's choice could otherwise meet itself there, and the broker never come back.
const (
	firstPort = 11000
	lastPort  = 31999
)

// Address reserves a loopback address nobody listens on. It stays the test's own until its end: a lock file per port
// keeps other tests away, of this process and of others on this machine, also while nothing listens.
func Address(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(os.TempDir(), "kemi-test-ports")
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	_ = os.Chmod(dir, 0o777) // Others' to share; it fails where they made it.
	for range 1000 {
		port := firstPort + rand.IntN(lastPort-firstPort)
		lock, err := os.OpenFile(filepath.Join(dir, fmt.Sprint(port)), os.O_CREATE|os.O_RDWR, 0o666)
		if err != nil {
			continue
		}
		addr := fmt.Sprintf("127.0.0.1:%d", port)
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil && free(addr) {
			t.Cleanup(func() { lock.Close() })
			return addr
		}
		lock.Close()
	}
	t.Fatal("no port is free between 11000 and 31999")
	return ""
}

func free(addr string) bool {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return false
	}
	return ln.Close() == nil
}
