package hush

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/prometheus/alertmanager/pkg/labels"
	"pgregory.net/rapid"

	"kemi.dev/kemi/bus/event"
)

// theirs is a matcher of Alertmanager's own package.
func theirs(m event.Matcher) (*labels.Matcher, error) {
	kind := labels.MatchEqual
	switch {
	case m.Regex && m.Negative:
		kind = labels.MatchNotRegexp
	case m.Regex:
		kind = labels.MatchRegexp
	case m.Negative:
		kind = labels.MatchNotEqual
	}
	return labels.NewMatcher(kind, m.Name, m.Value)
}

func slowMatch(all []event.Matcher, values map[string]string) bool {
	for _, m := range all {
		c, err := theirs(m)
		if err != nil || !c.Matches(values[m.Name]) {
			return false
		}
	}
	return true
}

// same compares a matcher with Alertmanager's on a value.
func same(t interface{ Fatalf(string, ...any) }, m event.Matcher, value string) {
	ours, err := compileMatcher(m)
	their, theirErr := theirs(m)
	if m.Regex && theirErr == nil {
		_, theirErr = regexp.Compile(m.Value) // As a silence of theirs is judged.
	}
	if (err == nil) != (theirErr == nil) {
		t.Fatalf("%s: %v, theirs %v", matcherText(m), err, theirErr)
	}
	if err == nil && ours.matches(value) != their.Matches(value) {
		t.Fatalf("%s of %q: %v, theirs %v", matcherText(m), value, ours.matches(value), their.Matches(value))
	}
}

func TestMatchersMatchAsAlertmanagersDo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := event.Matcher{Name: "a", Regex: rapid.Bool().Draw(t, "regex"), Negative: rapid.Bool().Draw(t, "negative")}
		m.Value = rapid.StringMatching(`[ab|()^$?.*\n:-]{0,8}`).Draw(t, "pattern")
		for _, value := range append(rapid.SliceOf(rapid.StringMatching(`[ab|\n-]{0,4}`)).Draw(t, "values"), "", "a", "ab", "a\n") {
			same(t, m, value)
		}
	})
}

func TestAlternativesAreToldApartWithoutARegularExpression(t *testing.T) {
	for pattern, want := range map[string]string{
		"a|b|a": "a,b", "^(web-1|web-2)$": "web-1,web-2", "^(?:a|b)$": "a,b", "one": "one", "": "", "a|": ",a",
		"a.b": "-", "(a|b)": "-", "^a$": "-", "^(a)|(b)$": "-", "^(a": "-", "a)$": "-", "^(?i:a)$": "-",
	} {
		got := "-"
		if values := alternatives(pattern); values != nil {
			got = strings.Join(values, ",")
		}
		if got != want {
			t.Errorf("%q: %s, want %s", pattern, got, want)
		}
	}
}

func FuzzMatcher(f *testing.F) {
	f.Add("a.*", "abc", true, false)
	f.Add("^(a|b)$", "b", true, true)
	f.Add("a)(b", "ab", true, false)
	f.Add("(?s).", "\n", true, false)
	f.Add("x", "x", false, true)
	f.Fuzz(func(t *testing.T, pattern, value string, regex, negative bool) {
		if !utf8.ValidString(pattern) || len(pattern) > 1000 {
			return
		}
		same(t, event.Matcher{Name: "a", Value: pattern, Regex: regex, Negative: negative}, value)
	})
}
