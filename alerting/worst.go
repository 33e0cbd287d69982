package alerting

import (
	"cmp"
	"slices"
	"strings"

	"kemi.dev/kemi/alerting/route"
	"kemi.dev/kemi/bus/event"
)

// earliest is the first of an incident's alerts.
func (inc *incident) earliest() *held {
	var f first
	for _, a := range inc.members {
		f.offer(a)
	}
	if f.n == 0 {
		return nil
	}
	return f.held[0]
}

// severe is the worst of an incident's own alerts that nothing holds back, the first of the worst: by it goes who is told.
// When all are held back it is the worst of them; nil when there are none. It is asked of every incident every second, and
// for every alert that resembles others: it is kept from one time to the next.
func (inc *incident) severe() *held {
	if !inc.ranked {
		inc.worstOwn, inc.ranked = nil, true
		for _, a := range inc.own {
			inc.rank(a)
		}
	}
	return inc.worstOwn
}

// rank takes in one more of an incident's own alerts.
func (inc *incident) rank(a *held) {
	worst := inc.worstOwn
	if worst == nil || worst.hushed && !a.hushed || worst.hushed == a.hushed && before(a.event, worst.event) {
		inc.worstOwn = a
	}
}

// adopt makes an alert one of an incident's own.
func (inc *incident) adopt(a *held) {
	if inc.own == nil {
		inc.own = map[string]*held{}
	}
	inc.own[a.event.ID] = a
	if inc.ranked {
		inc.rank(a)
	}
	if inc.speaks == nil { // What holds back all of them may not hold this one.
		inc.restless = true
	}
	if !inc.restless {
		inc.fresh = append(inc.fresh, a)
	}
}

// disown makes it none of them any more, if it was.
func (inc *incident) disown(a *held) {
	delete(inc.own, a.event.ID)
	if a == inc.worstOwn {
		inc.worstOwn, inc.ranked = nil, false
	}
	if inc.speaks == nil || a == inc.speaks {
		inc.restless = true
	}
}

// resaid notes that one of an incident's alerts says something else now.
func (inc *incident) resaid() { inc.restless, inc.ranked = true, false }

func before(a, b *event.Alert) bool {
	if a.Severity != b.Severity {
		if x, y := severity(a.Severity), severity(b.Severity); x != y {
			return x > y
		}
	}
	return cmp.Or(a.StartsAt.Compare(b.StartsAt), cmp.Compare(a.ID, b.ID)) < 0
}

// worst is how bad it is what an incident's people are chosen by.
func (inc *incident) worst() string {
	if a := inc.severe(); a != nil {
		return a.event.Severity
	}
	return inc.rec.Severity
}

// worsened says whether it is worse than when people were called last. It is asked of every incident every second.
func (inc *incident) worsened() bool {
	worst := inc.worst()
	return worst != inc.toldSeverity && severity(worst) > severity(inc.toldSeverity)
}

// worse is the more severe of two severities: how urgent a word is comes first, and what nobody knows is urgent.
func worse(a, b string) string {
	if a == "" || a != b && severity(b) > severity(a) {
		return b
	}
	return a
}

// severity orders severities.
func severity(s string) int {
	urgency, _ := route.DefaultUrgency(s)
	return 100*slices.Index([]event.Urgency{event.UrgencyLog, event.UrgencyNotify, event.UrgencyPage}, urgency) + slices.Index([]string{"", "none", "debug", "info", "notice", "warning", "minor", "error", "major", "critical", "emergency", "page"}, strings.ToLower(s))
}
