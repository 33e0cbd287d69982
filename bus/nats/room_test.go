package nats

import (
	"log/slog"
	"strings"
	"testing"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/internal/journal"
	"kemi.dev/kemi/internal/obs"
)

func TestADiskHasToHoldWhatTheTopicsMayHaveAndMore(t *testing.T) {
	const mib, gib = int64(1 << 20), int64(1 << 30)
	d := newDisk("d", obs.Scope{}, 256*mib, 64*mib)
	for _, c := range []struct{ limits, used, free, size, want int64 }{
		{10 * gib, 0, 100 * gib, 200 * gib, 0},
		{10 * gib, 0, 10*gib + 272*mib, 200 * gib, 0},
		{10 * gib, 0, 10*gib + 271*mib, 200 * gib, mib},
		{10 * gib, 10 * gib, 300 * mib, 20 * gib, 0}, // It is as full as it gets.
		{10 * gib, 11 * gib, 300 * mib, 20 * gib, 0},
		{10 * gib, 9 * gib, 300 * mib, 20 * gib, gib - 28*mib},
	} {
		if got := max(0, d.lacks(c.limits, c.used, c.free, c.size)); got != c.want {
			t.Errorf("%+v: got %d MiB, want %d", c, got>>20, c.want>>20)
		}
	}
}

// A disk that the topics outgrow before they are trimmed is named at the start, with what to change, not hours later.
func TestAStartNamesADiskThatTheTopicsOutgrow(t *testing.T) {
	for name, c := range map[string]struct {
		limit int64
		want  int
	}{"fits": {1 << 20, 0}, "does not": {1 << 50, 1}} {
		t.Run(name, func(t *testing.T) {
			log := &journal.Journal{}
			d, err := New(Config{}, t.TempDir(), obs.New(slog.New(slog.NewTextHandler(log, nil)), nil))
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			topics := []driver.Topic{{Name: "t", Partitions: 1, MaxBytes: 1 << 20, DropOldest: true}}
			if err := d.Ensure(t.Context(), topics); err != nil {
				t.Fatal(err)
			}
			log.Reset()
			topics[0].MaxBytes = c.limit
			d.foresee(topics)
			if n := strings.Count(log.String(), "the topics may grow to more than the disk has room for"); n != c.want {
				t.Errorf("said %d times: %s", n, log)
			}
			if c.want > 0 && (!strings.Contains(log.String(), "set data:") || !strings.Contains(log.String(), "lacking_mib=")) {
				t.Errorf("it does not say what to change: %s", log)
			}
		})
	}
}
