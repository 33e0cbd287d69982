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
// When all are held back it is the worst of them; nil when there are none.
func (inc *incident) severe() *held {
	var worst *held
	for _, a := range inc.own {
		if worst == nil || worst.hushed && !a.hushed || worst.hushed == a.hushed && before(a.event, worst.event) {
			worst = a
		}
	}
	return worst
}

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
