package nats

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/internal/obs"
	"kemi.dev/kemi/internal/pause"
)

// link is a connection to a server.
type link struct {
	nc        *nats.Conn
	js        jetstream.JetStream
	batches   bool    // The server takes atomic batches.
	fences    bool    // The server heeds the last sequence of another subject.
	clustered bool    // The server is one of several.
	dialer    *dialer // Nil for a server in this process.
	// tight says that a server in this process has no room to store anything; nil elsewhere.
	tight func() error

	asking   sync.Mutex
	asked    time.Time // When it was last looked whether the server answers,
	answered bool      // and whether it did.

	mu     sync.Mutex
	reborn chan struct{}   // Closed at the next reconnect.
	life   context.Context // Ends with the connection as it is now: answers that are owed will not come.
	die    context.CancelFunc
	said   error // What the server said last without being asked.
	saidAt time.Time
	down   time.Time // When the connection was lost; zero while it is there.
	closed bool
	reason error // Why it is not back.
	at     string

	ailing  *trouble // What the watch found.
	absence absence

	troubles map[string]*trouble // By stream: what did not work of late.

	muted    atomic.Pointer[mute] // Nil once it stored something.
	refusals refusals
	seldom   obs.Seldom
	missing  chan struct{} // Told when a stream may be gone.
}

// suspect has the driver look whether its streams are there.
func (l *link) suspect() {
	select {
	case l.missing <- struct{}{}:
	default:
	}
}

func newLink() *link {
	l := &link{reborn: make(chan struct{}), missing: make(chan struct{}, 1)}
	l.live()
	return l
}

func (l *link) live() { l.life, l.die = context.WithCancel(context.Background()) }

// during ends ctx with the connection too, its cause is errReborn then; and when something that it is about is refused,
// its cause is the refusal then.
func (l *link) during(ctx context.Context, about func(subject string) bool) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	ctx, heeded := l.refusals.heed(ctx, about)
	l.mu.Lock()
	life := l.life
	l.mu.Unlock()
	stop := context.AfterFunc(life, func() { cancel(errReborn) })
	return ctx, func() {
		stop()
		heeded()
		cancel(nil)
	}
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
		if l.dialer != nil && !l.answers() {
			l.dialer.cut()
		}
		l.nc.Close()
		l.mu.Lock()
		defer l.mu.Unlock()
		l.closed = true
		l.die()
	}
}

// next is closed when the connection was lost and came back: what was asked of the server is to be asked again.
func (l *link) next() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reborn
}

// state says whether there is a connection, and whether it was closed for good. The client would say so too, but not while
// it is trying to connect to a server that is frozen.
func (l *link) state() (there, closed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.down.IsZero() && !l.closed, l.closed
}

// arrived notes to which server the connection is.
func (l *link) arrived(at string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.at = at
}

func (l *link) where() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.at
}

func (l *link) there() bool {
	there, _ := l.state()
	return there
}

// connected blocks until the connection is there.
func (l *link) connected(ctx context.Context) error {
	for {
		back := l.next()
		switch there, closed := l.state(); {
		case closed:
			return driver.ErrClosed
		case there:
			return nil
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

var errUnanswered = errors.New("no answer came")

// answering bounds, in a cluster, how long an answer may take: a server that dies takes what it had under way with it,
// and the connection may be to another that lives. What was sent is sent again then. A single server is waited for, it may
// only be slow. Each answer that comes begins the time anew.
func (l *link) answering(ctx context.Context) (_ context.Context, heard, done func()) {
	if !l.clustered {
		return ctx, func() {}, func() {}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	t := time.AfterFunc(tryFor, func() { cancel(errUnanswered) })
	return ctx, func() { t.Reset(tryFor) }, func() {
		t.Stop()
		cancel(nil)
	}
}

// briefly asks something while others wait to ask: for so long at most, and only as long as the connection lasts. Then it is
// errUnanswered, and to be asked again, unless ctx is over too.
func (l *link) briefly(ctx context.Context, most time.Duration, about func(subject string) bool, ask func(context.Context) error) error {
	brief, cancel := context.WithTimeoutCause(ctx, most, errUnanswered)
	defer cancel()
	brief, done := l.during(brief, about)
	defer done()
	err := ask(brief)
	if err == nil || ctx.Err() != nil || brief.Err() == nil || errors.Is(err, driver.ErrFenced) {
		return err
	}
	if cause := context.Cause(brief); errors.As(cause, new(*refusal)) {
		return cause
	}
	return fmt.Errorf("%w: %w", errUnanswered, err)
}

// tryFor is how long one question to the server may take before it is asked again.
const tryFor = 5 * time.Second

// call asks something of a stream, and asks again while the server or cluster is just starting, choosing a leader or away,
// until ctx ends. What the user may not ask ends it at once.
func (l *link) call(ctx context.Context, stream string, ask func(context.Context) error) error {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		err := l.connected(ctx)
		if err == nil {
			err = l.once(ctx, stream, ask)
		}
		if err == nil {
			l.note(stream, nil, time.Time{})
			return nil
		}
		if away(ctx, err) && l.there() {
			l.note(stream, err, time.Now())
		}
		if ctx.Err() != nil || !passing(err) || !pause.For(ctx, wait) {
			return err
		}
	}
}

func (l *link) once(ctx context.Context, stream string, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, tryFor)
	defer cancel()
	ctx, done := l.during(ctx, concerns(stream))
	defer done()
	err := ask(ctx)
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// explain adds to a timeout what the server said meanwhile: a refused permission looks like a timeout. Where nobody said
// anything it is ErrAway, or ErrFull when that is the disk's doing. It has the driver look whether a stream is gone when none answered.
func (l *link) explain(err error) error {
	if err == nil || errors.As(err, new(*refusal)) || errors.Is(err, driver.ErrAway) {
		return err
	}
	if isMissing(err) {
		l.suspect()
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, errSilent) {
		if rs := l.refusals.now(time.Now()); len(rs) > 0 {
			return fmt.Errorf("%w (%w)", err, rs[0])
		}
		l.mu.Lock()
		said, at := l.said, l.saidAt
		l.mu.Unlock()
		if said != nil && time.Since(at) < recent {
			return fmt.Errorf("%w (the server said: %w)", err, said)
		}
	}
	if passing(err) && l.tight != nil {
		if short := l.tight(); short != nil {
			return fmt.Errorf("%w: %w", short, err)
		}
	}
	if mute := l.silence(err); mute != nil {
		return mute
	}
	var api *jetstream.APIError
	if passing(err) && !(errors.As(err, &api) && api.ErrorCode == errResources) {
		return fmt.Errorf("%w: %w", driver.ErrAway, err)
	}
	return err
}

// errResources: passing when a server starts, and else for somebody to give it more.
const errResources jetstream.ErrorCode = 10023

// names begins the names of this driver's members: of which process they are, for people. Of an embedded server's the
// run comes first, for owner.lives.
func (d *Driver) names() string {
	own := nuid.Next()[16:]
	if d.host != nil {
		return d.host.run + "-" + own
	}
	return processName() + own
}

// processName says which process this is: where it runs, and its number. No other process has the same.
func processName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	var b strings.Builder
	for i := 0; i < len(host) && i < 24; i++ {
		if isPlain(host[i]) {
			b.WriteByte(host[i])
		} else {
			b.WriteByte('_')
		}
	}
	return fmt.Sprintf("%s-%d-%s", b.String(), os.Getpid(), strconv.FormatInt(time.Now().UnixNano(), 36))
}
