package api

import (
	"net/url"
	"testing"
	"time"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/event"
)

func TestSpansAreReadAsPeopleWriteThem(t *testing.T) {
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	for in, want := range map[string]time.Duration{"5m": 5 * time.Minute, "2h ago": 2 * time.Hour, "1d": 24 * time.Hour, "2026-11-22T09:00:00Z": time.Hour, "2026-11-22T10:00:00+02:00": 2 * time.Hour} {
		if at, err := parseTime(in, now); err != nil || now.Sub(at) != want {
			t.Errorf("%s is %s, %v", in, at, err)
		}
	}
	for in, want := range map[string]struct {
		partition int
		position  int64
		ok        bool
	}{
		"17": {-1, 17, true}, "3/17": {3, 17, true}, "0/0": {0, 0, true},
		"-1/3": {}, "3/-1": {}, "/3": {}, "3/": {}, "a/b": {}, "1/2/3": {}, "17m": {},
	} {
		partition, position, ok := parsePosition(in)
		if ok != want.ok || ok && (partition != want.partition || position != want.position) {
			t.Errorf("%s is %d/%d, %v", in, partition, position, ok)
		}
	}
	if s, err := parseSpan(event.Topic{Name: "x", Partitions: 1}, url.Values{"from": {"1h"}}, now, false); err != nil || !s.To.Equal(now) {
		t.Errorf("without an end: %+v, %v", s, err)
	}
	if s, err := parseSpan(event.Topic{Name: "x", Partitions: 1}, nil, now, true); err != nil || !s.To.IsZero() || !s.From.End {
		t.Errorf("live: %+v, %v", s, err)
	}
}

// Whatever is asked for, what is passed on to a broker is a legal subscription.
func FuzzParseSpan(f *testing.F) {
	for _, s := range []string{"", "beginning", "newest", "5m", "3/17", "17", "2026-11-22T09:00:00Z", "-5m", "9999999999999h", "/"} {
		f.Add(s, "", byte(1), byte(4))
		f.Add(s, "1m", byte(0), byte(1))
	}
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, from, to string, kind, partitions byte) {
		topic := event.Topic{Name: "x", Kind: event.Kind(kind % 3), Partitions: 1 + int(partitions)}
		for _, live := range []bool{true, false} {
			s, err := parseSpan(topic, url.Values{"from": {from}, "to": {to}}, now, live)
			if err != nil {
				continue
			}
			sub := driver.Subscription{Topic: "x", Start: s.From}
			if s.Partition != nil {
				sub.Partitions = []int{*s.Partition}
			}
			if err := sub.Check(driver.Topic{Kind: driver.Kind(topic.Kind), Partitions: topic.Partitions}); err != nil {
				t.Errorf("from %q: %v", from, err)
			}
			if live != s.To.IsZero() && to == "" {
				t.Errorf("to is %s", s.To)
			}
		}
	})
}
