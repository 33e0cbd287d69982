package nats

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"kemi.dev/kemi/bus/driver"
)

// link is a connection to a server.
type link struct {
	nc      *nats.Conn
	js      jetstream.JetStream
	batches bool // The server takes atomic batches.
	fences  bool // The server heeds the last sequence of another subject.

	mu     sync.Mutex
	reborn chan struct{}   // Closed at the next reconnect.
	life   context.Context // Ends with the connection as it is now: answers that are owed will not come.
	die    context.CancelFunc
	said   error // What the server said last without being asked.
	saidAt time.Time
}

func newLink(batches bool) *link {
	l := &link{reborn: make(chan struct{}), batches: batches, fences: batches}
	l.live()
	return l
}

func (l *link) live() { l.life, l.die = context.WithCancel(context.Background()) }

// during ends ctx with the connection too; its cause is errReborn then.
func (l *link) during(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	l.mu.Lock()
	life := l.life
	l.mu.Unlock()
	stop := context.AfterFunc(life, func() { cancel(errReborn) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// options are those of every connection.
func (d *Driver) options(l *link) []nats.Option {
	log := d.scope.Log()
	again := d.scope.Counter("kemi_bus_reconnects_total", "Connections to the broker that were lost and came back.").WithLabelValues()
	return []nats.Option{
		nats.Name("kemi"), nats.MaxReconnects(-1), nats.PingInterval(5 * time.Second), nats.MaxPingsOutstanding(2),
		// Nothing waits in a buffer for the next connection: what was checked against a lease goes out now or not at all.
		nats.ReconnectBufSize(-1),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			log.Info("connected to nats again", "server", nc.ConnectedUrlRedacted())
			l.mu.Lock()
			defer l.mu.Unlock()
			close(l.reborn)
			l.reborn = make(chan struct{})
			again.Inc()
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			l.mu.Lock()
			l.die()
			l.live()
			l.mu.Unlock()
			if err != nil {
				log.Warn("lost the connection to nats", "err", err)
			}
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			log.Warn("nats complains", "err", err)
			l.mu.Lock()
			defer l.mu.Unlock()
			l.said, l.saidAt = err, time.Now()
		}),
	}
}

func (d *Driver) dialHost(i int) (*link, error) {
	l := newLink(true)
	nc, err := nats.Connect("", append(d.options(l), nats.InProcessServer(door{d.host, i}), nats.ReconnectWait(20*time.Millisecond), nats.ReconnectJitter(10*time.Millisecond, 0))...)
	if err != nil {
		return nil, fmt.Errorf("connect to embedded nats: %w", err)
	}
	return l, l.use(nc)
}

func (d *Driver) dial(ctx context.Context) (*link, error) {
	l := newLink(false)
	options := append(d.options(l), nats.ReconnectWait(250*time.Millisecond), nats.Timeout(5*time.Second))
	switch {
	case d.config.CredsFile != "":
		options = append(options, nats.UserCredentials(d.config.CredsFile))
	case d.config.User != "":
		options = append(options, nats.UserInfoHandler(func() (string, string) { return d.config.User, d.config.Password.Reveal() }))
	case !d.config.Password.IsZero():
		options = append(options, nats.TokenHandler(d.config.Password.Reveal))
	}
	urls := strings.Join(d.config.URLs, ",")
	nc, err := nats.Connect(urls, options...)
	if err != nil {
		return nil, fmt.Errorf("connect to nats at %s: %w", redacted(d.config.URLs), err)
	}
	if err := l.use(nc); err != nil {
		nc.Close()
		return nil, err
	}
	version := nc.ConnectedServerVersion()
	missing, err := judge(version)
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("use nats at %s: %w", nc.ConnectedUrlRedacted(), err)
	}
	l.batches, l.fences = missing == "", minor(version) >= 11
	if missing != "" {
		d.scope.Log().Warn("the nats server lacks a feature", "version", version, "missing", missing)
	}
	if _, err := l.js.AccountInfo(ctx); err != nil {
		nc.Close()
		if errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) {
			return nil, fmt.Errorf("use nats %s at %s: JetStream is not enabled there: start it with -js or a jetstream block, and allow it for the account", version, nc.ConnectedUrlRedacted())
		}
		return nil, l.explain(fmt.Errorf("ask nats %s for its JetStream account: %w", version, err))
	}
	return l, nil
}

// redacted hides what may be secret in URLs.
func redacted(urls []string) string {
	var out []string
	for _, u := range urls {
		if i := strings.LastIndexByte(u, '@'); i >= 0 {
			scheme, _, _ := strings.Cut(u, "://")
			u = scheme + "://…@" + u[i+1:]
		}
		out = append(out, u)
	}
	return strings.Join(out, ", ")
}

// judge says what a server of the version cannot do for us; err when it cannot be used at all.
func judge(version string) (missing string, err error) {
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	if len(parts) < 2 {
		return "", fmt.Errorf("server version %q is not understood", version)
	}
	major, err1 := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	switch {
	case err1 != nil || err2 != nil:
		return "", fmt.Errorf("server version %q is not understood", version)
	case major < 2 || major == 2 && minor < 10:
		return "", fmt.Errorf("server version %s lacks stream metadata and consumers with several filters: both are there from 2.10 on, please upgrade it", version)
	case major == 2 && minor < 11:
		return "conditions on another subject (from 2.11 on): a former owner's late records are refused by the lease's clock alone; and atomic batches (from 2.12 on)", nil
	case major == 2 && minor < 12:
		return "atomic batches (from 2.12 on): records of durability power are stored one by one, which is slower", nil
	}
	return "", nil
}

// minor is the version's second number, counted on from 2.0; a later major version has everything.
func minor(version string) int {
	var a, b int
	if n, _ := fmt.Sscanf(strings.TrimPrefix(version, "v"), "%d.%d", &a, &b); n < 2 {
		return 0
	}
	return (a-2)*1000 + b
}

func (l *link) use(nc *nats.Conn) error {
	js, err := jetstream.New(nc)
	if err != nil {
		return fmt.Errorf("use JetStream: %w", err)
	}
	l.nc, l.js = nc, js
	return nil
}

func (l *link) close() {
	if l != nil && l.nc != nil {
		l.nc.Close()
		l.mu.Lock()
		defer l.mu.Unlock()
		l.die()
	}
}

// next is closed when the connection was lost and came back: what was asked of the server is to be asked again.
func (l *link) next() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reborn
}

// connected blocks until the connection is there.
func (l *link) connected(ctx context.Context) error {
	for {
		back := l.next()
		if l.nc.IsConnected() {
			return nil
		}
		if l.nc.IsClosed() {
			return driver.ErrClosed
		}
		t := time.NewTimer(100 * time.Millisecond)
		select {
		case <-back:
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return fmt.Errorf("wait for the connection to nats: %w", ctx.Err())
		}
		t.Stop()
	}
}

// explain adds to a timeout what the server said meanwhile: a refused permission looks like a timeout.
func (l *link) explain(err error) error {
	if err == nil || !(errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout)) {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.said == nil || time.Since(l.saidAt) > time.Minute {
		return err
	}
	return fmt.Errorf("%w (the server said: %w)", err, l.said)
}

// names begins the names of this driver's members.
func (d *Driver) names() string {
	if d.host != nil {
		return d.host.run + "-" + nuid.Next()[12:]
	}
	return nuid.Next()
}
