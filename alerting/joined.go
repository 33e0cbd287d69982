package alerting

import (
	"time"

	"kemi.dev/kemi/bus/event"
)

// What is no worse goes into an incident of similar alerts that people were told of without a page. While nobody looks after it
// they hear how many there are whenever the escalation goes on; once somebody does, their chat does, by an update.

// ReasonGrown: more of what is alike went into it.
const ReasonGrown = "grown"

// join notes that something went into an incident that people were told of.
func (inc *incident) join() {
	if len(inc.told) > 0 {
		inc.rec.Joined++
	}
}

// tellGrown tells those who were told of an incident that somebody looks after, and are no persons, that more went into it: at
// most once within the time in which similar alerts are counted. It calls nobody.
func (d *Desk) tellGrown(inc *incident, now time.Time) {
	r := &inc.rec
	if r.Kind != event.IncidentSimilar || r.Joined <= inc.toldJoined || len(r.Muted) > 0 || now.Sub(inc.saidAt) < d.policy.SimilarWithin || !inc.updateAt.IsZero() {
		return
	}
	inc.toldJoined, inc.saidAt = r.Joined, now
	d.render(inc, now)
	said := false
	for _, who := range inc.told {
		if _, person := recipient(who); person == "" {
			d.page(inc, who, event.PageUpdate, inc.sequence(), ReasonGrown, now)
			said = true
		}
	}
	if said {
		inc.updates++
		inc.say(d)
	}
}

// restoreJoined takes in how much of what had gone into an incident its pages said.
func (inc *incident) restoreJoined(t *toldOf) {
	inc.saidAt = t.at
	for _, said := range t.said {
		if said.Round == inc.rec.Round {
			inc.toldJoined = max(inc.toldJoined, said.Joined)
		}
	}
	inc.toldJoined = min(inc.toldJoined, inc.rec.Joined)
}
