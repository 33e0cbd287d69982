package route

import (
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/alertmanager/matcher/compat"
	"github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/common/model"

	"kemi.dev/kemi/internal/conf"
)

// Config is one route and the routes below it, as Alertmanager writes it.
// Source: Prometheus documentation, Alertmanager configuration, route.
type Config struct {
	// At is where the route stands.
	At conf.Pos
	// Receiver is who is told: the name of a receiver, team:NAME, owner, or a list of these, which are all told. A route
	// without one has its parent's; the root without one tells the owner.
	Receiver Receivers `yaml:"receiver"`
	// Matchers select alerts by their labels; all of them must match.
	Matchers Matchers `yaml:"matchers"`
	// Match and MatchRE are the older way to write Matchers: a label's value, or a regular expression for the whole of it.
	Match   map[string]string `yaml:"match"`
	MatchRE map[string]string `yaml:"match_re"`
	// Continue has the routes after this one asked, too.
	Continue bool `yaml:"continue"`
	// GroupBy names the labels that alerts of one group have in common; "..." means all labels.
	GroupBy []Name `yaml:"group_by"`
	// GroupWait is how long a new group waits for more; GroupInterval how long for the next update; RepeatInterval after
	// how long it is said again.
	GroupWait      *Wait `yaml:"group_wait"`
	GroupInterval  *Wait `yaml:"group_interval"`
	RepeatInterval *Wait `yaml:"repeat_interval"`
	// MuteTimeIntervals and ActiveTimeIntervals name the intervals in which the route tells nobody, or outside of which
	// it tells nobody. The routes below do not inherit them.
	MuteTimeIntervals   []Name `yaml:"mute_time_intervals"`
	ActiveTimeIntervals []Name `yaml:"active_time_intervals"`
	// Routes are asked in order before this one counts.
	Routes []Config `yaml:"routes"`
}

// Name is a word and where it stands.
type Name struct {
	Text string
	At   conf.Pos
}

// UnmarshalConf implements conf.Unmarshaler.
func (m *Name) UnmarshalConf(n conf.Node) conf.Problems {
	if n.Kind() != conf.Scalar {
		return conf.Problems{n.Problem("expected a name, got "+n.Kind().String(), "write a name")}
	}
	if n.Text() == "" {
		return conf.Problems{n.Problem("a name is empty", "write a name, or remove it")}
	}
	*m = Name{n.Text(), n.Pos()}
	return nil
}

// Receivers are names; one may stand alone.
type Receivers []Name

// UnmarshalConf implements conf.Unmarshaler.
func (r *Receivers) UnmarshalConf(n conf.Node) conf.Problems {
	if n.Kind() == conf.List {
		if len(n.Items()) == 0 {
			return conf.Problems{n.Problem("a route to nobody", "name a receiver, or remove the key: then it is the parent's")}
		}
		return n.Into((*[]Name)(r))
	}
	var one Name
	problems := n.Into(&one)
	*r = Receivers{one}
	return problems
}

// Matchers are Alertmanager's matchers, each entry of the list one or more of them.
type Matchers struct{ all labels.Matchers }

// UnmarshalConf implements conf.Unmarshaler.
func (m *Matchers) UnmarshalConf(n conf.Node) conf.Problems {
	if n.Kind() != conf.List {
		return n.Into(new([]Name))
	}
	var problems conf.Problems
	// What Alertmanager itself does unless it is told otherwise: names may be any text, and what only the older
	// syntax could read is read by that.
	parse := compat.FallbackMatchersParser(slog.New(slog.DiscardHandler))
	const do = `write name="value", name!="value", name=~"regex" or name!~"regex"`
	for _, e := range n.Items() {
		if e.Kind() != conf.Scalar || e.Text() == "" {
			problems = append(problems, e.Problem("a matcher that is no text, or empty", do))
			continue
		}
		more, err := parse(e.Text(), "config")
		if err != nil {
			problems = append(problems, e.Problem("the matcher cannot be read: "+err.Error(), do))
			continue
		}
		m.all = append(m.all, more...)
	}
	return problems
}

