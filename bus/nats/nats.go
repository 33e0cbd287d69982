// Package nats carries the bus on NATS JetStream: on servers in this process, or on a cluster elsewhere.
//
// In: records. Out: deliveries, as bus/driver says. A topic is a stream, a record's subject is
// <prefix>.<topic>.p<partition>.<key>, and who owns a partition stands in a key-value bucket.
// It promises what bus/driver promises: stored by the stream before Publish returns, one owner per partition, a lease
// that is renewed and a position that is committed by the same compare-and-swap.
// It never drops a record a stream refused, and never keeps records of its own: what is not in a stream was not stored.
package nats

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/internal/obs"
)

// tuning is what tests change.
type tuning struct {
	lease    time.Duration // How long a silent member keeps its partitions.
	handover time.Duration // How long an owner may finish when its partition is to move.
	commit   time.Duration // How often a position is written at most.
	patience time.Duration // How long one Publish waits when its context has no deadline.
	window   int           // Default of Subscription.Window.
	ackWait  time.Duration // After which work of a silent member goes to another, when Subscription.Redeliver is 0.
	bulkFrom int64         // Bytes of free disk below which an embedded server takes nothing that comes in bulk.
	minFree  int64         // And below which it takes nothing at all.
}

func defaults() tuning {
	return tuning{
		lease: 6 * time.Second, handover: 5 * time.Second, commit: 200 * time.Millisecond, patience: 30 * time.Second,
		window: 1024, ackWait: 6 * time.Second, bulkFrom: 256 << 20, minFree: 64 << 20,
	}
}

// The two durabilities have a server each when embedded, for what NATS calls sync_always is a server's property.
const (
	process = iota
	power
)

// Driver implements driver.Driver.
type Driver struct {
	config  Config
	scope   obs.Scope
	tuning  tuning
	host    *host // The embedded servers; nil when external.
	hosting bool  // The host is closed with the driver.

	opening sync.Mutex
	opened  bool

	mu      sync.Mutex
	closed  bool
	links   [2]*link // Both the same when external.
	groups  jetstream.KeyValue
	members jetstream.KeyValue
	topics  map[string]*topic
	feeds   map[driver.Feed]struct{}
	leases  map[place]*lease
	count   int // Members so far, for their names.
	name    string
	wanted  map[string]driver.Topic // What was ensured here, to be made again when it is gone.

	bucketing sync.Mutex
	life      context.Context // Ends with the driver.
	end       context.CancelFunc
	tasks     sync.WaitGroup
	dialing   context.Context // Ends when no connection is wanted any more.
	hangUp    context.CancelFunc
	lost      *prometheus.CounterVec
}

var (
	_ driver.Driver    = (*Driver)(nil)
	_ driver.Sizer     = (*Driver)(nil)
	_ driver.Inspector = (*Driver)(nil)
	_ driver.Rationer  = (*Driver)(nil)
)

// New makes a driver that is not connected yet. dataDir is Kemi's; an embedded server stores in its folder bus.
func New(c Config, dataDir string, scope obs.Scope) (*Driver, error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	embedded := len(c.URLs) == 0
	if embedded && dataDir == "" {
		return nil, errors.New("nats: an embedded server needs a data directory: give data")
	}
	d := &Driver{
		config: c, scope: scope.For("nats"), tuning: defaults(),
		topics: map[string]*topic{}, feeds: map[driver.Feed]struct{}{}, leases: map[place]*lease{}, wanted: map[string]driver.Topic{},
	}
	d.life, d.end = context.WithCancel(context.Background())
	d.dialing, d.hangUp = context.WithCancel(context.Background())
	d.lost = d.scope.Counter("kemi_bus_topics_lost_total", "Topics, and buckets of the groups, that were gone with all they held, and were made again.", "topic")
	if embedded {
		d.host, d.hosting = newHost(dataDir, d.scope, d.tuning.bulkFrom, d.tuning.minFree), true
	}
	return d, nil
}

