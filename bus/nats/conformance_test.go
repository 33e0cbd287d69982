package nats

import (
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"kemi.dev/kemi/bus/bustest"
	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/internal/obs"
)

// quick is tuned for tests: what is a matter of seconds outside is one of tenths here.
func quick() tuning {
	t := defaults()
	t.lease, t.handover, t.commit, t.minFree = 900*time.Millisecond, time.Second, 20*time.Millisecond, 1<<20
	t.bulkFrom = 2 << 20
	t.ackWait = t.lease
	return t
}

// silence makes the members of d as good as paused for longer than their leases.
func (d *Driver) silence() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for f := range d.feeds {
		switch f := f.(type) {
		case *owner:
			f.silent.Store(true)
			time.AfterFunc(2*d.tuning.lease, func() { f.silent.Store(false) })
		case *worker:
			f.silent.Store(true)
			f.in.nudge()
			time.AfterFunc(2*d.tuning.lease, func() {
				f.silent.Store(false)
				f.Nudge()
				f.in.nudge()
			})
		}
	}
}

// peer is another driver on the same embedded servers.
func (d *Driver) peer(t testing.TB) *Driver {
	p, err := New(Config{}, "unused", obs.Scope{})
	if err != nil {
		t.Fatal(err)
	}
	p.host, p.hosting, p.tuning = d.host, false, d.tuning
	return p
}

func embedded(t testing.TB, dir string) *Driver {
	d, err := New(Config{Embedded: true}, dir, obs.Scope{})
	if err != nil {
		t.Fatal(err)
	}
	d.tuning = quick()
	d.host.disk.bulk, d.host.disk.reserve = d.tuning.bulkFrom, d.tuning.minFree
	if err := d.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// remove deletes the stream of a topic.
func (d *Driver) remove(t *testing.T, topic string) {
	ctx, cancel, err := d.ready(t.Context())
	defer cancel()
	if err != nil {
		t.Fatal(err)
	}
	found, err := d.find(ctx, topic)
	if err == nil {
		err = found.link.js.DeleteStream(ctx, found.stream)
	}
	if err != nil {
		t.Fatalf("remove %s: %v", topic, err)
	}
}

func TestEmbeddedKeepsTheContract(t *testing.T) {
	t.Parallel()
	bustest.Run(t, func(t *testing.T) bustest.Harness {
		dir := t.TempDir()
		root := embedded(t, dir)
		var mu sync.Mutex
		var open []*Driver
		one := func() driver.Driver {
			mu.Lock()
			defer mu.Unlock()
			p := root.peer(t)
			open = append(open, p)
			t.Cleanup(func() { p.Close() })
			return p
		}
		return bustest.Harness{
			Open: one,
			Reopen: func() driver.Driver {
				for _, p := range open {
					p.Close()
				}
				root.Close()
				root = embedded(t, dir)
				return one()
			},
			Lose:   func(d driver.Driver) { d.(*Driver).silence() },
			Remove: func(topic string) { root.remove(t, topic) },
			Restart: func() {
				root.host.mu.Lock()
				defer root.host.mu.Unlock()
				root.host.restart(process)
				root.host.restart(power)
			},
			Away: func() func() {
				h := root.host
				h.mu.Lock()
				defer h.mu.Unlock()
				for i, s := range h.servers {
					s.Shutdown()
					s.WaitForShutdown()
					h.servers[i] = nil
				}
				return func() {
					h.mu.Lock()
					defer h.mu.Unlock()
					for i := range h.servers {
						s, err := h.serve(i)
						if err != nil {
							t.Error(err)
							return
						}
						h.servers[i] = s
					}
				}
			},
			Dedupes: true,
		}
	})
}

// external is a server that listens on a free port of the loopback address.
func external(t testing.TB, dir string, port int) *server.Server {
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: port, NoSigs: true, NoLog: true, JetStream: true, StoreDir: dir, JetStreamMaxStore: maxStore, JetStreamMaxMemory: maxMemory,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(20 * time.Second) {
		t.Fatal("the server did not get ready")
	}
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	return s
}

func TestExternalKeepsTheContract(t *testing.T) {
	t.Parallel()
	bustest.Run(t, func(t *testing.T) bustest.Harness {
		dir := t.TempDir()
		s := external(t, dir, server.RANDOM_PORT)
		url := s.ClientURL()
		var mu sync.Mutex
		var open []*Driver
		one := func() driver.Driver {
			mu.Lock()
			defer mu.Unlock()
			d, err := New(Config{URLs: []string{url}}, "", obs.Scope{})
			if err != nil {
				t.Fatal(err)
			}
			d.tuning = quick()
			open = append(open, d)
			t.Cleanup(func() { d.Close() })
			return d
		}
		stop := func() (start func()) {
			port := s.Addr().(interface{ AddrPort() netip.AddrPort }).AddrPort().Port()
			s.Shutdown()
			s.WaitForShutdown()
			return func() { s = external(t, dir, int(port)) }
		}
		return bustest.Harness{
			Open: one,
			Reopen: func() driver.Driver {
				for _, d := range open {
					d.Close()
				}
				return one()
			},
			Lose:    func(d driver.Driver) { d.(*Driver).silence() },
			Remove:  func(topic string) { one().(*Driver).remove(t, topic) },
			Restart: func() { stop()() },
			Away:    stop,
			Dedupes: true,
		}
	})
}
