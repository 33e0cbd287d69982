package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/internal/certs"
	"kemi.dev/kemi/internal/obs"
	"kemi.dev/kemi/internal/pause"
)

// counted counts what a driver dials.
func counted(d *Driver) *atomic.Int64 {
	var n atomic.Int64
	d.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		n.Add(1)
		return (&net.Dialer{Timeout: 2 * time.Second}).DialContext(ctx, network, address)
	}
	return &n
}

// busy is a driver that does what a whole Kemi does at once: it reads and writes many partitions, in groups and without.
func busy(t *testing.T, config Config) (d *Driver, dials *atomic.Int64, goesOn func()) {
	t.Helper()
	d, err := New(config, "", obs.Scope{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	d.tuning.lease = 3 * time.Second
	dials = counted(d)
	const topics, parts = 6, 4
	var wanted []driver.Topic
	for i := range topics {
		wanted = append(wanted, driver.Topic{Name: fmt.Sprint("t", i), Partitions: parts})
	}
	wanted = append(wanted, driver.Topic{Name: "w", Partitions: parts, Kind: driver.Work})
	if err := d.Ensure(t.Context(), wanted); err != nil {
		t.Fatal(err)
	}
	var feeds []driver.Feed
	for _, w := range wanted {
		for _, group := range []string{"g", ""} {
			if group == "" && w.Kind == driver.Work {
				continue
			}
			f, err := d.Subscribe(t.Context(), driver.Subscription{Topic: w.Name, Group: group})
			if err != nil {
				t.Fatal(err)
			}
			feeds = append(feeds, f)
		}
	}
	goesOn = func() {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
		defer cancel()
		var records []driver.Record
		for i := range topics {
			records = append(records, driver.Record{Topic: fmt.Sprint("t", i), Partition: i % parts, Key: "k"})
		}
		if err := d.Publish(ctx, append(records, driver.Record{Topic: "w"}), nil); err != nil {
			t.Fatal(err)
		}
		for _, f := range feeds {
			next(t, f, 1)
		}
	}
	goesOn()
	return d, dials, goesOn
}

// writers publish to every partition until ctx ends, whatever comes of it.
func writers(ctx context.Context, d *Driver) (wait func()) {
	var wg sync.WaitGroup
	for i := range 24 {
		wg.Go(func() {
			for ctx.Err() == nil {
				short, cancel := context.WithTimeout(ctx, time.Second)
				_ = d.Publish(short, []driver.Record{{Topic: fmt.Sprint("t", i%6), Partition: i / 6, Key: "late"}}, nil)
				cancel()
				pause.For(ctx, 10*time.Millisecond)
			}
		})
	}
	return wg.Wait
}

// A whole process asks for a broker that is gone, or that hangs up, a few times in a second, not each of its parts for itself.
func TestABrokerThatIsGoneIsDialledAFewTimesASecond(t *testing.T) {
	t.Parallel()
	for name, take := range map[string]func(net.Conn){
		"refuses": nil, "hangs up": func(c net.Conn) { c.Close() }, "says nothing": func(net.Conn) {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			c := fake(t, dir)
			address := c.ListenAddrs()[0]
			port := portOf(t, address)
			d, dials, goesOn := busy(t, Config{Brokers: []string{address}})
			c.Close()
			var l net.Listener
			if take != nil {
				var err error
				if l, err = net.Listen("tcp", address); err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				go func() {
					for {
						c, err := l.Accept()
						if err != nil {
							return
						}
						defer c.Close()
						take(c)
					}
				}()
			}
			before := dials.Load()
			const outage = 6 * time.Second
			ctx, cancel := context.WithTimeout(t.Context(), outage)
			writers(ctx, d)()
			cancel()
			n := dials.Load() - before
			t.Logf("%d dials in %s", n, outage)
			if n > 4*int64(outage/time.Second) || n < 2 {
				t.Errorf("%d dials in %s", n, outage)
			}
			if d.Health() == nil {
				t.Error("it believes itself to be well")
			}
			if l != nil {
				l.Close()
			}
			fake(t, dir, port)
			begin := time.Now()
			if err := d.Publish(t.Context(), []driver.Record{{Topic: "t0", Key: "k"}}, nil); err != nil {
				t.Fatal(err)
			}
			t.Logf("the first record after %s", time.Since(begin).Round(time.Millisecond))
			goesOn()
		})
	}
}

// A broker that was just started has to sign a handshake for each connection of everybody. None is given up half-way, so
// that it comes to an end of them.
func TestABrokerWithSlowHandshakesIsNotAskedToBeginAgain(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	_, _, certFile, keyFile := a.sign(t, "server", nil)
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	var begun, ended, slow atomic.Int64
	var one sync.Mutex // It has one processor.
	secure := &tls.Config{Certificates: []tls.Certificate{pair}, SessionTicketsDisabled: true}
	secure.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		begun.Add(1)
		one.Lock()
		defer one.Unlock()
		pause.For(context.Background(), time.Duration(slow.Load()))
		return nil, nil
	}
	secure.VerifyConnection = func(tls.ConnectionState) error {
		ended.Add(1)
		return nil
	}
	dir := t.TempDir()
	c := fakeWith(t, dir, kfake.TLS(secure))
	address := c.ListenAddrs()[0]
	port := portOf(t, address)
	d, _, goesOn := busy(t, Config{Brokers: []string{address}, TLS: &certs.Client{CAFile: a.file}})
	c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	writers(ctx, d)()
	cancel()
	begun.Store(0)
	ended.Store(0)
	slow.Store(int64(700 * time.Millisecond))
	fakeWith(t, dir, kfake.TLS(secure), kfake.Ports(port))
	ctx, cancel = context.WithTimeout(t.Context(), 8*time.Second)
	writers(ctx, d)()
	cancel()
	if b, e := begun.Load(), ended.Load(); e < 5 || b-e > 5 {
		t.Errorf("of %d handshakes %d were finished", b, e)
	}
	slow.Store(0)
	goesOn()
}

