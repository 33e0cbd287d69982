package kafka

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"kemi.dev/kemi/bus/bustest"
	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/internal/obs"
)

// quick is tuned for tests: what is a matter of seconds outside is one of tenths here.
func quick() tuning {
	t := defaults()
	t.lease, t.handover, t.commit = 1500*time.Millisecond, time.Second, 20*time.Millisecond
	t.poll, t.again, t.layout = 250*time.Millisecond, 20*time.Millisecond, time.Second
	return t
}

// fake is a broker in this process. Its log is in the folder, so that it can be stopped and started again.
func fake(t testing.TB, dir string, ports ...int) *kfake.Cluster {
	t.Helper()
	if len(ports) > 0 {
		return fakeWith(t, dir, kfake.Ports(ports...))
	}
	return fakeWith(t, dir)
}

// fakeWith is fake with other options beside.
func fakeWith(t testing.TB, dir string, options ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	options = append(options, kfake.NumBrokers(1), kfake.GroupMinSessionTimeout(50*time.Millisecond),
		kfake.BrokerConfigs(map[string]string{"group.initial.rebalance.delay.ms": "0"}))
	if dir != "" {
		options = append(options, kfake.DataDir(dir))
	}
	c, err := kfake.NewCluster(options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// portOf is the port of an address, to start a broker there again.
func portOf(t testing.TB, address string) int {
	t.Helper()
	_, text, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// dialled is a driver on brokers, tuned for tests.
func dialled(t testing.TB, c Config) *Driver {
	t.Helper()
	d, err := New(c, "", obs.Scope{})
	if err != nil {
		t.Fatal(err)
	}
	d.tuning = quick()
	t.Cleanup(func() { d.Close() })
	return d
}

// harness makes what a clause needs of brokers: restart stops them and starts them again.
func harness(t *testing.T, config Config, restart func()) bustest.Harness {
	var mu sync.Mutex
	var open []*Driver
	gates := map[driver.Driver]*gate{}
	wires := &wires{open: map[net.Conn]struct{}{}}
	one := func() driver.Driver {
		mu.Lock()
		defer mu.Unlock()
		d := dialled(t, config)
		gates[d] = newGate()
		through := gates[d].dial
		d.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			return wires.dial(ctx, network, address, through)
		}
		open = append(open, d)
		return d
	}
	return bustest.Harness{
		Open: one,
		Reopen: func() driver.Driver {
			for _, d := range open {
				d.Close()
			}
			if restart != nil {
				restart()
			}
			return one()
		},
		Lose: func(d driver.Driver) {
			mu.Lock()
			defer mu.Unlock()
			gates[d].shut(2 * d.(*Driver).tuning.lease)
		},
		Remove:   func(topic string) { remove(t, config.Brokers, cmp.Or(config.Prefix, "kemi")+"."+topic) },
		Restart:  restart,
		Patience: 60 * time.Second, Hold: 5 * time.Second, // A machine with much else to do is slow, not wrong.
		Away: wires.cut,
	}
}

// wires are the connections of all drivers of a harness, which can be cut.
type wires struct {
	mu   sync.Mutex
	away bool
	open map[net.Conn]struct{}
}

func (w *wires) dial(ctx context.Context, network, address string, dial func(context.Context, string, string) (net.Conn, error)) (net.Conn, error) {
	c, err := dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.away {
		c.Close()
		return nil, syscall.ECONNREFUSED
	}
	w.open[c] = struct{}{}
	return c, nil
}

func (w *wires) cut() (back func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.away = true
	for c := range w.open {
		c.Close()
	}
	clear(w.open)
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.away = false
	}
}

func TestKafkaKeepsTheContract(t *testing.T) {
	t.Parallel()
	bustest.Run(t, func(t *testing.T) bustest.Harness {
		dir := t.TempDir()
		c := fake(t, dir)
		address := c.ListenAddrs()[0]
		return harness(t, Config{Brokers: []string{address}}, func() {
			var port int
			fmt.Sscanf(address[len("127.0.0.1:"):], "%d", &port)
			c.Close()
			c = fake(t, dir, port)
		})
	})
}
