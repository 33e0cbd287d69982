package conf

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestNearestFindsWhatWasMeant(t *testing.T) {
	known := []string{"icmp", "snmp", "http", "tcp", "retention", "every"}
	for word, want := range map[string]string{
		"htpt": "http", "HTTP": "http", "htttp": "http", "retension": "retention", "evry": "every", "snm": "snmp",
		"zebra": "", "": "", "x": "", "completely different": "",
	} {
		if got := Nearest(word, known); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", word, got, want)
		}
	}
	if got := Nearest("ab", []string{"b", "ac", "aa"}); got != "aa" {
		t.Errorf("of equals the first in the alphabet wins, got %q", got)
	}
}

func TestDistanceIsSymmetricAndZeroOnlyForEquals(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.StringMatching(`[abcö]{0,6}`)
		a, b := words.Draw(t, "a"), words.Draw(t, "b")
		if distance(a, b) != distance(b, a) || (distance(a, b) == 0) != (a == b) {
			t.Fatalf("distance(%q,%q) = %d, back %d", a, b, distance(a, b), distance(b, a))
		}
	})
}

func TestDurationsKnowDaysAndWeeks(t *testing.T) {
	const day = 24 * time.Hour
	for in, want := range map[string]time.Duration{
		"15d": 15 * day, "1w2d12h": 9*day + 12*time.Hour, "1.5d": 36 * time.Hour, "-2d": -2 * day, "+1w": 7 * day,
		"1h30m": 90 * time.Minute, "0": 0, "1d250ms": day + 250*time.Millisecond, "-1.5s": -1500 * time.Millisecond,
	} {
		if got, err := ParseDuration(in); err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %v, %v, want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "d", "1", "1dd", "w1", "--1d", "1d-2h", "1 d", "200000d", "30000w", "106751d24h", "1.d.d", "1d2"} {
		if got, err := ParseDuration(in); err == nil {
			t.Errorf("ParseDuration(%q) = %v, want an error", in, got)
		}
	}
}
