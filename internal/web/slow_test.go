package web

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// served answers with fast limits until the test is over, and returns the address.
func served(t *testing.T, p pace, h http.HandlerFunc) string {
	t.Helper()
	ln, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, ln, h, p) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return ln.Addr().String()
}

// dial connects and sends the head of a request.
func dial(t *testing.T, address, head string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, strings.ReplaceAll(head, "\n", "\r\n")); err != nil {
		t.Fatal(err)
	}
	return conn
}

// drip sends a byte every now and then until the other side hangs up or n were sent, and returns how many.
func drip(t *testing.T, conn net.Conn, n int, every time.Duration) int {
	t.Helper()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for i := range n {
		if _, err := conn.Write([]byte{'x'}); err != nil {
			return i
		}
		<-tick.C
	}
	return n
}

// A client that sends its body a byte at a time is cut off, whether anybody reads the body or not; one that is merely on a
// thin line is heard to the end.
func TestABodyThatComesTooSlowlyIsCutOff(t *testing.T) {
	for _, read := range []bool{true, false} {
		for _, coding := range []string{"Content-Length: 100000", "Transfer-Encoding: chunked"} {
			ended := make(chan error, 1)
			address := served(t, pace{first: 300 * time.Millisecond, rate: 1000}, func(w http.ResponseWriter, r *http.Request) {
				var err error
				if read {
					_, err = io.ReadAll(r.Body)
				}
				ended <- err
			})
			began := time.Now()
			conn := dial(t, address, "POST / HTTP/1.1\nHost: x\n"+coding+"\n\n")
			if strings.HasPrefix(coding, "Transfer") {
				io.WriteString(conn, "186a0\r\n")
			}
			if n := drip(t, conn, 1000, 10*time.Millisecond); n == 1000 {
				t.Errorf("%s, read %v: it was never cut off", coding, read)
			}
			if err := <-ended; read && !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: the handler got %v", coding, err)
			}
			if took := time.Since(began); took > 8*time.Second {
				t.Errorf("%s, read %v: it took %s", coding, read, took)
			}
		}
	}
}

func TestABodyThatComesFastEnoughIsHeardToTheEnd(t *testing.T) {
	address := served(t, pace{first: 300 * time.Millisecond, rate: 50}, func(w http.ResponseWriter, r *http.Request) {
		data, err := io.ReadAll(r.Body)
		fmt.Fprint(w, len(data), err)
	})
	conn := dial(t, address, "POST / HTTP/1.1\nHost: x\nContent-Length: 80\n\n")
	if n := drip(t, conn, 80, 10*time.Millisecond); n != 80 { // Longer than 300 ms.
		t.Fatalf("it was cut off after %d", n)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if data, _ := io.ReadAll(resp.Body); string(data) != "80 <nil>" {
		t.Errorf("%s", data)
	}
}

// An answer may take as long as it likes: neither the request's body, once it is read, nor that there is none ends it, and its
// client's leaving still does.
func TestAnAnswerMayTakeLong(t *testing.T) {
	left := make(chan error, 1)
	address := served(t, pace{first: 50 * time.Millisecond, rate: 1000}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/read" {
			io.ReadAll(r.Body)
		} else if r.URL.Path == "/known" {
			io.ReadFull(r.Body, make([]byte, 2)) // All of it, and no end.
		}
		for range 5 {
			fmt.Fprintln(w, "line")
			w.(http.Flusher).Flush()
			select {
			case <-time.After(50 * time.Millisecond):
			case <-r.Context().Done():
				fmt.Fprintln(w, "nobody listens")
			}
		}
		if r.URL.Path == "/left" {
			<-r.Context().Done()
			left <- r.Context().Err()
		}
	})
	for _, head := range []string{
		"GET / HTTP/1.1\nHost: x\n\n", "POST /read HTTP/1.1\nHost: x\nContent-Length: 2\n\n{}", "POST /known HTTP/1.1\nHost: x\nContent-Length: 2\n\n{}",
		"POST /read HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\n\n2\n{}\n0\n\n",
	} {
		resp, err := http.ReadResponse(bufio.NewReader(dial(t, address, head)), nil)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || strings.Count(string(data), "line") != 5 || strings.Contains(string(data), "nobody") {
			t.Errorf("%.20q: %q %v", head, data, err)
		}
	}
	conn := dial(t, address, "GET /left HTTP/1.1\nHost: x\n\n")
	bufio.NewReader(conn).ReadString('\n')
	conn.Close()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("its client left: %v", err)
	}
}
