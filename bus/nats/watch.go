package nats

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// An external server may be frozen, and a cluster may be without a leader, while the connection is there and nobody has
// anything to do. A link to one has a watch, which asks every now and then, and notices within some seconds. It cuts no
// connection: that is for the client's own pings, which have longer.

// The watch counts beats, not time: a process that was stopped, or has no processor to itself, gets too few of them
// rather than a server that seems silent.
const (
	pulse    = 500 * time.Millisecond
	askEvery = 4 // Beats between two questions for JetStream, which its leader answers.
	// pingAfter is for how many beats nothing came before the server is asked for a sign, and frozenAfter how many it is
	// taken for one that does not answer: by then it has had four seconds for a few bytes. Anything that comes is a sign.
	pingAfter   = 2
	frozenAfter = 10
	// leaderless is how many questions for JetStream failed, one after the other, when it is taken for away. A cluster
	// chooses a leader within 4 to 9 s, and its streams go on storing meanwhile.
	leaderless = 5
	// muteFor is for how long a server stored nothing when that is told.
	muteFor = 5 * time.Second
)

// watch is one link's. Its goroutine is run.
type watch struct {
	l   *link
	log *slog.Logger

	heard, quiet int64      // What came so far, and for how many beats nothing did.
	ping         chan error // Nil when none is under way.

	beats int
	ask   chan error // Nil when no question is under way.
	blind bool       // The user may not ask.
	fails int        // Of the questions, one after the other.
	why   error      // The last of them.
}

// run watches until ctx ends.
func (w *watch) run(ctx context.Context) {
	clock := time.NewTicker(pulse)
	defer clock.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-clock.C:
			w.beat(ctx, time.Now())
		}
	}
}

func (w *watch) beat(ctx context.Context, now time.Time) {
	if !w.l.there() { // Who lost the connection has told it.
		w.quiet, w.fails, w.beats = 0, 0, 0
		w.l.ail(nil, now)
		w.l.absence.remind(w.log, now)
		return
	}
	w.listen(ctx)
	w.inquire(ctx)
	text, err := w.judge()
	if err == nil {
		w.l.ail(nil, now)
	} else {
		w.l.ail(fmt.Errorf("%s: %w", text, err), now)
	}
	if err == nil {
		text, err = w.mute(now)
	}
	if err == nil {
		w.l.absence.end(w.log, now, "nats is back")
		return
	}
	w.l.absence.begin(w.log, now, text+": what needs it waits until it is back", err)
}

// listen counts for how long nothing came, and asks for a sign when that is long. The client may hang in a write, with all
// its locks, so others do the asking.
func (w *watch) listen(ctx context.Context) {
	w.quiet++
	if n := w.l.dialer.heard.Load(); n != w.heard {
		w.heard, w.quiet = n, 0
	}
	if over(&w.ping) && w.quiet >= pingAfter {
		ping := make(chan error, 1)
		w.ping = ping
		go func() {
			ctx, cancel := context.WithTimeout(ctx, tryFor)
			defer cancel()
			ping <- w.l.nc.FlushWithContext(ctx)
		}()
	}
}

// over says whether nothing is under way, and takes what came of it.
func over(c *chan error) bool {
	if *c == nil {
		return true
	}
	select {
	case <-*c:
		*c = nil
		return true
	default:
		return false
	}
}

// inquire asks whether JetStream is there.
func (w *watch) inquire(ctx context.Context) {
	if w.ask != nil {
		select {
		case err := <-w.ask:
			w.ask = nil
			switch {
			case err == nil:
				w.fails = 0
			case errors.As(err, new(*refusal)):
				w.blind, w.fails = true, 0
			case w.quiet <= pingAfter: // One that says nothing at all is frozen.
				w.fails, w.why = w.fails+1, err
			}
		default:
		}
	}
	if w.beats++; w.beats < askEvery || w.ask != nil || w.blind {
		return
	}
	w.beats = 0
	ask := make(chan error, 1)
	w.ask = ask
	go func() {
		ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
		defer cancel()
		ask <- w.l.once(ctx, "INFO", func(ctx context.Context) error {
			_, err := w.l.js.AccountInfo(ctx)
			return err
		})
	}()
}

// judge says what is wrong with the server, and why that is believed.
func (w *watch) judge() (text string, err error) {
	switch {
	case w.quiet >= frozenAfter:
		return "nats does not answer", fmt.Errorf("nothing comes from %s, though it was asked", w.l.where())
	case w.fails >= leaderless && w.l.clustered:
		return "the nats cluster has no leader", fmt.Errorf("more than half of its servers must run and reach one another: %w", w.why)
	case w.fails >= leaderless:
		return "JetStream of the nats server is away", w.why
	}
	return "", nil
}

// mute says that the server answers and does not store.
func (w *watch) mute(now time.Time) (text string, err error) {
	m := w.l.muted.Load()
	if m == nil || w.fails > 0 || m.last.Sub(m.since) < muteFor || now.Sub(m.last) >= recent {
		return "", nil
	}
	return "nats does not store", errors.New(w.l.mutely())
}

// ail keeps for Health what the watch found; nil that it found nothing.
func (l *link) ail(err error, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err == nil:
		l.ailing = nil
	case l.ailing == nil:
		l.ailing = &trouble{err, now, now}
	default:
		l.ailing.err, l.ailing.last = err, now
	}
}
