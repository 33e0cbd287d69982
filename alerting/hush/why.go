package hush

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"kemi.dev/kemi/bus/event"
)

// The codes of the reasons. More may come.
const (
	// CodeMaintenance: a maintenance window, or the CMDB's lifecycle.
	CodeMaintenance = "maintenance"
	// CodeSilenced: a silence.
	CodeSilenced = "silenced"
	// CodeInhibited: an inhibition rule and an alert that fires.
	CodeInhibited = "inhibited"
	// CodeMuted: it is a time at which its route is mute.
	CodeMuted = "muted"
)

// Subject is an alert that is asked about.
type Subject struct {
	// Labels of the alert.
	Labels event.Labels
	// Target is what the alert is about; nil when nobody knows it.
	Target *event.Target
	// Find looks up a target by its id, nil when there is none. With it the walk goes up to whatever the target needs;
	// nil asks for the target alone.
	Find func(id string) *event.Target
	// Ways are those by which the alert is told. Time holds it back while all of them are mute; for one alone see Mute.
	Ways []Way
	// Sources are the alerts that fire now; nil leaves inhibition out.
	Sources *Inhibitor
}

// Way is one by which an alert is told.
type Way struct {
	// Route says for people where the way stands; it may be empty.
	Route string
	// Mute and Active name time intervals: in those the way is mute, outside of all of these it is, too.
	Mute, Active []string
}

// found is a reason with what orders it.
type found struct {
	rank int
	id   string
	event.Reason
}

// Why lists every reason that holds for an alert at an instant, maintenance first, then silences, inhibition and mute
// times, each by its id. It is empty when nothing holds its pages back. Each Text names who, why and until when; Causes
// begins with the id of the silence, window, target, alert or interval.
func (s *Set) Why(of Subject, now time.Time) []event.Reason {
	var all []found
	s.visit(of, func(h hold) {
		if h.entry == nil {
			all = append(all, h.lifecycle(of.Target))
		} else if in := h.entry.at(now); in.on {
			all = append(all, h.entry.reason(in, h.above, of.Target))
		}
	}, func(e *entry) bool { return e.at(now).on })
	all = append(all, of.Sources.inhibitors(of.Labels)...)
	all = append(all, s.muted(of.Ways, now)...)
	if len(all) == 0 {
		return nil
	}
	slices.SortStableFunc(all, func(a, b found) int { return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.id, b.id)) })
	out := make([]event.Reason, len(all))
	for i, f := range all {
		out[i] = f.Reason
	}
	return out
}

// Until is the next instant after now at which the answer of Why may change by time alone; zero when it does not. What
// else changes it, such as another alert that stops firing, nobody knows beforehand.
func (s *Set) Until(of Subject, now time.Time) time.Time {
	var first time.Time
	s.visit(of, func(h hold) {
		if h.entry != nil {
			first = earlier(first, h.entry.at(now).to)
		}
	}, nil)
	for _, w := range of.Ways {
		for _, name := range slices.Concat(w.Mute, w.Active) {
			if v := s.intervals[name]; v != nil {
				first = earlier(first, v.at(now).to)
			}
		}
	}
	return first
}

// Next is the next instant after now at which any answer may change by time alone; zero when none does. It costs a look
// at every silence when the one before has passed or a silence was taken away, and next to nothing otherwise.
func (s *Set) Next(now time.Time) time.Time {
	if known := s.soon.Load(); known != nil && !now.Before(known.asked) && (known.next.IsZero() || now.Before(known.next)) {
		return known.next
	}
	var first time.Time
	for _, e := range s.entries {
		first = earlier(first, e.at(now).to)
	}
	for _, v := range s.intervals {
		first = earlier(first, v.at(now).to)
	}
	s.soon.Store(&soon{asked: now, next: first})
	return first
}

// earlier returns the earlier of two instants, of which zero is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// at is the schedule's answer at an instant, remembered for as long as it holds.
func (e *entry) at(now time.Time) span {
	if known := e.memo.Load(); known != nil && known.covers(now) {
		return *known
	}
	in := e.schedule.at(now)
	e.memo.Store(&in)
	return in
}

// reason words a silence that is in force.
func (e *entry) reason(in span, above, target *event.Target) found {
	s := e.silence
	f := found{rank: 1, id: s.ID, Reason: event.Reason{Code: CodeSilenced, Causes: []string{s.ID}}}
	what := "silence "
	if s.Kind == event.MaintenanceWindow {
		f.rank, f.Code, what = 0, CodeMaintenance, "maintenance "
	}
	var b strings.Builder
	b.WriteString(what + strings.TrimPrefix(s.ID, configured))
	if s.By != "" {
		b.WriteString(" by " + oneLine(s.By))
	}
	if !in.to.IsZero() {
		b.WriteString(" until " + stamp(in.to))
	}
	if s.Comment != "" {
		b.WriteString(": " + oneLine(s.Comment))
	}
	if above != nil && above != target {
		fmt.Fprintf(&b, " (%s needs %s)", target.ID, above.ID)
		f.Causes = append(f.Causes, above.ID)
	}
	f.Text = b.String()
	return f
}

// lifecycle words that the CMDB has a target in maintenance.
func (h hold) lifecycle(target *event.Target) found {
	f := found{id: h.above.ID, Reason: event.Reason{Code: CodeMaintenance, Causes: []string{h.above.ID}}}
	f.Text = h.above.ID + " is in maintenance according to the CMDB"
	if h.above.Source != "" {
		f.Text += ", " + short(h.above.Source)
	}
	if h.above != target {
		f.Text += " (" + target.ID + " needs it)"
	}
	return f
}

// stamp writes an instant for people.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// oneLine cuts what somebody wrote to one line that fits a page.
func oneLine(s string) string {
	const most = 200
	s = strings.Join(strings.Fields(s), " ")
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
