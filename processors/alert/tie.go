package alert

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"kemi.dev/kemi/bus/event"
)

// ReasonTied is the code of a problem from elsewhere of which it is known by now which target it is about.
const ReasonTied = "target-known"

// untied says whether a problem fires that somebody else told of and that is about no target that was known.
func untied(a *event.Alert) bool {
	return a.State == event.AlertFiring && a.Target == "" && strings.HasPrefix(a.Rule, event.RulePrefixElsewhere) &&
		(a.Labels.Get("target") != "" || a.Labels.Get("instance") != "")
}

// Untied counts the problems that Tie looks at.
func (d *Desk) Untied() int { return len(d.untied) }

// Tie returns the transitions of the problems of which it is known by now which target they are about: called finds what
// others call so, nil when there is none. It looks at those that came since it was asked last, or at all. Whoever told of
// such a problem need not say it again for that. It stays in its domain, where people were told of it: in another it would
// be another problem.
func (d *Desk) Tie(called func(instance string) *event.Target, all bool) []*event.Alert {
	var tied []*event.Alert
	look := d.strange
	if all {
		look = d.untied
	}
	for _, old := range look {
		t := event.About(old.Labels, called)
		if t == nil {
			continue
		}
		a := *old
		a.Target, a.Team = t.ID, t.Team
		// It is the next thing that is said of it, and older than any finding that is on its way here.
		a.Updated = old.Updated.Add(time.Nanosecond)
		a.Reason = event.Reason{Code: ReasonTied, Text: "the target " + t.ID + " is known by now", Causes: []string{old.Finding}}
		tied = append(tied, &a)
	}
	clear(d.strange)
	slices.SortFunc(tied, func(a, b *event.Alert) int { return cmp.Compare(a.ID, b.ID) })
	for _, a := range tied {
		d.hold(a)
	}
	return tied
}
