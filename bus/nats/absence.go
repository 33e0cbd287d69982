package nats

import (
	"errors"
	"log/slog"
	"sync"
	"time"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/internal/obs"
)

// All that readers and groups try again while a link is of no use is one thing. It is told once, with why, and once that
// it is over.

const (
	// settles is how long something that may be the link's trouble is tried again before it is told by itself: until
	// then the watch knows whether it is.
	settles = 20 * time.Second
	// lingers is how long trouble lasts that is told less than a minute after other.
	lingers = 10 * time.Second
)

// absence is the time in which a link is of no use.
type absence struct {
	mu    sync.Mutex
	since time.Time // Zero while it is of use.
	text  string
	err   error
	told  bool
	last  time.Time // When one was told last.

	first map[string]*spell // Of what is tried again, by what it says.
}

// spell is since when and until when something was tried again.
type spell struct{ first, last time.Time }

// begin notes that the link is of no use, for a reason; what is wrong already is not begun anew.
func (a *absence) begin(log *slog.Logger, now time.Time, text string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.since.IsZero() {
		a.since, a.text, a.err, a.told = now, text, err, false
	}
	a.tell(log, now)
}

// remind tells what was not told yet, because it came soon after other trouble.
func (a *absence) remind(log *slog.Logger, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.since.IsZero() {
		a.tell(log, now)
	}
}

func (a *absence) tell(log *slog.Logger, now time.Time) {
	if a.told || !a.last.IsZero() && now.Sub(a.last) < obs.Every && now.Sub(a.since) < lingers {
		return
	}
	a.told, a.last = true, now
	log.Warn(a.text, "err", a.err)
}

// end notes that the link is of use again.
func (a *absence) end(log *slog.Logger, now time.Time, text string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.told {
		log.Info(text, append(args, "after", now.Sub(a.since).Round(time.Second).String())...)
	}
	a.since, a.told = time.Time{}, false
}

// covers says whether something that did not work needs no line of its own: the link is of no use, which was told, or
// may yet turn out to be.
func (a *absence) covers(what string, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.since.IsZero() {
		return true
	}
	s := a.first[what]
	if s == nil || now.Sub(s.last) > obs.Every {
		if a.first == nil || len(a.first) >= 1000 {
			a.first = map[string]*spell{}
		}
		s = &spell{first: now}
		a.first[what] = s
	}
	s.last = now
	return now.Sub(s.first) < settles
}

// idle says whether an error may come from a link that is of no use.
func idle(err error) bool {
	return (passing(err) || errors.Is(err, errSilent) || errors.Is(err, driver.ErrAway)) && !errors.Is(err, driver.ErrFull) && !errors.As(err, new(*refusal))
}
