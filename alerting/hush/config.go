package hush

import (
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/alertmanager/matcher/compat"
	"github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/common/promslog"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/conf"
)

// below is the value of a key, or the node itself when the key is absent.
func below(n conf.Node, key string) conf.Node {
	if v := n.Get(key); !v.IsZero() {
		return v
	}
	return n
}

// split takes a message apart into what is wrong and what to do.
func split(message string) (what, do string) {
	if i := strings.LastIndex(message, ": "); i >= 0 {
		return message[:i], message[i+2:]
	}
	return message, "correct it"
}

// parseTime reads a time as RFC 3339 writes it, or as the clocks of a zone show it.
func parseTime(text string, zone *time.Location) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	for _, layout := range []string{"2006-01-02 15:04", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02T15:04:05", time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return instant(t, zone), nil
		}
	}
	return time.Time{}, fmt.Errorf("%s is no time: write 2026-01-04 02:00 or 2026-01-04T02:00:00+09:00", shortQuote(text))
}

// readMatchers reads matchers as Alertmanager writes them; one line may hold several.
func readMatchers(lines []conf.Node) ([]event.Matcher, conf.Problems) {
	parse := compat.FallbackMatchersParser(promslog.NewNopLogger())
	var out []event.Matcher
	var problems conf.Problems
	for _, n := range lines {
		if n.Kind() != conf.Scalar {
			problems = append(problems, n.Problem("expected a matcher, got "+n.Kind().String(), `write one such as 'severity="warning"', in quotes`))
			continue
		}
		parsed, err := parse(n.Text(), "configuration")
		if err != nil {
			problems = append(problems, n.Problem(shortQuote(n.Text())+" is no matcher ("+err.Error()+")", `write one such as severity="warning" or instance=~"web.*"`))
			continue
		}
		for _, m := range parsed {
			out = append(out, event.Matcher{
				Name: m.Name, Value: m.Value, Regex: m.Type == labels.MatchRegexp || m.Type == labels.MatchNotRegexp,
				Negative: m.Type == labels.MatchNotEqual || m.Type == labels.MatchNotRegexp,
			})
		}
	}
	return out, problems
}
