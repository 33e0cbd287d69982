package alertmanager

import (
	"log/slog"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/prometheus/alertmanager/matcher/compat"
	"github.com/prometheus/alertmanager/pkg/labels"
)

// filter is what a query asks of alerts and of their receivers.
type filter struct {
	matchers  []*labels.Matcher
	receiver  *regexp.Regexp // Nil for every one.
	receivers []*labels.Matcher
	// The flags leave something out when they are false.
	active, silenced, inhibited, unprocessed, muted bool
}

func readFilter(q url.Values) (f filter, err error) {
	if f.matchers, err = matchersOf(q, "filter"); err != nil {
		return f, err
	}
	if f.receivers, err = matchersOf(q, "receiver_matchers"); err != nil {
		return f, err
	}
	if text := q.Get("receiver"); text != "" {
		if f.receiver, err = regexp.Compile("^(?:" + text + ")$"); err != nil {
			return f, bad("failed to parse receiver param: %v", err)
		}
	}
	err = flags(q, map[string]*bool{"active": &f.active, "silenced": &f.silenced, "inhibited": &f.inhibited, "unprocessed": &f.unprocessed, "muted": &f.muted})
	return f, err
}

// flags reads parameters that are true when they are absent.
func flags(q url.Values, into map[string]*bool) error {
	for name, to := range into {
		text := q.Get(name)
		if *to = true; text == "" {
			continue
		}
		var err error
		if *to, err = strconv.ParseBool(strings.ToLower(text)); err != nil {
			return bad("%s=%.40q is neither true nor false", name, text)
		}
	}
	return nil
}

// matchersOf reads a parameter of matchers, as amtool and Alertmanager's console write them.
func matchersOf(q url.Values, name string) ([]*labels.Matcher, error) {
	parse := compat.FallbackMatcherParser(slog.New(slog.DiscardHandler))
	var all []*labels.Matcher
	for _, text := range q[name] {
		m, err := parse(text, "api")
		if err != nil {
			return nil, bad("failed to parse %s param: %v", name, err)
		}
		all = append(all, m)
	}
	return all, nil
}

// matches reports whether labels are what the matchers ask for. A label that is not there is empty.
func matches(matchers []*labels.Matcher, get func(string) string) bool {
	for _, m := range matchers {
		if !m.Matches(get(m.Name)) {
			return false
		}
	}
	return true
}

// takes reports whether a receiver is asked for. Receivers have no labels.
func (f *filter) takes(receiver string) bool {
	return (f.receiver == nil || f.receiver.MatchString(receiver)) && matches(f.receivers, func(string) string { return "" })
}
