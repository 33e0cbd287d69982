package rule

import (
	"math"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/processors/rule/expr"
)

// instance is one rule's condition on one series, while it is pending or firing. Times are Unix milliseconds.
type instance struct {
	rule *Rule // nil when the rule is gone
	// key, name and alert are the rule's.
	key, name, alert string
	// series tells the rule's instances apart; labels are those of its alert.
	series       labels.Labels
	labels       event.Labels
	team, domain string
	// named is the series that the labels were made of, when the target's labels are others by now, and renamed since when
	// it was not found by them.
	named   labels.Labels
	renamed int64

	firing bool
	// active is since when the condition has been true, moved on by the time it was unknown.
	active int64
	// lastTrue is when it was last seen true, lastSeen when it was last judged.
	lastTrue, lastSeen int64
	// falseSince is since when a firing one has been false (keep_firing_for), unknownSince since when it is unknown;
	// 0 when it is not.
	falseSince, unknownSince int64
	// missingSince is since when the target has answered without the data; 0 when it has not.
	missingSince int64
	// doubted: an unknown verdict was said and nothing else since.
	doubted bool
	// said is the At of the last finding of a firing one.
	said  int64
	value float64
}

// refreshAfter is how often a finding that goes on firing is said again.
const refreshAfter = 5 * time.Minute

// Reason codes of findings.
const (
	ReasonTrue          = "condition-true"
	ReasonHeld          = "held-for"
	ReasonRefresh       = "refresh"
	ReasonFalse         = "condition-false"
	ReasonNoData        = "no-data"
	ReasonTargetDown    = "target-down"
	ReasonError         = "evaluation-error"
	ReasonSeriesGone    = "series-gone"
	ReasonTargetRemoved = "target-removed"
	ReasonRuleRemoved   = "rule-removed"
	ReasonLabelsChanged = "labels-changed"
)

// evaluate judges all instances of one rule on one target.
func (d *Desk) evaluate(tg *target, b *bound, r *event.Reading) {
	res, err := b.expr.Eval(&d.run, tg.now)
	d.stats.Evaluations++
	if err != nil {
		d.stats.Failed[b.rule.Name]++
	}
	e := evaluation{d: d, tg: tg, b: b, r: r, now: tg.now, err: err}
	for g, in := range b.live {
		state, value := expr.Missing, 0.0
		if err == nil {
			state, value = b.judge(g, &res)
		}
		if in == nil && state != expr.True {
			continue
		}
		if in != nil && in.renamed != 0 {
			in.renamed, d.dirty[tg.bucket] = 0, true
		}
		switch state {
		case expr.True:
			b.live[g] = e.isTrue(in, g, value)
		case expr.False:
			b.live[g] = e.isFalse(in)
		default:
			b.live[g] = e.isUnknown(in)
		}
	}
	for i := 0; i < len(b.orphans); {
		if in := b.orphans[i]; e.lost(in) {
			e.end(in, ReasonLabelsChanged, "the labels of the target changed, and the rule has nothing to do with it any more")
			b.orphans = slices.Delete(b.orphans, i, i+1)
		} else if e.isUnknown(in) == nil {
			b.orphans = slices.Delete(b.orphans, i, i+1)
		} else {
			i++
		}
	}
}

// evaluation is one rule on one target at one reading.
type evaluation struct {
	d   *Desk
	tg  *target
	b   *bound
	r   *event.Reading
	now int64
	err error
}

// isTrue returns the instance that there is now.
func (e *evaluation) isTrue(in *instance, g int, value float64) *instance {
	if in != nil && e.b.rule.shifting {
		if ls, _ := e.labels(in.source(), value); !slices.Equal(ls, in.labels) {
			e.end(in, ReasonLabelsChanged, "the value gives the alert other labels")
			in = nil
		}
	}
	if in == nil {
		in = e.begin(g, value)
	} else if gap := e.now - in.lastTrue; !in.firing && (in.unknownSince != 0 || gap > e.patience()) {
		in.active += gap // What nobody saw does not count towards the time it must hold.
	}
	if in.unknownSince != 0 || in.falseSince != 0 {
		e.d.dirty[e.tg.bucket] = true
	}
	resumed := in.doubted
	in.lastTrue, in.lastSeen, in.value = e.now, e.now, value
	in.falseSince, in.unknownSince, in.missingSince, in.doubted = 0, 0, 0, false
	switch held := e.now - in.active; {
	case !in.firing && held >= e.b.rule.For.Milliseconds():
		in.firing = true
		code := ReasonTrue
		if e.b.rule.For > 0 {
			code = ReasonHeld
		}
		e.say(in, event.VerdictFiring, in.active, code, "the condition is true: "+e.b.rule.Expr)
	case !in.firing:
		if in.said == 0 {
			e.say(in, event.VerdictPending, in.active, ReasonTrue, "the condition is true, for "+e.b.rule.For.String()+" to come")
		}
	case resumed:
		e.say(in, event.VerdictFiring, in.active, ReasonTrue, "there is data again and the condition is true")
	case e.tg.at-in.said >= refreshAfter.Milliseconds():
		e.say(in, event.VerdictFiring, in.active, ReasonRefresh, "the condition is still true")
	}
	return in
}

// patience is how far apart two evaluations may be for what lies between them to count as seen.
func (e *evaluation) patience() int64 {
	return max(expr.Lookback, 5*e.r.Interval/2).Milliseconds()
}