// reached is a way on which attempts end as they are told to.
func reached(t *testing.T, do func(ctx context.Context, nth int) (net.Conn, error)) (*ways, *atomic.Int64) {
	var n atomic.Int64
	p := (&Driver{tuning: defaults(), config: Config{TLS: &certs.Client{}}}).pacesOf()
	w := newWays(p, func(ctx context.Context, _ string) (net.Conn, error) { return do(ctx, int(n.Add(1))) })
	t.Cleanup(w.close)
	return w, &n
}

func pipe() net.Conn {
	c, _ := net.Pipe()
	return c
}

// However long a broker is away and however many ask, the attempts become rare, none of the askers waits long, and the
// first that finds the broker lets all others in within seconds.
func TestOneAttemptAnswersAllAndTheFirstSuccessLetsAllIn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var back atomic.Bool
		gone := errors.New("gone")
		w, n := reached(t, func(context.Context, int) (net.Conn, error) {
			if !back.Load() {
				return nil, gone
			}
			return pipe(), nil
		})
		var wg sync.WaitGroup
		var returned time.Time
		for range 200 {
			wg.Go(func() {
				for {
					begin := time.Now()
					c, err := w.dial(t.Context(), "tcp", "b:1")
					if err == nil {
						c.Close()
						if late := time.Since(returned); late > 3*time.Second {
							t.Errorf("let in after %s", late)
						}
						return
					}
					if took := time.Since(begin); took > 2*time.Second || !errors.Is(err, gone) {
						t.Errorf("%v after %s", err, took)
					}
					pause.For(t.Context(), 100*time.Millisecond)
				}
			})
		}
		pause.For(t.Context(), time.Minute)
		if got := n.Load(); got > 60 || got < 20 {
			t.Errorf("%d attempts in a minute", got)
		}
		returned = time.Now()
		back.Store(true)
		wg.Wait()
	})
}

// What a slow broker finishes after nobody waits any more is there for who asks next.
func TestAConnectionThatComesLateIsKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, n := reached(t, func(ctx context.Context, _ int) (net.Conn, error) {
			if !pause.For(ctx, 10*time.Second) {
				return nil, ctx.Err()
			}
			return pipe(), nil
		})
		begin := time.Now()
		for {
			c, err := w.dial(t.Context(), "tcp", "b:1")
			if err == nil {
				c.Close()
				break
			}
			pause.For(t.Context(), 100*time.Millisecond)
		}
		if took := time.Since(begin); n.Load() != 1 || took > 11*time.Second {
			t.Errorf("%d attempts, a connection after %s", n.Load(), took)
		}
	})
}

// Attempts that hang do not keep a broker out that is back: another one is made every few seconds.
func TestAnAttemptThatHangsDoesNotHoldUpTheNext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var back atomic.Bool
		w, n := reached(t, func(ctx context.Context, nth int) (net.Conn, error) {
			if nth == 1 {
				return nil, errors.New("gone")
			}
			if !back.Load() {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return pipe(), nil
		})
		try := func(until time.Duration) bool {
			ctx, cancel := context.WithTimeout(t.Context(), until)
			defer cancel()
			for ctx.Err() == nil {
				if c, err := w.dial(ctx, "tcp", "b:1"); err == nil {
					c.Close()
					return true
				}
				pause.For(ctx, 100*time.Millisecond)
			}
			return false
		}
		if try(time.Minute) {
			t.Fatal("a connection to nobody")
		}
		if got := n.Load(); got > 25 {
			t.Errorf("%d attempts in a minute", got)
		}
		back.Store(true)
		if begin := time.Now(); !try(time.Minute) || time.Since(begin) > 6*time.Second {
			t.Errorf("let in after %s", time.Since(begin))
		}
	})
}
