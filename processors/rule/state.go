package rule

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/prometheus/prometheus/model/labels"

	"kemi.dev/kemi/bus/event"
)

// What is pending or firing is saved by bucket, a fixed share of the targets, so that a change writes little. Each
// bucket says up to which position of the bus it is true; readings after that are judged again, silently, when the
// partition is opened anew, which gives the same state because judging is deterministic.

// bucketOf is the bucket of a target. It must never change: saved state is found by it.
func bucketOf(target string) uint8 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(target))
	return uint8(h.Sum32() >> 24)
}

// savedBucket is the saved form of a bucket.
type savedBucket struct {
	Position  int64        `json:"position"`
	Instances []saved      `json:"instances"`
	Reach     []savedReach `json:"reach,omitempty"`
}

// savedReach is the saved form of what was last said of a target being reachable, so that it can be said again.
type savedReach struct {
	Target  string        `json:"target"`
	Verdict event.Verdict `json:"verdict"`
	Since   int64         `json:"since"`
	Domain  string        `json:"domain,omitempty"`
}

// saved is the saved form of an instance; times are Unix milliseconds.
type saved struct {
	Target       string       `json:"target"`
	Key          string       `json:"key"`
	Rule         string       `json:"rule"`
	Alert        string       `json:"alert"`
	Series       event.Labels `json:"series"`
	Labels       event.Labels `json:"labels"`
	Team         string       `json:"team,omitempty"`
	Domain       string       `json:"domain"`
	Named        event.Labels `json:"named,omitempty"`
	Renamed      int64        `json:"renamed,omitempty"`
	Firing       bool         `json:"firing,omitempty"`
	Active       int64        `json:"active"`
	LastTrue     int64        `json:"last_true"`
	LastSeen     int64        `json:"last_seen"`
	FalseSince   int64        `json:"false_since,omitempty"`
	UnknownSince int64        `json:"unknown_since,omitempty"`
	MissingSince int64        `json:"missing_since,omitempty"`
	Doubted      bool         `json:"doubted,omitempty"`
	Said         int64        `json:"said"`
	Value        float64      `json:"value"`
	At           int64        `json:"at"`
	// Of are the labels of the target, on the first of its instances: those may be others when it is heard again.
	Of event.Labels `json:"of,omitempty"`
}

// Dirty returns the buckets that changed since they were last asked for; all that hold anything if all is set.
func (d *Desk) Dirty(all bool) map[uint8]bool {
	out := d.dirty
	d.dirty = map[uint8]bool{}
	if all {
		for _, tg := range d.targets {
			if len(tg.instances) > 0 {
				out[tg.bucket] = true
			}
		}
	}
	return out
}

// MarkDirty has a bucket saved again: it could not be saved.
func (d *Desk) MarkDirty(bucket uint8) { d.dirty[bucket] = true }

// Save returns the saved form of each of the buckets, also of empty ones: that nothing is there is to be known, too.
func (d *Desk) Save(buckets map[uint8]bool, position int64) (map[uint8][]byte, error) {
	all := map[uint8]*savedBucket{}
	for b := range buckets {
		all[b] = &savedBucket{Position: position}
	}
	for _, tg := range d.targets {
		b := all[tg.bucket]
		if b == nil {
			continue
		}
		for i, in := range tg.instances {
			one := in.save(tg)
			if i == 0 {
				one.Of = tg.labels
			}
			b.Instances = append(b.Instances, one)
		}
		if tg.reach.verdict != "" {
			b.Reach = append(b.Reach, savedReach{tg.id, tg.reach.verdict, tg.reach.since.UnixMilli(), tg.home})
		}
	}
	out := make(map[uint8][]byte, len(all))
	for n, b := range all {
		data, err := json.Marshal(b)
		if err != nil {
			return nil, fmt.Errorf("save rule states: %w", err)
		}
		out[n] = s2.Encode(nil, data)
	}
	return out, nil
}

func (in *instance) save(tg *target) saved {
	named := event.Labels(nil)
	if !in.named.IsEmpty() {
		named = event.LabelsOf(in.named.Map())
	}
	return saved{
		Named: named, Renamed: in.renamed,
		Target: tg.id, Key: in.key, Rule: in.name, Alert: in.alert, Series: event.LabelsOf(in.series.Map()), Labels: in.labels,
		Team: in.team, Domain: in.domain, Firing: in.firing, Active: in.active, LastTrue: in.lastTrue, LastSeen: in.lastSeen,
		FalseSince: in.falseSince, UnknownSince: in.unknownSince, MissingSince: in.missingSince, Doubted: in.doubted, Said: in.said, Value: finite(in.value), At: max(tg.at, tg.floor),
	}
}