func (e *evaluation) begin(g int, value float64) *instance {
	i := g
	if e.b.groups != nil {
		i = int(e.b.groups[g][0])
	}
	in := &instance{
		rule: e.b.rule, key: e.b.rule.key, name: e.b.rule.Name, alert: e.b.rule.Alert,
		series: e.b.identity(i), active: e.now, lastTrue: e.now,
	}
	in.labels, in.team = e.labels(in.series, value)
	in.domain = e.tg.home
	e.tg.instances = append(e.tg.instances, in)
	e.d.dirty[e.tg.bucket] = true
	return in
}

// isFalse returns nil when the instance is over.
func (e *evaluation) isFalse(in *instance) *instance {
	if in.firing && e.b.rule.KeepFiringFor > 0 {
		e.d.dirty[e.tg.bucket] = true
		switch {
		case in.falseSince == 0:
			in.falseSince = e.now
		case in.unknownSince != 0 || e.now-in.lastSeen > e.patience():
			in.falseSince += e.now - in.lastSeen
		}
		in.lastSeen, in.unknownSince, in.missingSince = e.now, 0, 0
		if e.now-in.falseSince < e.b.rule.KeepFiringFor.Milliseconds() {
			if in.doubted || e.tg.at-in.said >= refreshAfter.Milliseconds() {
				in.doubted = false
				e.say(in, event.VerdictFiring, in.active, ReasonRefresh, "the condition is false, but keep_firing_for is not over")
			}
			return in
		}
	}
	e.end(in, ReasonFalse, "the condition is false: "+e.b.rule.Expr)
	return nil
}

// isUnknown returns nil when the instance is over because its series is gone for good.
func (e *evaluation) isUnknown(in *instance) *instance {
	if in.unknownSince == 0 {
		in.unknownSince = e.now
		e.d.dirty[e.tg.bucket] = true
	}
	switch {
	case !e.r.Status.Up() || e.err != nil:
		in.missingSince = 0
	case in.missingSince == 0:
		in.missingSince = e.now
	case e.now-in.missingSince >= goneAfter.Milliseconds():
		e.end(in, ReasonSeriesGone, "there has been no data for "+goneAfter.String()+" though the target answers")
		return nil
	}
	if in.firing && (!in.doubted || e.tg.at-in.said >= refreshAfter.Milliseconds()) {
		in.doubted = true
		switch {
		case e.err != nil:
			e.say(in, event.VerdictUnknown, in.active, ReasonError, e.err.Error())
		case !e.r.Status.Up():
			e.say(in, event.VerdictUnknown, in.active, ReasonTargetDown, "the target does not answer ("+string(e.r.Status)+")")
		default:
			e.say(in, event.VerdictUnknown, in.active, ReasonNoData, "the target answers, but without the data that the rule needs")
		}
	}
	return in
}

// end says that an instance is over and forgets it.
func (e *evaluation) end(in *instance, code, text string) {
	e.say(in, event.VerdictOK, e.now, code, text)
	e.tg.forget(in)
}

func (tg *target) forget(in *instance) {
	if i := slices.Index(tg.instances, in); i >= 0 {
		tg.instances = slices.Delete(tg.instances, i, i+1)
	}
}

func (e *evaluation) say(in *instance, v event.Verdict, since int64, code, text string) {
	f := in.finding(e.tg, v, since, e.tg.at, code, text)
	f.Reading, f.AskedBy = e.r.JobID, e.r.AskedBy
	f.Reason.Causes = []string{e.r.JobID}
	if v != event.VerdictOK {
		f.Annotations, f.Threshold = e.annotations(in), e.b.rule.threshold
	}
	in.said = e.tg.at
	e.d.out = append(e.d.out, f)
}

func (in *instance) finding(tg *target, v event.Verdict, since, at int64, code, text string) *event.Finding {
	return &event.Finding{
		Rule: in.name, Alert: in.alert, Verdict: v, Target: tg.id, Team: in.team, Domain: in.domain, Labels: in.labels,
		Value: finite(in.value), Since: time.UnixMilli(since).UTC(), At: time.UnixMilli(at).UTC(),
		Reason: event.Reason{Code: code, Text: text},
	}
}

// finite makes a value fit for JSON, which knows neither infinities nor NaN.
func finite(v float64) float64 {
	switch {
	case math.IsNaN(v):
		return 0
	case math.IsInf(v, 0):
		return math.Copysign(math.MaxFloat64, v)
	}
	return v
}

// labels are those of the alert: the series', what the rule adds, the alert's name, and the target in any case. The
// team is whose alert it is.
func (e *evaluation) labels(series labels.Labels, value float64) (ls event.Labels, team string) {
	m := series.Map()
	f := facts{Labels: series.Map(), Value: value}
	for i := range e.b.rule.labels {
		t := &e.b.rule.labels[i]
		m[t.name] = e.expand(t, &f)
	}
	m["alertname"] = e.b.rule.Alert
	if m["target"] == "" {
		m["target"] = e.tg.id
	}
	if team = m["team"]; team == "" {
		team = e.r.Labels.Get("team")
	}
	return event.LabelsOf(m), team
}

func (e *evaluation) annotations(in *instance) map[string]string {
	if len(e.b.rule.annotations) == 0 {
		return nil
	}
	f := facts{Labels: in.labels.Map(), Value: in.value}
	out := make(map[string]string, len(e.b.rule.annotations))
	for i := range e.b.rule.annotations {
		t := &e.b.rule.annotations[i]
		out[t.name] = e.expand(t, &f)
	}
	return out
}

func (e *evaluation) expand(t *text, f *facts) string {
	s, err := t.expand(f, time.UnixMilli(e.now))
	if err != nil {
		e.d.stats.TemplateFailures++
	}
	return s
}
