package route

import (
	"strconv"
	"strings"
	"time"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/conf"
)

// ReasonUrgency is the code of the reason that Urgency.Of gives.
const ReasonUrgency = "urgency"

// otherwise is the key under `urgency:` for severities that are not named there, and within one for all other times.
const otherwise = "default"

// Urgency says how urgent which severity is for a team, by weekday and time of day. It stands under a team's `urgency:`:
//
//	urgency:
//	  critical: page
//	  warning:  {business: page, default: notify}   # business is one of time_intervals; the first that holds counts
//	  default:  log                                 # every other severity
//
// or in one word for all severities, `urgency: notify`. What is not named there is as DefaultUrgency says. The zero
// Urgency names nothing.
type Urgency struct {
	by   map[string]times // By severity in lower case.
	rest *times
}

// times is how urgent one severity is when.
type times struct {
	when []during // In the order in which they were written.
	base event.Urgency
}

type during struct {
	interval Name
	urgency  event.Urgency
}

// UnmarshalConf implements conf.Unmarshaler.
func (u *Urgency) UnmarshalConf(n conf.Node) conf.Problems {
	*u = Urgency{}
	switch n.Kind() {
	case conf.Null:
		return nil
	case conf.Scalar:
		u.rest = &times{}
		return readUrgency(n, &u.rest.base)
	case conf.List:
		return conf.Problems{n.Problem("expected severities, got a list", "write for example {critical: page, warning: notify}")}
	}
	u.by = map[string]times{}
	var problems conf.Problems
	for _, key := range n.Keys() {
		severity := strings.ToLower(strings.TrimSpace(key.Text()))
		t, more := readTimes(n.Get(key.Text()))
		problems = append(problems, more...)
		if _, twice := u.by[severity]; twice {
			problems = append(problems, key.Problem("severity "+strconv.Quote(severity)+" stands twice", "remove one of them: letter case does not count"))
		}
		if severity == otherwise {
			u.rest = &t
			continue
		}
		u.by[severity] = t
	}
	return problems
}

func readTimes(n conf.Node) (t times, problems conf.Problems) {
	if n.Kind() != conf.Map {
		return t, readUrgency(n, &t.base)
	}
	for _, key := range n.Keys() {
		var urgency event.Urgency
		problems = append(problems, readUrgency(n.Get(key.Text()), &urgency)...)
		if key.Text() == otherwise {
			t.base = urgency
			continue
		}
		t.when = append(t.when, during{Name{key.Text(), key.Pos()}, urgency})
	}
	return t, problems
}

func readUrgency(n conf.Node, to *event.Urgency) conf.Problems {
	known := []string{string(event.UrgencyPage), string(event.UrgencyNotify), string(event.UrgencyLog)}
	for _, k := range known {
		if n.Text() == k {
			*to = event.Urgency(k)
			return nil
		}
	}
	if n.Kind() != conf.Scalar {
		return conf.Problems{n.Problem("expected an urgency, got "+n.Kind().String(), "write page, notify or log")}
	}
	do := "write page (call the person on duty), notify (tell the team) or log (tell nobody)"
	if near := conf.Nearest(n.Text(), known); near != "" {
		do = "did you mean " + strconv.Quote(near) + "?"
	}
	return conf.Problems{n.Problem("there is no urgency "+strconv.Quote(n.Text()), do)}
}

// Check says which intervals are not there.
func (u *Urgency) Check(intervals []string) conf.Problems {
	var problems conf.Problems
	check := func(t times) {
		for _, w := range t.when {
			problems = append(problems, checkInterval(w.interval, intervals)...)
		}
	}
	for _, t := range u.by {
		check(t)
	}
	if u.rest != nil {
		check(*u.rest)
	}
	return problems
}

func checkInterval(n Name, known []string) conf.Problems {
	for _, k := range known {
		if k == n.Text {
			return nil
		}
	}
	return conf.Problems{n.At.Problem("there is no time interval "+strconv.Quote(n.Text), suggest(n.Text, "time interval", "time_intervals", known))}
}

// Of says how urgent an alert or incident of this severity is now. in says whether a time is in the interval of that
// name; it may be nil when there are none.
func (u *Urgency) Of(severity string, now time.Time, in func(interval string, t time.Time) bool) (event.Urgency, event.Reason) {
	word := strings.ToLower(strings.TrimSpace(severity))
	said := "severity " + strconv.Quote(severity)
	if word == "" {
		said = "no severity"
	}
	because := func(what event.Urgency, why string) (event.Urgency, event.Reason) {
		return what, event.Reason{Code: ReasonUrgency, Text: said + " is " + string(what) + why}
	}
	t, named := u.by[word]
	if !named && u.rest != nil {
		t, named = *u.rest, true
	}
	if named {
		for _, w := range t.when {
			if in != nil && in(w.interval.Text, now) {
				return because(w.urgency, " for the team in "+strconv.Quote(w.interval.Text))
			}
		}
		if t.base != "" {
			return because(t.base, " for the team")
		}
	}
	what, usual := DefaultUrgency(word)
	if !usual {
		return because(what, ": it is not one of those that are known, and what nobody judged must not be missed")
	}
	return because(what, " where the team says nothing else")
}

// DefaultUrgency is what a severity means where a team says nothing; letter case does not count. The words are those of
// Prometheus's rules, syslog, Zabbix, OpenNMS and PagerDuty. A word that nobody knows, or none, is page and known is
// false: better one call too many than an outage that nobody hears of.
func DefaultUrgency(severity string) (what event.Urgency, known bool) {
	switch strings.ToLower(severity) {
	case "critical", "crit", "page", "emergency", "emerg", "alert", "fatal", "disaster", "high", "major", "error", "err", "sev1", "sev2", "p1", "p2":
		return event.UrgencyPage, true
	case "warning", "warn", "average", "medium", "minor", "low", "ticket", "notify", "sev3", "sev4", "p3", "p4":
		return event.UrgencyNotify, true
	case "info", "informational", "information", "notice", "normal", "ok", "none", "debug", "log", "sev5", "p5":
		return event.UrgencyLog, true
	}
	return event.UrgencyPage, false
}
