package obs

import (
	"log/slog"
	"sync"
	"time"
)

// Trouble logs that something which is tried again and again does not work: when it begins, then at most once a minute
// with how often it failed, and when it is over. It is safe for concurrent use; the zero Trouble is ready.
type Trouble struct {
	mu     sync.Mutex
	since  time.Time // Zero while it works.
	said   time.Time // When it was last logged that it does not.
	failed int       // How often since it began.
	told   bool      // Something was logged of this trouble.
}

// Failed notes that it did not work, and logs the text when that is due.
func (t *Trouble) Failed(log *slog.Logger, now time.Time, text string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.since.IsZero() {
		t.since, t.failed, t.told = now, 0, false
	}
	t.failed++
	if ago := now.Sub(t.said); ago >= 0 && ago < Every {
		return
	}
	t.said, t.told = now, true
	log.Warn(text, append(args, "failures", t.failed, "for", now.Sub(t.since).Round(time.Second))...)
}

// Works notes that it works, and logs the text when a trouble that was logged is over with that.
func (t *Trouble) Works(log *slog.Logger, now time.Time, text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.told {
		log.Info(text, "failures", t.failed, "after", now.Sub(t.since).Round(time.Second))
	}
	t.since, t.told = time.Time{}, false
}