// Open starts the embedded servers, or connects. Ensure, Publish and Subscribe do it too when it was not done; it
// fails when the data directory cannot be used or no server can, and may be tried again: with ErrAway nobody answered, or
// who did is only starting.
func (d *Driver) Open(ctx context.Context) error {
	d.opening.Lock()
	defer d.opening.Unlock()
	switch {
	case d.isClosed():
		return driver.ErrClosed
	case d.opened:
		return ctx.Err()
	}
	var links [2]*link
	var err error
	if d.host != nil {
		if d.hosting {
			if err = d.host.start(); err != nil {
				return err
			}
		}
		for i := range links {
			if links[i], err = d.dialHost(i); err != nil {
				break
			}
		}
	} else {
		links[process], err = d.dial(ctx)
		links[power] = links[process]
	}
	if err != nil {
		for _, l := range links {
			l.close()
		}
		return err
	}
	d.mu.Lock()
	d.links, d.name = links, d.names()
	d.mu.Unlock()
	for i, l := range links {
		if i == 0 || l != links[0] {
			d.tasks.Go(func() { d.lookAfter(d.life, l) })
			if l.dialer != nil {
				w := &watch{l: l, log: d.scope.Log()}
				d.tasks.Go(func() { w.run(d.life) })
			}
		}
	}
	d.opened = true
	return nil
}

// ready opens the driver when it is not, and gives calls without a deadline one.
func (d *Driver) ready(ctx context.Context) (context.Context, context.CancelFunc, error) {
	cancel := context.CancelFunc(func() {})
	if _, ok := ctx.Deadline(); !ok {
		ctx, cancel = context.WithTimeout(ctx, d.tuning.patience)
	}
	if err := d.Open(ctx); err != nil {
		cancel()
		return ctx, func() {}, err
	}
	return ctx, cancel, nil
}

// Subscribe implements driver.Driver.
func (d *Driver) Subscribe(ctx context.Context, s driver.Subscription) (driver.Feed, error) {
	ctx, cancel, err := d.ready(ctx)
	defer cancel()
	if err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", s.Topic, err)
	}
	t, err := d.topic(ctx, s.Topic)
	if err == nil {
		err = s.Check(t.Topic)
	}
	if err == nil && s.Group != "" && t.Kind != driver.Work {
		err = d.open(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", s.Topic, err)
	}
	if s.Window == 0 {
		s.Window = d.tuning.window
	}
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil, fmt.Errorf("subscribe to %s: %w", s.Topic, driver.ErrClosed)
	}
	d.count++
	name := fmt.Sprintf("%s-%d", d.name, d.count)
	d.mu.Unlock()
	var f interface {
		driver.Feed
		begin(context.Context) error
	}
	switch {
	case s.Group == "":
		f = newReplay(d, t, s)
	case t.Kind == driver.Work:
		f = newWorker(d, t, s)
	default:
		f = newOwner(d, t, s, name)
	}
	d.mu.Lock()
	closed := d.closed
	if !closed {
		d.feeds[f] = struct{}{}
	}
	d.mu.Unlock()
	if closed {
		return nil, fmt.Errorf("subscribe to %s: %w", s.Topic, driver.ErrClosed)
	}
	err = t.link.call(ctx, t.stream, func(ctx context.Context) error {
		err := f.begin(ctx)
		if errors.Is(err, jetstream.ErrStreamNotFound) { // It was there a moment ago.
			if _, err := d.seek(ctx, t.Name); err != nil {
				return err
			}
			err = f.begin(ctx)
		}
		return err
	})
	if err != nil {
		f.Close()
		return nil, t.link.explain(fmt.Errorf("subscribe to %s: %w", s.Topic, d.put(err)))
	}
	return f, nil
}

func (d *Driver) isClosed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.closed
}

func (d *Driver) forget(f driver.Feed) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.feeds, f)
}

// Close implements driver.Driver: it commits, releases and disconnects, and stops embedded servers.
func (d *Driver) Close() error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil
	}
	d.closed = true
	feeds := make([]driver.Feed, 0, len(d.feeds))
	for f := range d.feeds {
		feeds = append(feeds, f)
	}
	d.mu.Unlock()
	d.end()
	var wg sync.WaitGroup
	for _, f := range feeds {
		wg.Go(func() { _ = f.Close() })
	}
	wg.Wait()
	d.hangUp()
	d.opening.Lock() // Whoever is opening comes to its end first.
	defer d.opening.Unlock()
	for _, l := range d.links {
		l.close()
	}
	d.tasks.Wait()
	if d.hosting {
		return d.host.stop()
	}
	return nil
}
