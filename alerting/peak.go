package alerting

import "kemi.dev/kemi/bus/event"

// The most that a cause took along is what people read when it is over: it never shrinks, whoever leads the incident then.

// most is the most that a record says its cause took along; nil is nothing.
func most(r *event.Incident) *count {
	c := &count{r.Suppressed, r.SuppressedTotal}
	peak := &count{by: r.SuppressedPeak}
	for _, n := range peak.by {
		peak.total += n
	}
	if peak.total > c.total {
		c = peak
	}
	if c.total == 0 {
		return nil
	}
	return c
}

// recordPeak puts the most that the cause took along into the record of an incident that is not over.
func (inc *incident) recordPeak() {
	if inc.rec.SuppressedPeak = nil; inc.peak != nil && inc.peak.total > inc.rec.SuppressedTotal {
		inc.rec.SuppressedPeak = inc.peak.by
	}
}

// restorePeak takes in the most that the cause took along: as the record says, or what people were told since it was over
// in a round last, which is more when only the pages were stored, or the record is of before it said so.
func (inc *incident) restorePeak(t *toldOf, over int) {
	inc.peak = most(&inc.rec)
	for _, r := range t.said {
		if r.Round+1 <= over || r.Cause != inc.rec.Cause || r.Kind != inc.rec.Kind {
			continue
		}
		if c := most(r); c != nil && (inc.peak == nil || inc.peak.total < c.total) {
			inc.peak = c
		}
	}
}
