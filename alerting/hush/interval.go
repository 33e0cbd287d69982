package hush

import (
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/alertmanager/timeinterval"

	"kemi.dev/kemi/bus/event"
)

// lookahead is how far the next change of a time interval is looked for; what does not change within it is looked at
// again then.
const lookahead = 35 * 24 * time.Hour

// interval is a named time interval.
type interval struct {
	name  string
	parts []part
	memo  atomic.Pointer[span]
}

// part is one of the intervals that together have a name. Alertmanager's package is asked with what the clocks of its
// zone show, because it counts the days of a month by its hours: with the zone itself, "the last day" of a month in which
// clocks are put forward would be the last but one.
type part struct {
	timeinterval.TimeInterval // Without a location.

	zone *time.Location
}

// at says whether the interval holds at an instant, and until when the answer is sure to stay.
func (v *interval) at(now time.Time) span {
	if known := v.memo.Load(); known != nil && known.covers(now) {
		return *known
	}
	out := span{on: v.contains(now), from: now}
	for t, end := now, now.Add(lookahead); ; {
		t = v.boundary(t)
		if t.After(end) || v.contains(t) != out.on {
			out.to = t
			break
		}
	}
	v.memo.Store(&out)
	return out
}

func (v *interval) contains(t time.Time) bool {
	for _, p := range v.parts {
		if p.ContainsTime(wallOf(t, p.zone)) {
			return true
		}
	}
	return false
}

// boundary is the first instant after another at which a range of minutes or a day begins or ends, or clocks change:
// between two of them nothing does.
func (v *interval) boundary(t time.Time) time.Time {
	first := boundary(t, time.UTC, nil) // An interval without parts has days, too.
	for _, p := range v.parts {
		first = earlier(first, boundary(t, p.zone, p.Times))
	}
	return first
}

func boundary(t time.Time, zone *time.Location, ranges []timeinterval.TimeRange) time.Time {
	local := t.In(zone)
	_, offset := local.Zone()
	midnight := wallOf(t, zone).Truncate(24 * time.Hour).Add(-time.Duration(offset) * time.Second)
	first := midnight.Add(24 * time.Hour)
	for _, r := range ranges {
		for _, minute := range [...]int{r.StartMinute, r.EndMinute} {
			if at := midnight.Add(time.Duration(minute) * time.Minute); at.After(t) && at.Before(first) {
				first = at
			}
		}
	}
	if _, change := local.ZoneBounds(); change.After(t) && change.Before(first) {
		first = change
	}
	return first.UTC()
}

// muted lists the reasons that time itself gives: none unless every way is mute. Names that are not configured say
// nothing: whoever reads routes compares them with Intervals.
func (s *Set) muted(ways []Way, now time.Time) []found {
	var out []found
	for _, w := range ways {
		why, _ := s.mutedWay(w, now)
		if len(why) == 0 {
			return nil
		}
		for _, f := range why {
			if !slices.ContainsFunc(out, func(g found) bool { return g.Text == f.Text }) {
				out = append(out, f)
			}
		}
	}
	return out
}

// Mute says whether a way is mute at an instant, and when that may be over; what is mute by several is asked again then.
func (s *Set) Mute(w Way, now time.Time) (until time.Time, mute bool) {
	why, until := s.mutedWay(w, now)
	return until, len(why) > 0
}

// mutedWay lists why a way is mute, and says when that may be over.
func (s *Set) mutedWay(w Way, now time.Time) (out []found, until time.Time) {
	route := "its route"
	if w.Route != "" {
		route = oneLine(w.Route)
	}
	for _, name := range w.Mute {
		if v := s.intervals[name]; v != nil {
			if in := v.at(now); in.on {
				out = append(out, mute(route+" is mute in "+name+" until "+stamp(in.to), name))
				until = later(until, in.to)
			}
		}
	}
	var outside []string
	var opens time.Time
	for _, name := range w.Active {
		v := s.intervals[name]
		if v == nil {
			continue
		}
		in := v.at(now)
		if in.on {
			return out, until
		}
		outside, opens = append(outside, name), earlier(opens, in.to)
	}
	if len(outside) > 0 {
		f := mute(route+" speaks only in "+strings.Join(outside, ", ")+", not before "+stamp(opens), outside[0])
		f.Causes = outside
		out, until = append(out, f), later(until, opens)
	}
	return out, until
}

func mute(text, name string) found {
	return found{rank: 3, id: name, Reason: event.Reason{Code: CodeMuted, Text: text, Causes: []string{name}}}
}