// Wait is a length of time. Beside our own way to write it (conf.ParseDuration) Alertmanager's is understood: 1y.
type Wait time.Duration

var errNegative = errors.New("a wait cannot be negative")

// UnmarshalText implements encoding.TextUnmarshaler.
func (w *Wait) UnmarshalText(text []byte) error {
	length, err := conf.ParseDuration(string(text))
	if err != nil {
		theirs, err := model.ParseDuration(string(text))
		if err != nil {
			return fmt.Errorf("expected a duration like 30s, 5m or 4h, got %q", text)
		}
		length = time.Duration(theirs)
	}
	if length < 0 {
		return errNegative
	}
	*w = Wait(length)
	return nil
}

// everyLabel in group_by means all labels.
const everyLabel = "..."

// Validate implements conf.Validator: what is wrong with one route, whatever stands around it.
func (c *Config) Validate() []conf.Complaint {
	var all []conf.Complaint
	complain := func(field, what, do string) {
		all = append(all, conf.Complaint{Field: field, What: what, Do: do})
	}
	for name := range c.Match {
		if !isClassicName(name) {
			complain("match."+name, strconv.Quote(name)+" is no name of a label", "use letters, digits and _, or write it under matchers")
		}
	}
	for name, re := range c.MatchRE {
		if !isClassicName(name) {
			complain("match_re."+name, strconv.Quote(name)+" is no name of a label", "use letters, digits and _, or write it under matchers")
		}
		if _, err := regexp.Compile(anchored(re)); err != nil {
			complain("match_re."+name, "the regular expression cannot be read: "+err.Error(), "use RE2 syntax")
		}
	}
	for i, label := range c.GroupBy {
		at := "group_by." + strconv.Itoa(i)
		switch {
		case label.Text == everyLabel && len(c.GroupBy) > 1:
			complain(at, `"..." stands for all labels`, "remove the others, or remove it")
		case !utf8.ValidString(label.Text):
			complain(at, strconv.Quote(label.Text)+" is no name of a label", "use UTF-8")
		case slices.ContainsFunc(c.GroupBy[:i], func(n Name) bool { return n.Text == label.Text }):
			complain(at, strconv.Quote(label.Text)+" stands twice in group_by", "remove one of them")
		}
	}
	if c.GroupInterval != nil && *c.GroupInterval == 0 {
		complain("group_interval", "group_interval cannot be zero", "write a length of time, or remove it")
	}
	if c.RepeatInterval != nil && *c.RepeatInterval == 0 {
		complain("repeat_interval", "repeat_interval cannot be zero", "write a length of time, or remove it")
	}
	return all
}

func isClassicName(name string) bool { return model.LegacyValidation.IsValidLabelName(name) }

// anchored is how Alertmanager itself writes the older kind of regular expression, which shows in the keys of routes.
func anchored(re string) string { return "^(?:" + re + ")$" }

// matchers gathers what a valid route selects by, in Alertmanager's order; old writes what stands under match_re.
func (c *Config) matchers(old func(string) string) labels.Matchers {
	all := slices.Clone(c.Matchers.all)
	add := func(kind labels.MatchType, from map[string]string) {
		for name, value := range from {
			if m, err := labels.NewMatcher(kind, name, value); err == nil { // Validate said what is wrong with the others.
				all = append(all, m)
			}
		}
	}
	add(labels.MatchEqual, c.Match)
	for name, re := range c.MatchRE {
		add(labels.MatchRegexp, map[string]string{name: old(re)})
	}
	slices.SortStableFunc(all, func(a, b *labels.Matcher) int {
		if c := strings.Compare(a.Name, b.Name); c != 0 {
			return c
		}
		if c := strings.Compare(a.Value, b.Value); c != 0 {
			return c
		}
		return int(a.Type) - int(b.Type)
	})
	return all
}