// maxState bounds what a saved bucket may unpack to.
const maxState = 64 << 20

// Load takes a saved bucket into a desk that has seen no reading yet; it returns the position up to which it is true.
// Instances of rules that are no more end at now.
func (d *Desk) Load(data []byte, now time.Time) (position int64, err error) {
	if n, err := s2.DecodedLen(data); err != nil || n > maxState {
		return 0, fmt.Errorf("load rule states: %d bytes do not unpack (%w)", len(data), err)
	}
	plain, err := s2.Decode(nil, data)
	if err != nil {
		return 0, fmt.Errorf("load rule states: %w", err)
	}
	var b savedBucket
	if err := json.Unmarshal(plain, &b); err != nil {
		return 0, fmt.Errorf("load rule states: %w", err)
	}
	for _, s := range b.Reach {
		tg := d.target(s.Target)
		tg.home = s.Domain
		tg.heard, tg.reach = now, reach{verdict: s.Verdict, since: time.UnixMilli(s.Since).UTC(), loaded: true}
	}
	for i := range b.Instances {
		s := &b.Instances[i]
		tg := d.target(s.Target)
		tg.floor, tg.heard, tg.dirty = max(tg.floor, s.At), now, true
		if tg.labels == nil {
			tg.labels = s.Of
		}
		in := &instance{
			rule: d.set.byKey[s.Key], key: s.Key, name: s.Rule, alert: s.Alert, series: labels.FromMap(s.Series.Map()), labels: s.Labels,
			team: s.Team, domain: s.Domain, named: labels.FromMap(s.Named.Map()), renamed: s.Renamed, firing: s.Firing, active: s.Active, lastTrue: s.LastTrue, lastSeen: s.LastSeen,
			falseSince: s.FalseSince, unknownSince: s.UnknownSince, missingSince: s.MissingSince, doubted: s.Doubted, said: s.Said, value: s.Value,
		}
		if tg.instances = append(tg.instances, in); in.firing && tg.home == "" {
			tg.home = in.domain
		}
		if in.rule == nil {
			d.finish(tg, in, now, ReasonRuleRemoved, "the rule is not there any more")
		}
	}
	return b.Position, nil
}

// Reload replaces the rules. Instances of rules that are still there, by name and labels, go on; the others end at now.
func (d *Desk) Reload(set *Set, now time.Time) {
	d.use(set)
	for _, tg := range d.targets {
		for i := len(tg.instances) - 1; i >= 0; i-- {
			in := tg.instances[i]
			if in.rule = set.byKey[in.key]; in.rule == nil {
				d.finish(tg, in, now, ReasonRuleRemoved, "the rule is not there any more")
			}
		}
	}
}

// Remove ends everything of a target that is no more.
func (d *Desk) Remove(id string, now time.Time) {
	tg := d.targets[id]
	if tg == nil {
		return
	}
	for i := len(tg.instances) - 1; i >= 0; i-- {
		d.finish(tg, tg.instances[i], now, ReasonTargetRemoved, "the target is not watched any more")
	}
	delete(d.targets, id)
	d.dirty[tg.bucket] = true
	d.x.Forget(id)
}

// SayAgain has every firing instance, and of every target whether it answers, said again at its next reading: whether it
// was said last is not known after a restart, nor who has heard it. Saying it twice does no harm.
func (d *Desk) SayAgain() {
	for _, tg := range d.targets {
		tg.reach.unsaid = true
		for _, in := range tg.instances {
			if in.firing {
				in.said = 0
			}
		}
	}
}

// Targets lists the targets that the desk knows.
func (d *Desk) Targets() []string {
	ids := make([]string, 0, len(d.targets))
	for id := range d.targets {
		ids = append(ids, id)
	}
	return ids
}

// Heard is the slot of a target's newest reading.
func (d *Desk) Heard(id string) time.Time {
	if tg := d.targets[id]; tg != nil {
		return tg.heard
	}
	return time.Time{}
}

// Instances counts those that are pending, firing, and firing without data.
func (d *Desk) Instances() (pending, firing, unknown int) {
	for _, tg := range d.targets {
		for _, in := range tg.instances {
			switch {
			case in.firing && in.unknownSince != 0:
				unknown++
			case in.firing:
				firing++
			default:
				pending++
			}
		}
	}
	return pending, firing, unknown
}

// finish ends an instance by what no reading said.
func (d *Desk) finish(tg *target, in *instance, now time.Time, code, text string) {
	tg.at = max(tg.at+1, tg.floor+1, now.UnixMilli())
	d.out = append(d.out, in.finding(tg, event.VerdictOK, now.UnixMilli(), tg.at, code, text))
	tg.forget(in)
	d.dirty[tg.bucket] = true
}
