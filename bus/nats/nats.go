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
	"regexp"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/internal/conf"
	"kemi.dev/kemi/internal/obs"
)

// Config says which server to use.
type Config struct {
	// Embedded runs the servers in this process; so does an empty URLs.
	Embedded bool `yaml:"embedded"`
	// URLs of an external server or cluster, such as nats://10.0.0.1:4222 or tls://… What a topic's durability power
	// means there the server decides: set sync_interval: always, or keep several replicas.
	URLs      []string    `yaml:"urls"`
	User      string      `yaml:"user"`
	Password  conf.Secret `yaml:"password"`
	CredsFile string      `yaml:"creds_file"`
	// Prefix begins the names of all subjects, streams and buckets; "" is kemi.
	Prefix string `yaml:"prefix"`
	// Replicas of each stream in a cluster, 1 to 5; 0 is 1.
	Replicas int `yaml:"replicas"`
}

// tuning is what tests change.
type tuning struct {
	lease    time.Duration // How long a silent member keeps its partitions.
	handover time.Duration // How long an owner may finish when its partition is to move.
	commit   time.Duration // How often a position is written at most.
	patience time.Duration // How long one Publish waits when its context has no deadline.
	window   int           // Default of Subscription.Window.
	ackWait  time.Duration // Default of Subscription.Redeliver.
	minFree  int64         // Bytes of free disk below which an embedded server takes nothing.
}

func defaults() tuning {
	return tuning{
		lease: 6 * time.Second, handover: 5 * time.Second, commit: 200 * time.Millisecond, patience: 30 * time.Second,
		window: 1024, ackWait: 30 * time.Second, minFree: 128 << 20,
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
}

var (
	_ driver.Driver = (*Driver)(nil)
	_ driver.Sizer  = (*Driver)(nil)
)

var prefixes = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// New makes a driver that is not connected yet. dataDir is Kemi's; an embedded server stores in its folder bus.
func New(c Config, dataDir string, scope obs.Scope) (*Driver, error) {
	if c.Prefix == "" {
		c.Prefix = "kemi"
	}
	if c.Replicas == 0 {
		c.Replicas = 1
	}
	embedded := len(c.URLs) == 0
	switch {
	case c.Embedded && !embedded:
		return nil, errors.New("nats: embedded and urls exclude each other: remove one of them")
	case !prefixes.MatchString(c.Prefix):
		return nil, fmt.Errorf("nats: prefix %q: only letters, digits, _ and - are allowed", c.Prefix)
	case c.Replicas < 1 || c.Replicas > 5:
		return nil, fmt.Errorf("nats: %d replicas: 1 to 5 are possible", c.Replicas)
	case embedded && c.Replicas > 1:
		return nil, errors.New("nats: an embedded server keeps one replica: use urls of a cluster for more")
	case embedded && dataDir == "":
		return nil, errors.New("nats: an embedded server needs a data directory")
	case c.CredsFile != "" && c.User != "":
		return nil, errors.New("nats: user and creds_file exclude each other: remove one of them")
	}
	d := &Driver{
		config: c, scope: scope.For("nats"), tuning: defaults(),
		topics: map[string]*topic{}, feeds: map[driver.Feed]struct{}{}, leases: map[place]*lease{},
	}
	if embedded {
		d.host, d.hosting = newHost(dataDir, d.scope, d.tuning.minFree), true
	}
	return d, nil
}

// Open starts the embedded servers, or connects. Ensure, Publish and Subscribe do it too when it was not done; it
// fails when the data directory cannot be used or no server answers, and may be tried again.
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
	if err == nil {
		err = d.buckets(ctx, links[process])
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
	d.opened = true
	return nil
}

// buckets makes the two key-value buckets: who owns which partition, and who is there.
func (d *Driver) buckets(ctx context.Context, l *link) error {
	for _, b := range []struct {
		to     *jetstream.KeyValue
		config jetstream.KeyValueConfig
	}{
		{&d.groups, jetstream.KeyValueConfig{Bucket: d.config.Prefix + "_groups", Description: "owner, epoch and position of each partition in each group", MaxBytes: 64 << 20}},
		{&d.members, jetstream.KeyValueConfig{Bucket: d.config.Prefix + "_members", Description: "members of groups", MaxBytes: 16 << 20, TTL: 10 * d.tuning.lease}},
	} {
		b.config.Replicas = d.config.Replicas
		kv, err := l.js.KeyValue(ctx, b.config.Bucket)
		if errors.Is(err, jetstream.ErrBucketNotFound) {
			kv, err = l.js.CreateKeyValue(ctx, b.config)
		}
		if err != nil {
			return l.explain(fmt.Errorf("open bucket %s: %w", b.config.Bucket, err))
		}
		*b.to = kv
	}
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
	if err := f.begin(ctx); err != nil {
		f.Close()
		return nil, t.link.explain(fmt.Errorf("subscribe to %s: %w", s.Topic, err))
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
	var wg sync.WaitGroup
	for _, f := range feeds {
		wg.Go(func() { _ = f.Close() })
	}
	wg.Wait()
	d.opening.Lock() // Whoever is opening comes to its end first.
	defer d.opening.Unlock()
	for _, l := range d.links {
		l.close()
	}
	if d.hosting {
		return d.host.stop()
	}
	return nil
}
