package hush

import (
	"cmp"
	"errors"
	"fmt"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/prometheus/alertmanager/pkg/labels"

	"kemi.dev/kemi/bus/event"
)

// maxRegex is how long a regular expression may be, in bytes: compiled it takes some hundred times as much.
const maxRegex = 64 << 10

// matcher is one matcher, compiled.
type matcher struct {
	name string
	// values are those it matches, when they can be listed: of an equality, and of a regular expression that is nothing
	// but alternatives such as "a|b", as consoles write them.
	values   []string
	negative bool
	// full is for everything else.
	full *labels.Matcher
}

// matches judges a value; that of a label that is not there is "".
func (m *matcher) matches(value string) bool {
	if m.full != nil {
		return m.full.Matches(value)
	}
	if len(m.values) == 1 {
		return (m.values[0] == value) != m.negative
	}
	_, found := slices.BinarySearch(m.values, value)
	return found != m.negative
}

// listed says that a label must have one of the values, none of them empty: what an index can look up.
func (m *matcher) listed() bool { return m.full == nil && !m.negative && m.values[0] != "" }

// compileMatchers makes the matchers of a silence ready; those that cost least come first. The error names the place.
func compileMatchers(all []event.Matcher) ([]matcher, error) {
	if len(all) == 0 {
		return nil, errors.New("there are no matchers: select alerts by at least one label, such as alertname=\"InstanceDown\"")
	}
	out, empty, err := compileEach(all)
	if err != nil {
		return nil, err
	}
	if empty {
		return nil, errors.New("every matcher matches the empty value, so that it would hold for everything without these labels: " +
			"add a matcher with a value, such as alertname=\"InstanceDown\"")
	}
	return out, nil
}

// compileEach is compileMatchers for a side of an inhibition rule, which may match everything. It says whether all of
// them match the empty value; of negative ones nobody asks, as Alertmanager does not.
func compileEach(all []event.Matcher) (out []matcher, empty bool, err error) {
	out, empty = make([]matcher, 0, len(all)), true
	for i, m := range all {
		c, err := compileMatcher(m)
		if err != nil {
			return nil, false, fmt.Errorf("matcher %d (%s): %w", i+1, matcherText(m), err)
		}
		empty = empty && !m.Negative && c.matches("")
		out = append(out, c)
	}
	slices.SortStableFunc(out, func(a, b matcher) int { return cmp.Compare(a.cost(), b.cost()) })
	return out, empty, nil
}

func (m *matcher) cost() int {
	switch {
	case m.full != nil:
		return 2
	case m.negative:
		return 1
	}
	return 0
}

func compileMatcher(m event.Matcher) (matcher, error) {
	c := matcher{name: m.Name, negative: m.Negative}
	switch {
	case m.Name == "":
		return c, errors.New("the label has no name: say which label it is about")
	case !utf8.ValidString(m.Name) || !utf8.ValidString(m.Value):
		return c, errors.New("it is not valid UTF-8: correct its characters")
	case !m.Regex:
		c.values = []string{m.Value}
		return c, nil
	case len(m.Value) > maxRegex:
		return c, fmt.Errorf("its regular expression has %d bytes: use at most %d, in several silences", len(m.Value), maxRegex)
	}
	if c.values = alternatives(m.Value); c.values != nil {
		return c, nil
	}
	// By itself, too: "a)(b" is no regular expression, though anchoring makes it one.
	if _, err := syntax.Parse(m.Value, syntax.Perl); err != nil {
		return c, regexTrouble(m.Value, err)
	}
	kind := labels.MatchRegexp
	if m.Negative {
		kind = labels.MatchNotRegexp
	}
	full, err := labels.NewMatcher(kind, m.Name, m.Value)
	if err != nil {
		return c, regexTrouble(m.Value, err)
	}
	c.full = full
	return c, nil
}

// alternatives lists what a regular expression matches when it is "a|b|c", with or without ^(…)$ around it, and nothing
// in it means anything else; nil when it does.
func alternatives(regex string) []string {
	inner := regex
	if rest, ok := strings.CutPrefix(inner, "^("); ok {
		if inner, ok = strings.CutSuffix(rest, ")$"); !ok {
			return nil
		}
		inner = strings.TrimPrefix(inner, "?:")
	}
	if strings.ContainsAny(inner, `\.+*?()[]{}^$`) {
		return nil
	}
	values := strings.Split(inner, "|")
	slices.Sort(values)
	return slices.Compact(values)
}

// regexTrouble says what is wrong with a regular expression, and where.
func regexTrouble(regex string, err error) error {
	var at *syntax.Error
	if !errors.As(err, &at) {
		return fmt.Errorf("its regular expression is not valid: %w", err)
	}
	where := ""
	if i := strings.Index(regex, at.Expr); i >= 0 && at.Expr != "" && at.Expr != regex {
		where = fmt.Sprintf(" at character %d, %s", utf8.RuneCountInString(regex[:i])+1, shortQuote(at.Expr))
	}
	return fmt.Errorf("its regular expression is not valid: %s%s: correct it (RE2 syntax)", at.Code, where)
}

// matcherText writes a matcher as people do.
func matcherText(m event.Matcher) string {
	sign := "="
	switch {
	case m.Regex && m.Negative:
		sign = "!~"
	case m.Regex:
		sign = "=~"
	case m.Negative:
		sign = "!="
	}
	return short(m.Name) + sign + shortQuote(m.Value)
}

// short cuts a text for a message.
func short(s string) string {
	const most = 80
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most]) + "…"
}

func shortQuote(s string) string { return strconv.Quote(short(s)) }
