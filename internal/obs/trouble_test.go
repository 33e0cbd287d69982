package obs_test

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"kemi.dev/kemi/internal/obs"
)

func TestATroubleIsSaidWhenItBeginsOnceAMinuteAndWhenItIsOver(t *testing.T) {
	var text strings.Builder
	log := slog.New(slog.NewTextHandler(&text, nil))
	var trouble obs.Trouble
	now := time.Date(2026, 11, 22, 5, 0, 0, 0, time.UTC)
	lines := func() int { return strings.Count(text.String(), "\n") }
	failed := func() { trouble.Failed(log, now, "say again", "err", errors.New("full")) }

	trouble.Works(log, now, "said again")
	if lines() != 0 {
		t.Errorf("nothing was wrong, and it says %s", text.String())
	}
	for range 1500 { // 150 s
		failed()
		now = now.Add(100 * time.Millisecond)
	}
	if lines() != 3 || !strings.Contains(text.String(), "err=full failures=1 for=0s") || !strings.Contains(text.String(), "failures=1201 for=2m0s") {
		t.Errorf("in 150 s: %s", text.String())
	}
	trouble.Works(log, now, "said again")
	trouble.Works(log, now, "said again")
	if lines() != 4 || !strings.Contains(text.String(), `msg="said again" failures=1500 after=2m30s`) {
		t.Errorf("when it is over: %s", text.String())
	}
	text.Reset()
	for range 300 { // 30 s, and it comes and goes
		failed()
		trouble.Works(log, now, "said again")
		now = now.Add(100 * time.Millisecond)
	}
	if n := lines(); n > 2 {
		t.Errorf("what comes and goes is said %d times in 30 s", n)
	}
	text.Reset()
	now = now.Add(-time.Hour) // The clock was put back.
	failed()
	if lines() != 1 {
		t.Errorf("after the clock was put back: %s", text.String())
	}
}
