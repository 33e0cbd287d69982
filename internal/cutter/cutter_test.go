package cutter_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"

	"kemi.dev/kemi/internal/cutter"
)

// echo answers every byte with itself, and ends a connection when the other side does.
func echo(t *testing.T) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn) // How it ends is what the tests look at from the other side.
			}()
		}
	}()
	return ln.Addr().String()
}

func before(t *testing.T, target string) *cutter.Cutter {
	t.Helper()
	c, err := cutter.New("127.0.0.1:0", target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func dial(t *testing.T, c *cutter.Cutter) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", c.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func say(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := conn.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

func hear(t *testing.T, conn net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != want {
		t.Fatalf("read %q, %v; want %q", got, err, want)
	}
}

func silent(t *testing.T, conn net.Conn) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	var timeout net.Error
	if n, err := conn.Read(make([]byte, 1)); n != 0 || !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Fatalf("read %d bytes, %v; want silence", n, err)
	}
}

func broken(t *testing.T, conn net.Conn) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("read gave %v, want a reset", err)
	}
}

func TestBytesPassUnchangedAndSoDoesTheEnd(t *testing.T) {
	c := before(t, echo(t))
	conn := dial(t, c)
	sent := make([]byte, 20<<20) // More than a direction keeps, so that a slow side holds up the fast one.
	for i := range sent {
		sent[i] = byte(rand.Uint32())
	}
	go func() {
		_, _ = conn.Write(sent) // A failure shows as missing bytes.
		_ = conn.(*net.TCPConn).CloseWrite()
	}()
	got, err := io.ReadAll(conn)
	if err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("%d bytes of %d came back, %v", len(got), len(sent), err)
	}
}

func TestDroppedConnectionsAreResetAndNewOnesRefusedUntilHealed(t *testing.T) {
	c := before(t, echo(t))
	conn := dial(t, c)
	say(t, conn, "a")
	hear(t, conn, "a")
	c.Drop()
	broken(t, conn)
	if _, err := net.Dial("tcp", c.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a new connection: %v, want refused", err)
	}
	if err := c.Heal(); err != nil {
		t.Fatal(err)
	}
	conn = dial(t, c)
	say(t, conn, "b")
	hear(t, conn, "b")
}

func TestWhatIsHeldArrivesLate(t *testing.T) {
	for way, name := range map[cutter.Direction]string{cutter.Up: "up", cutter.Down: "down", cutter.Both: "both"} {
		t.Run(name, func(t *testing.T) {
			c := before(t, echo(t))
			old := dial(t, c)
			say(t, old, "a")
			hear(t, old, "a")
			c.Hold(way)
			say(t, old, "bc")
			young := dial(t, c)
			say(t, young, "d")
			silent(t, old)
			silent(t, young)
			if err := c.Heal(); err != nil {
				t.Fatal(err)
			}
			hear(t, old, "bc")
			hear(t, young, "d")
		})
	}
}

func TestWhatIsSwallowedNeverArrives(t *testing.T) {
	for way, name := range map[cutter.Direction]string{cutter.Up: "up", cutter.Down: "down"} {
		t.Run(name, func(t *testing.T) {
			c := before(t, echo(t))
			conn, idle := dial(t, c), dial(t, c)
			say(t, idle, "x")
			hear(t, idle, "x")
			c.Swallow(way)
			say(t, conn, "a")
			silent(t, conn)
			if err := c.Heal(); err != nil {
				t.Fatal(err)
			}
			broken(t, conn) // A stream with a hole in it must not go on.
			say(t, idle, "y")
			hear(t, idle, "y")
		})
	}
}

func TestDelayedBytesComeInOrderAndNotBeforeTheirTime(t *testing.T) {
	c := before(t, echo(t))
	conn := dial(t, c)
	c.Delay(60 * time.Millisecond)
	began := time.Now()
	say(t, conn, "ab")
	say(t, conn, "cd")
	hear(t, conn, "abcd")
	if took := time.Since(began); took < 120*time.Millisecond {
		t.Errorf("there and back took %s, want at least 120ms", took)
	}
}

func TestATargetThatIsGoneResets(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	c := before(t, ln.Addr().String())
	conn, err := net.Dial("tcp", c.Addr())
	if err != nil { // Reset before the dial was told that it worked: that is what is wanted, too.
		return
	}
	defer conn.Close()
	broken(t, conn)
}

func TestClosingLeavesNothingBehind(t *testing.T) {
	target := echo(t)
	was := runtime.NumGoroutine()
	c := before(t, target)
	var conns []net.Conn
	for range 20 {
		conn := dial(t, c)
		say(t, conn, "a")
		hear(t, conn, "a")
		conns = append(conns, conn)
	}
	if c.Conns() != 20 {
		t.Errorf("%d connections, want 20", c.Conns())
	}
	c.Hold(cutter.Both)
	say(t, conns[0], "b")
	c.Close()
	c.Close()
	for _, conn := range conns {
		conn.Close()
	}
	if c.Conns() != 0 {
		t.Errorf("%d connections are left", c.Conns())
	}
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > was; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), was)
		}
	}
	if err := c.Heal(); err != nil {
		t.Fatal(err)
	}
	if _, err := net.Dial("tcp", c.Addr()); err == nil {
		t.Error("a closed cutter was healed")
	}
}
