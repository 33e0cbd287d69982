// Package kafka carries the bus on Apache Kafka, or what speaks its protocol.
//
// In: records. Out: deliveries, as bus/driver says. A topic is the Kafka topic <prefix>.<topic>, a record's position its
// offset and one (positions begin with 1), and the topic <prefix>-topics says of each what Kafka cannot.
// It promises what bus/driver promises: acknowledged by all replicas in sync before Publish returns, one owner per
// partition, positions that a former owner cannot commit, and transactions that fence what it publishes.
// It never changes a topic that exists, never shows a record of a transaction that was not committed, and never keeps
// records of its own: what no broker acknowledged was not stored.
package kafka

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	kafkago "github.com/segmentio/kafka-go"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/internal/obs"
)

// tuning is what tests change.
type tuning struct {
	lease    time.Duration // How long a silent member keeps its partitions: the session timeout of groups.
	handover time.Duration // How long an owner may finish when its partition is to move.
	commit   time.Duration // How often a position is committed at most.
	patience time.Duration // How long one Publish waits when its context has no deadline.
	poll     time.Duration // How long a broker holds a fetch that finds nothing.
	answer   time.Duration // How long an answer of a broker may take, but for a fetch that waits.
	again    time.Duration // The pause after an error before the next attempt.
	layout   time.Duration // How old what is known of the cluster may get: a new leader is found after that.
	window   int           // Default of Subscription.Window.
}

func defaults() tuning {
	return tuning{
		lease: 6 * time.Second, handover: 5 * time.Second, commit: 200 * time.Millisecond, patience: 30 * time.Second,
		poll: 5 * time.Second, answer: 10 * time.Second, again: 100 * time.Millisecond, layout: 2 * time.Second, window: 1024,
	}
}

// Driver implements driver.Driver.
type Driver struct {
	config Config
	scope  obs.Scope
	tuning tuning

	buffers buffers
	dial    func(ctx context.Context, network, address string) (net.Conn, error) // Of the machine when nil; tests have another.
	opening sync.Mutex
	opened  bool

	recalled sync.Once // It was looked how long the cluster remembers groups, and whether it says how large topics are.
	blinded  sync.Once // It was told that it does not.

	life        context.Context // Ends with Close, and with it what looks after the topics.
	quit        context.CancelFunc
	tasks       sync.WaitGroup
	identifying sync.Mutex // One question about which topics there are at a time.
	lost        *prometheus.CounterVec
	names       *prometheus.GaugeVec

	refusals refusals

	link   *link           // Set by Open; every request goes through it.
	client *kafkago.Client // Requests in the words of kafka-go, through the link.

	mu     sync.Mutex
	closed bool
	topics map[string]*topic
	wanted map[string]driver.Topic // What was ensured here.
	lives  map[string]*life        // By the name of Kafka's topic.
	gone   error                   // Which topics are not there any more; nil when all are.
	feeds  map[driver.Feed]struct{}
	lanes  map[address]*lane
	groups groups
}

var _ driver.Driver = (*Driver)(nil)

// New makes a driver that is not connected yet. The data directory is not used: what Kafka does not keep is not kept.
func New(c Config, _ string, scope obs.Scope) (*Driver, error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	d := &Driver{
		config: c, scope: scope.For("kafka"), tuning: defaults(),
		topics: map[string]*topic{}, feeds: map[driver.Feed]struct{}{}, lanes: map[address]*lane{},
		wanted: map[string]driver.Topic{},
	}
	d.lost = d.scope.Counter("kemi_bus_topics_lost_total", "Topics that were removed with all they held, and made anew.", "topic")
	d.names = d.scope.Gauge("kemi_bus_member_info", "1 by the names under which the broker knows this process in its groups.", "topic", "group", "member")
	d.life, d.quit = context.WithCancel(context.Background())
	return d, nil
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
	f, err := d.subscribe(ctx, s)
	d.refusals.judge("subscribe "+s.Topic, s.Group, err, time.Now())
	return f, err
}

func (d *Driver) subscribe(ctx context.Context, s driver.Subscription) (driver.Feed, error) {
	ctx, cancel, err := d.ready(ctx)
	defer cancel()
	if err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", s.Topic, err)
	}
	t, err := d.topic(ctx, s.Topic)
	if err == nil {
		err = s.Check(t.Topic)
	}
	if err == nil {
		err = d.readable(ctx, t)
	}
	if err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", s.Topic, err)
	}
	if s.Window == 0 {
		s.Window = d.tuning.window
	}
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
		f = newOwner(d, t, s)
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
	if err := f.begin(ctx); err != nil {
		f.Close()
		return nil, explain(fmt.Errorf("subscribe to %s: %w", s.Topic, err))
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

// Close implements driver.Driver: it commits, leaves the groups and disconnects.
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
	var wg sync.WaitGroup
	for _, f := range feeds {
		wg.Go(func() { _ = f.Close() })
	}
	wg.Wait()
	d.quit()
	d.tasks.Wait()
	d.opening.Lock() // Whoever is opening comes to its end first.
	defer d.opening.Unlock()
	if d.link != nil {
		d.link.close()
	}
	return nil
}
