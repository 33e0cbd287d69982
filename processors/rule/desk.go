package rule

import (
	"slices"
	"time"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/processors/rule/expr"
	"kemi.dev/kemi/processors/sample"
)

// Desk evaluates the rules for the targets of one partition. All its time comes from readings and arguments; it is
// for one goroutine.
type Desk struct {
	set     *Set
	gen     uint32
	x       *sample.Expander
	targets map[string]*target
	// ignored stands for every series that no rule of this generation selects.
	ignored *slot
	run     expr.Run
	out     []*event.Finding
	dirty   map[uint8]bool // buckets whose saved state is out of date
	stats   Stats
}

// Stats counts what a desk did since it was made.
type Stats struct {
	Evaluations, TemplateFailures uint64
	// Failed counts evaluations that ended in an error, by rule.
	Failed map[string]uint64
}

// NewDesk makes a desk that knows nothing yet.
func NewDesk(set *Set) *Desk {
	d := &Desk{x: sample.New(), targets: map[string]*target{}, dirty: map[uint8]bool{}, stats: Stats{Failed: map[string]uint64{}}}
	d.use(set)
	return d
}

func (d *Desk) use(set *Set) {
	d.set = set
	d.gen++
	d.ignored = &slot{gen: d.gen, ignored: true}
}

// slot is what the desk hangs on a series.
type slot struct {
	expr.Series
	gen     uint32
	check   uint8 // which of the target's checks yields it
	ignored bool
	listed  bool // among the target's slots
}

// target is what the desk knows of one target.
type target struct {
	id     string
	bucket uint8
	gen    uint32
	dirty  bool // its series are not those that its rules are bound to
	slots  []*slot
	rules  []*bound
	// instances are those that are pending or firing.
	instances []*instance
	checks    []check
	labels    event.Labels // of its newest reading
	home      string       // the domain in which everything about it is said
	reach     reach
	// now is the time of the newest sample; at grows with every reading, for the order of findings.
	now, at int64
	// floor is at as it was saved: what is judged after a restart comes after it.
	floor  int64
	swept  int64
	heard  time.Time // slot of its newest reading; for forgetting it
	byHash map[uint64]*slot
}

// Findings returns what was found since the last call.
func (d *Desk) Findings() []*event.Finding {
	out := d.out
	d.out = nil
	return out
}

// Stats returns what the desk counted; the map is its own.
func (d *Desk) Stats() Stats { return d.stats }

// Warm takes a reading into windows and newest values without judging it: another desk has done that.
func (d *Desk) Warm(r *event.Reading) { d.take(r, false) }

// Reading takes a reading and says what follows from it.
func (d *Desk) Reading(r *event.Reading) {
	if r.Target == event.CanaryTarget {
		d.canary(r)
		return
	}
	tg, c := d.take(r, true)
	if tg == nil {
		return
	}
	d.relabel(tg, r)
	if d.sweepSlots(tg, r); tg.dirty || tg.gen != d.gen {
		d.bind(tg)
	}
	before := len(d.out)
	for _, b := range tg.rules {
		if b.feeds == 0 || b.feeds&(1<<min(c, 63)) != 0 {
			d.evaluate(tg, b, r)
		}
	}
	if len(d.out) > before {
		d.dirty[tg.bucket] = true
	}
}

// take adds the samples of a reading; it returns the target and the number of its check, or nil when the target was
// not asked.
func (d *Desk) take(r *event.Reading, judge bool) (*target, uint8) {
	if r.Target == event.CanaryTarget || !r.Status.Asked() {
		return nil, 0
	}
	b := d.x.Expand(r)
	tg := d.target(r.Target)
	c := tg.check(r)
	tg.now = max(tg.now, b.T)
	if tg.at = max(r.Slot.UnixMilli(), tg.at+1); judge {
		tg.at = max(tg.at, tg.floor+1)
	}
	tg.heard = r.Slot
	for i := range b.Samples {
		s := b.Samples[i].Series
		sl, _ := s.User.(*slot)
		if sl == nil || sl.gen != d.gen {
			sl = d.classify(tg, c, s)
		}
		if sl.ignored {
			continue
		}
		if b.Restarted && s.Counter {
			sl.Restart(b.BootT)
		}
		sl.Add(b.T, b.Samples[i].V)
	}
	tg.byHash = nil
	for _, s := range b.Gone {
		if sl, _ := s.User.(*slot); sl != nil && !sl.ignored {
			sl.End(b.T)
		}
	}
	d.reachable(tg, r, judge)
	if !judge {
		tg.labels = r.Labels
	}
	return tg, c
}

