package rule

import (
	"slices"

	"github.com/prometheus/prometheus/model/labels"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/processors/rule/expr"
)

// A target whose labels change while something of it fires, its team or its domain, say, is not well for that. Its instances
// go on under the labels that they were said with, and everything that is said of the target stays in its domain, until
// nothing of it fires and it answers. See relabel.

// rename has an instance be found by the series of a target whose labels are others now.
func (in *instance) rename(old, now event.Labels, at int64) {
	if in.named.IsEmpty() {
		in.named = in.series
	}
	lb := labels.NewBuilder(in.series)
	all := true
	for _, l := range old {
		if in.series.Get(l.Name) != l.Value {
			all = false // The rule says something else there, or the expression left it out.
		} else if lb.Del(l.Name); now.Get(l.Name) != "" {
			lb.Set(l.Name, now.Get(l.Name))
		}
	}
	for _, l := range now {
		if all && old.Get(l.Name) == "" {
			lb.Set(l.Name, l.Value)
		}
	}
	in.series, in.renamed = lb.Labels(), at
}

// source is the series that an instance's labels were made of.
func (in *instance) source() labels.Labels {
	if in.named.IsEmpty() {
		return in.series
	}
	return in.named
}

// lost says whether an instance that was renamed has not been found since for so long that the rule has nothing to do with
// the target any more.
func (e *evaluation) lost(in *instance) bool {
	return in.renamed != 0 && e.r.Status.Up() && e.now-in.renamed >= max(expr.Lookback, 5*e.r.Interval/2).Milliseconds()
}

// settleIn keeps a target in its domain for as long as anything of it fires, or it does not answer.
func (d *Desk) settleIn(tg *target, domain string, up bool) {
	if tg.home == domain || tg.home != "" && (!up || slices.ContainsFunc(tg.instances, func(in *instance) bool { return in.firing })) {
		return
	}
	if tg.home != "" {
		tg.reach.unsaid = true // There nobody knows of it yet.
		d.dirty[tg.bucket] = true
	}
	tg.home = domain
}
