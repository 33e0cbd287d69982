package nats

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"kemi.dev/kemi/bus/driver"
)

// options are those of every connection.
func (d *Driver) options(l *link) []nats.Option {
	log := d.scope.Log()
	again := d.scope.Counter("kemi_bus_reconnects_total", "Connections to the broker that were lost and came back.").WithLabelValues()
	warn := func(text string, err error) { l.warn(log, text, err) }
	apart := func(err error) {
		err = d.config.why(redacted(d.config.URLs), err)
		l.mu.Lock()
		l.reason = err
		down := l.down
		l.mu.Unlock()
		if l.seldom.Since(err.Error(), down, time.Now()) {
			log.Warn("cannot connect to nats again", "err", err)
		}
	}
	return []nats.Option{
		nats.Name("kemi " + processName()), nats.MaxReconnects(-1), nats.PingInterval(5 * time.Second), nats.MaxPingsOutstanding(2),
		// Nothing waits in a buffer for the next connection: what was checked against a lease goes out now or not at all.
		nats.ReconnectBufSize(-1),
		nats.IgnoreAuthErrorAbort(), // Credentials that were replaced are taken up with the next attempt.
		nats.ReconnectHandler(func(nc *nats.Conn) {
			at := "in this process"
			if l.dialer != nil {
				at = redact(nc.ConnectedUrl())
			}
			l.arrived(at)
			l.absence.end(log, time.Now(), "connected to nats again", "server", at)
			l.refusals.speak()
			l.mu.Lock()
			close(l.reborn)
			l.reborn = make(chan struct{})
			l.down, l.reason = time.Time{}, nil
			l.mu.Unlock()
			again.Inc()
			l.suspect() // It may have come back without what it held.
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			l.mu.Lock()
			l.die()
			l.live()
			now := time.Now()
			l.down, l.reason = now, err
			l.mu.Unlock()
			if err != nil {
				l.absence.begin(log, now, "lost the connection to nats: what needs it waits until it is back", err)
			}
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				apart(err)
			}
		}),
		nats.ErrorHandler(func(_ *nats.Conn, about *nats.Subscription, err error) {
			switch {
			case !l.isDown():
				l.hear(err, d.config.InboxPrefix, warn)
			case about == nil: // What a subscription misses meanwhile is no reason.
				apart(err)
			}
		}),
	}
}

func (l *link) isDown() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.down.IsZero()
}

// hear takes what the server says without being asked.
func (l *link) hear(err error, inboxes string, warn func(string, error)) {
	now := time.Now()
	l.mu.Lock()
	l.said, l.saidAt = err, now
	l.mu.Unlock()
	r := refused(err, now)
	if r == nil {
		warn("nats complains", err)
		return
	}
	if inboxes == "" {
		inboxes = "_INBOX"
	}
	l.refusals.add(r, inboxes)
	// One text for all subjects that are allowed together: it is said once in a while, not for every key.
	warn("nats refuses", &refusal{verb: r.verb, subject: pattern(r.subject)})
}

func (d *Driver) dialHost(i int) (*link, error) {
	l := newLink()
	l.batches, l.fences, l.tight = true, true, d.host.disk.tight
	nc, err := nats.Connect("", append(d.options(l), nats.InProcessServer(door{d.host, i}), nats.ReconnectWait(20*time.Millisecond), nats.ReconnectJitter(10*time.Millisecond, 0))...)
	if err != nil {
		return nil, fmt.Errorf("connect to embedded nats: %w", err)
	}
	return l, l.use(nc)
}

// dial connects to the external server or cluster, and looks whether it can be used.
func (d *Driver) dial(ctx context.Context) (*link, error) {
	l := newLink()
	l.dialer = &dialer{ctx: d.dialing}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(d.dialing, cancel)()
	defer context.AfterFunc(d.dialing, l.dialer.cut)()
	who, err := d.config.login()
	if err != nil {
		return nil, fmt.Errorf("connect to nats: %w", err)
	}
	options := append(append(d.options(l), nats.ReconnectWait(250*time.Millisecond), nats.Timeout(5*time.Second), nats.SetCustomDialer(l.dialer)), who...)
	nc, err := nats.Connect(strings.Join(d.config.URLs, ","), options...)
	if err != nil {
		return nil, d.diagnose(err, who)
	}
	if err := d.examine(ctx, l, nc); err != nil {
		nc.Close()
		return nil, err
	}
	return l, nil
}

// diagnose says of each address why it cannot be used. What nats.Connect says is about one of them only. It is ErrAway when
// nobody answered at any.
func (d *Driver) diagnose(err error, who []nats.Option) error {
	var all []error
	away := true
	for _, u := range d.config.URLs {
		at := err
		if len(d.config.URLs) > 1 || errors.Is(err, nats.ErrNoServers) || hungUp(err) {
			at = d.config.probe(u, who)
		}
		if at != nil {
			away = away && unreachable(at)
			all = append(all, fmt.Errorf("connect to nats at %s: %w", redact(u), d.config.why(u, at)))
		}
	}
	if len(all) == 0 { // They answer by now.
		all = []error{fmt.Errorf("connect to nats at %s: %w: try again", redacted(d.config.URLs), err)}
	}
	if away {
		return fmt.Errorf("%w: %w", driver.ErrAway, errors.Join(all...))
	}
	return errors.Join(all...)
}

// wholePayload is how many bytes of a message a server takes unless somebody sets less: records may be as large.
const wholePayload = 1 << 20

// examine looks whether a server can be used.
func (d *Driver) examine(ctx context.Context, l *link, nc *nats.Conn) error {
	if err := l.use(nc); err != nil {
		return err
	}
	l.arrived(redact(nc.ConnectedUrl()))
	at, version := redact(nc.ConnectedUrl()), nc.ConnectedServerVersion()
	v, lacks, err := judge(version)
	if err != nil {
		return fmt.Errorf("use nats at %s: %w", at, err)
	}
	l.fences, l.batches, l.clustered = v.has(needsFences), v.has(needsBatches), nc.ConnectedClusterName() != ""
	for _, s := range lacks {
		d.scope.Log().Warn("the nats server lacks a feature", "server", at, "version", version, "lacks", s)
	}
	if takes := nc.MaxPayload(); takes < wholePayload {
		d.scope.Log().Warn("the nats server takes smaller messages than a record may be: larger ones are put on dead.v1", "server", at, "max_payload", takes, "change", "set max_payload: 1MB in the server's configuration")
	}
	var missing error
	err = l.call(ctx, "INFO", func(ctx context.Context) error {
		_, err := l.js.AccountInfo(ctx)
		if errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) {
			missing, err = err, nil
		}
		return err
	})
	var no *refusal
	switch {
	case errors.Is(missing, jetstream.ErrJetStreamNotEnabledForAccount):
		return fmt.Errorf("use nats %s at %s: the account of this user has no JetStream: allow it there (jetstream: enabled in the account's block, or nsc edit account)", version, at)
	case missing != nil:
		return fmt.Errorf("use nats %s at %s: JetStream is not enabled there: start it with -js or a jetstream block", version, at)
	case errors.As(err, &no) && no.verb == "publish": // A user that only reads a topic need not know about the account.
		return nil
	case err != nil:
		return l.explain(fmt.Errorf("ask nats %s at %s for its JetStream account: %w", version, at, d.put(err)))
	}
	return nil
}