func (d *Desk) target(id string) *target {
	tg := d.targets[id]
	if tg == nil {
		tg = &target{id: id, bucket: bucketOf(id), gen: d.gen}
		d.targets[id] = tg
	}
	return tg
}

// classify decides whether any rule wants a series, and finds the slot that a series of its labels had before.
func (d *Desk) classify(tg *target, c uint8, s *sample.Series) *slot {
	selected, reach := d.set.wants(s.Name, s.Labels)
	if !selected {
		s.User = d.ignored
		return d.ignored
	}
	sl, _ := s.User.(*slot)
	if sl == nil || sl.ignored {
		if tg.byHash == nil {
			tg.byHash = make(map[uint64]*slot, len(tg.slots))
			for _, one := range tg.slots {
				tg.byHash[one.Labels.Hash()] = one
			}
		}
		sl = tg.byHash[s.Hash]
	}
	if sl == nil {
		sl = &slot{Series: expr.Series{Labels: s.Labels}}
	}
	if sl.gen, sl.check = d.gen, c; !sl.listed {
		sl.listed = true
		tg.slots = append(tg.slots, sl)
		tg.dirty = true
		if tg.byHash != nil {
			tg.byHash[s.Hash] = sl
		}
	}
	sl.Keep(reach)
	s.User = sl
	return sl
}

// goneAfter is how long a series is unknown, while its target answers, before it counts as gone for good.
const goneAfter = time.Hour

// sweepSlots drops the series that are gone for good, at most every ten minutes and only while the target answers.
func (d *Desk) sweepSlots(tg *target, r *event.Reading) {
	if !r.Status.Up() || tg.now-tg.swept < (10*time.Minute).Milliseconds() {
		return
	}
	tg.swept = tg.now
	limit := tg.now - (goneAfter + d.set.reach).Milliseconds()
	kept := tg.slots[:0]
	for _, sl := range tg.slots {
		if sl.listed = sl.T > limit || !sl.Gone; sl.listed {
			kept = append(kept, sl)
		}
	}
	if len(kept) < len(tg.slots) {
		clear(tg.slots[len(kept):])
		tg.slots = kept
		tg.dirty = true
	}
}

// relabel has the instances follow the labels of their target. What fires keeps the labels, the team and the domain that it
// was said with until it is over: with others it would be another problem, and this one would seem to be over. What is only
// pending ends: with the labels as they are now it would be another.
func (d *Desk) relabel(tg *target, r *event.Reading) {
	old := tg.labels
	if slices.Equal(old, r.Labels) {
		return
	}
	if tg.labels = r.Labels; old == nil {
		return
	}
	gained := slices.ContainsFunc(r.Labels, func(l event.Label) bool { return old.Get(l.Name) == "" })
	stays := func(in *instance) bool {
		all := true // An expression may leave labels out; one that leaves none out has new ones, too.
		for _, l := range old {
			has := in.series.Get(l.Name) == l.Value
			if all = all && has; has && r.Labels.Get(l.Name) != l.Value {
				return false
			}
		}
		return !gained || !all
	}
	e := evaluation{d: d, tg: tg, r: r, now: tg.now}
	for i := len(tg.instances) - 1; i >= 0; i-- {
		in := tg.instances[i]
		if stays(in) {
			continue
		}
		if tg.dirty, d.dirty[tg.bucket] = true, true; in.firing && in.rule != nil {
			in.rename(old, r.Labels, e.now)
		} else {
			e.end(in, ReasonLabelsChanged, "the labels of the target changed")
		}
	}
}

// Sweep forgets targets of which nothing is pending or firing and that have been silent for an hour and ten
// intervals: their next reading makes them anew.
func (d *Desk) Sweep(now time.Time) {
	d.x.Sweep(now)
	for id, tg := range d.targets {
		longest := time.Duration(0)
		for i := range tg.checks {
			longest = max(longest, tg.checks[i].interval)
		}
		if len(tg.instances) == 0 && now.Sub(tg.heard) > time.Hour+10*longest {
			delete(d.targets, id)
			d.dirty[tg.bucket] = true
		}
	}
}

// canary answers the canary's reading, so that its trip goes on.
func (d *Desk) canary(r *event.Reading) {
	d.out = append(d.out, &event.Finding{
		Rule: event.RuleCanary, Verdict: event.VerdictOK, Target: r.Target, Team: r.Labels.Get("team"), Domain: domainOf(r.Labels),
		Labels: r.Labels, Since: r.Slot, At: r.Slot, Reading: r.JobID, Reason: event.Reason{Code: "canary", Causes: []string{r.JobID}},
	})
}

func domainOf(ls event.Labels) string {
	if d := ls.Get(event.LabelDomain); d != "" {
		return d
	}
	return event.DefaultDomain
}
