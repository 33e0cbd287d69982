package scheduler

import (
	"fmt"
	"time"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/scheduler/cron"
)

// item is what the plan keeps of a target: no more than its jobs need, with words shared between targets.
type item struct {
	id, class, address, team, zone, version string
	labels                                  event.Labels
	entries                                 []entry
}

// pool makes equal words and checks one, since thousands of targets have the same.
type pool struct {
	words  map[string]string
	checks map[string]*event.Check
	crons  map[string]*cron.Schedule
}

// tidy forgets what was pooled when there is far more of it than targets could be using; those that live keep theirs.
func (p *pool) tidy(targets int) {
	if p.words == nil || len(p.words) > 10_000+4*targets || len(p.checks) > 10_000+4*targets {
		*p = pool{words: map[string]string{}, checks: map[string]*event.Check{}, crons: map[string]*cron.Schedule{}}
	}
}

func (p *pool) word(s string) string {
	if known, ok := p.words[s]; ok {
		return known
	}
	p.words[s] = s
	return s
}

func (p *pool) check(c *event.Check) *event.Check {
	key := fmt.Sprintf("%q %q %d %q %q %q %s", c.Name, c.Kind, c.Every, c.Cron, c.Profile, c.Credential, c.Spec)
	if known, ok := p.checks[key]; ok {
		return known
	}
	own := *c
	p.checks[key] = &own
	return &own
}

func (p *pool) cron(expression string) (*cron.Schedule, error) {
	if known, ok := p.crons[expression]; ok {
		return known, nil
	}
	s, err := cron.Parse(expression)
	if err == nil {
		p.crons[expression] = s
	}
	return s, err
}

// itemOf makes the item of a target. Checks that cannot be scheduled are left out and told in err.
func (p *pool) itemOf(t *event.Target) (it *item, err error) {
	it = &item{
		id: t.ID, class: p.word(t.Class), address: t.Address, team: p.word(t.Team), zone: p.word(t.Zone()), version: t.Version,
		labels: t.EffectiveLabels(), entries: make([]entry, 0, len(t.Checks)),
	}
	for i := range it.labels {
		l := &it.labels[i]
		l.Name = p.word(l.Name)
		if l.Name == "target" {
			l.Value = it.id
		} else {
			l.Value = p.word(l.Value)
		}
	}
	for i := range t.Checks {
		c := &t.Checks[i]
		e := entry{of: it, check: p.check(c), every: c.Every.Milliseconds(), index: -1}
		switch {
		case c.Cron != "":
			var bad error
			if e.cron, bad = p.cron(c.Cron); bad != nil {
				err = fmt.Errorf("schedule check %s: cron expression %q: %w", c.Name, c.Cron, bad)
				continue
			}
		case e.every <= 0:
			err = fmt.Errorf("schedule check %s: its interval is %s", c.Name, c.Every)
			continue
		default:
			h := hash(t.ID, c.Name)
			e.phase = int64(h % uint64(e.every))
			if !t.Updated.IsZero() {
				e.first = t.Updated.UnixMilli() + int64(mix(h+1)%uint64(min(e.every, spreadFirst)))
			}
		}
		it.entries = append(it.entries, e)
	}
	return it, err
}

// The deadline of a job is the next slot, but neither so soon that nobody can keep it nor so late that the result of an
// hourly check would be an hour old.
const (
	deadlineLeast = 5 * time.Second
	deadlineMost  = 5 * time.Minute
)

// job makes the job of a slot. It says what event.JobFor says, without sorting the labels anew.
func (e *entry) job(slot int64) *event.Job {
	at, interval := time.UnixMilli(slot).UTC(), time.Duration(e.interval(slot))*time.Millisecond
	return &event.Job{
		Target: e.of.id, Class: e.of.class, Address: e.of.address, Team: e.of.team, Labels: e.of.labels,
		Check: e.check.Name, Kind: e.check.Kind, Profile: e.check.Profile, Credential: e.check.Credential, Spec: e.check.Spec,
		Slot: at, Deadline: at.Add(min(max(interval, deadlineLeast), deadlineMost)), Interval: interval,
		Cause: event.CauseSchedule, Zone: e.of.zone,
	}
}

// lateAfter is how long after its slot a job may still be published: half an interval, so that it does not run into the
// next one, but no more than a quarter of a minute and no less than a second.
func lateAfter(interval time.Duration) time.Duration {
	return max(time.Second, min(interval/2, 15*time.Second))
}
