package api

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/conf"
)

const fromForms = "write beginning, 2h (ago), 2026-11-22T10:00:00Z (with the command kemi also 10:00), or a position as PARTITION/POSITION"

// parseSpan reads which part of a topic is meant: from, to, key. live says that without a from it begins with what
// comes; else a from is needed, and without a to the span ends now.
func parseSpan(t event.Topic, q url.Values, now time.Time, live bool) (bus.Span, error) {
	s := bus.Span{Topic: t.Name, Key: q.Get("key")}
	var err error
	if s.From, s.Partition, err = parseFrom(t, strings.TrimSpace(q.Get("from")), now, live); err != nil {
		return s, err
	}
	if live && s.From.Time.After(now) {
		return s, fmt.Errorf("from, %s, is still to come: leave it out to begin with what comes", s.From.Time.UTC().Format(time.RFC3339))
	}
	if live {
		return s, nil
	}
	s.To = now
	if to := strings.TrimSpace(q.Get("to")); to != "" {
		if s.To, err = parseTime(to, now); err != nil {
			return s, fmt.Errorf("to=%q is no time: write 30m (ago), 2026-11-22T10:00:00Z, or leave it out for now", to)
		}
	}
	if !s.From.Time.IsZero() && !s.From.Time.Before(s.To) {
		return s, fmt.Errorf("from, %s, is not before to, %s: turn them round", s.From.Time.UTC().Format(time.RFC3339), s.To.UTC().Format(time.RFC3339))
	}
	return s, nil
}

func parseFrom(t event.Topic, from string, now time.Time, live bool) (bus.From, *int, error) {
	none := bus.From{}
	switch from {
	case "":
		if !live {
			return none, nil, errors.New("from is missing: " + fromForms)
		}
		return bus.From{End: true}, nil, nil
	case "beginning":
		return none, nil, nil
	case "newest":
		if t.Kind != event.Latest {
			return none, nil, fmt.Errorf("from=newest: %s keeps no newest record of each key: %s", t.Name, fromForms)
		}
		return bus.From{Snapshot: true}, nil, nil
	}
	if partition, position, ok := parsePosition(from); ok {
		switch {
		case partition < 0 && t.Partitions > 1:
			return none, nil, fmt.Errorf("from=%q: %s has %d partitions, each with positions of its own: write PARTITION/POSITION, such as 0/%d", from, t.Name, t.Partitions, position)
		case partition >= t.Partitions:
			return none, nil, fmt.Errorf("from=%q: the partitions of %s are 0 to %d", from, t.Name, t.Partitions-1)
		}
		partition = max(partition, 0)
		return bus.From{Position: position}, &partition, nil
	}
	at, err := parseTime(from, now)
	if err != nil {
		return none, nil, fmt.Errorf("from=%q is none: %s", from, fromForms)
	}
	return bus.From{Time: at}, nil, nil
}

// parsePosition reads 7/1234, or 1234 with the partition left out: -1.
func parsePosition(s string) (partition int, position int64, ok bool) {
	partition = -1
	if before, after, both := strings.Cut(s, "/"); both {
		p, err := strconv.ParseUint(before, 10, 16)
		if err != nil {
			return 0, 0, false
		}
		partition, s = int(p), after
	}
	position, err := strconv.ParseInt(s, 10, 64)
	return partition, position, err == nil && position >= 0
}

// parseTime reads a point in time: how long ago, or RFC 3339.
func parseTime(s string, now time.Time) (time.Time, error) {
	d, err := conf.ParseDuration(strings.TrimSpace(strings.TrimSuffix(s, "ago")))
	if err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	return time.Parse(time.RFC3339, s)
}
