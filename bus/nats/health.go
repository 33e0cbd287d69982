package nats

import (
	"context"
	"errors"
	"fmt"
	"time"

	"kemi.dev/kemi/bus/driver"
)

// trouble is what a topic could not do of late.
type trouble struct {
	err   error
	since time.Time
	last  time.Time
}

// note keeps for Health what became of an operation on a stream.
func (l *link) note(stream string, err error, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	have := l.troubles[stream]
	switch {
	case err == nil:
		delete(l.troubles, stream)
	case have == nil:
		if l.troubles == nil {
			l.troubles = map[string]*trouble{}
		}
		l.troubles[stream] = &trouble{err, now, now}
	default:
		have.err, have.last = err, now
	}
}

// Health implements driver.Inspector.
func (d *Driver) Health() error {
	d.mu.Lock()
	closed, links := d.closed, d.links
	d.mu.Unlock()
	now := time.Now()
	switch {
	case closed:
		return driver.ErrClosed
	case links[process] == nil:
		return errors.New("not connected to nats yet")
	}
	var all []error
	for i, l := range links {
		if i == 0 || l != links[0] {
			if err := l.health(now); err != nil {
				all = append(all, d.whose(i, err))
			}
		}
	}
	return errors.Join(all...)
}

// whose says which server an error is about.
func (d *Driver) whose(i int, err error) error {
	if d.host != nil {
		return fmt.Errorf("embedded nats for durability %s: %w", folders[i], err)
	}
	return fmt.Errorf("nats at %s: %w", redacted(d.config.URLs), err)
}

func (l *link) health(now time.Time) error {
	l.mu.Lock()
	down, reason, ailing := l.down, l.reason, l.ailing
	if ailing != nil {
		one := *ailing
		ailing = &one
	}
	var worst error
	var since time.Time
	for stream, t := range l.troubles {
		if now.Sub(t.last) > recent {
			delete(l.troubles, stream)
		} else if worst == nil || t.since.Before(since) {
			worst, since = fmt.Errorf("stream %s cannot be reached since %s: %w", stream, clock(t.since), t.err), t.since
		}
	}
	l.mu.Unlock()
	if !down.IsZero() {
		if reason == nil {
			return fmt.Errorf("not connected since %s", clock(down))
		}
		return fmt.Errorf("not connected since %s: %w", clock(down), reason)
	}
	if rs := l.refusals.now(now); len(rs) > 0 {
		return rs[0]
	}
	if ailing != nil {
		return fmt.Errorf("since %s %w", clock(ailing.since), ailing.err)
	}
	if m := l.muted.Load(); m != nil && now.Sub(m.last) < recent {
		return fmt.Errorf("since %s %s", clock(m.since), l.mutely())
	}
	return worst
}

func clock(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// away says that an operation failed because nobody leads the stream, or none is there.
func away(ctx context.Context, err error) bool {
	return passing(err) && !errors.Is(err, errReborn) && !errors.Is(ctx.Err(), context.Canceled)
}
