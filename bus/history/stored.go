package history

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"

	"kemi.dev/kemi/bus/driver"
)

// finals are the replays of the whole topic that began after everything was published, and had caught up: of every record,
// and snapshots.
func (j *judgement) finals(t *topic) (all, snapshots []*reader) {
	for _, r := range t.reads {
		if !r.whole || !r.caughtUp || r.begin <= t.last {
			continue
		}
		j.counts.Reads++
		if r.snapshot {
			snapshots = append(snapshots, r)
			continue
		}
		all = append(all, r)
		for _, s := range r.all {
			if s.it.mark != r {
				s.it.mark = r
				s.it.finals++
			}
		}
	}
	return all, snapshots
}

// order judges that positions follow the order in which each key was published, and records of a call their order in it.
func (j *judgement) order(t *topic, p *part) {
	if t.spec.Kind == driver.Work {
		return
	}
	for _, k := range p.keys {
		byBegin := slices.Clone(k.writes)
		slices.SortFunc(byBegin, func(a, b write) int { return cmp.Compare(a.it.begin, b.it.begin) })
		var byEnd []write
		for _, w := range k.writes {
			if w.outcome == OK && w.it.min >= 0 {
				byEnd = append(byEnd, w)
			}
		}
		slices.SortFunc(byEnd, func(a, b write) int { return cmp.Compare(a.it.acked, b.it.acked) })
		var last *stored // The one furthest on of those that were stored before the next began.
		n := 0
		for _, w := range byBegin {
			for n < len(byEnd) && byEnd[n].it.acked+int64(j.c.rules.Skew) < w.it.begin {
				if it := byEnd[n].it; last == nil || it.min > last.min {
					last = it
				}
				n++
			}
			if last != nil && w.it.max >= 0 && w.it.max < last.min {
				j.found.add(Order, fmt.Sprintf("%s/%d: %s is at position %d, before %s at %d, which was stored at %d, before the other was published at %d",
					t.name, p.n, w.it, w.it.max, last, last.min, last.acked, w.it.begin))
			}
		}
	}
	for _, s := range p.items {
		if b := s.before; b != nil && b.tries == 1 && s.tries == 1 && b.min >= 0 && s.min >= 0 && b.min > s.min {
			j.found.add(Order, fmt.Sprintf("%s/%d: %s came before %s in one call, and is at position %d behind %d", t.name, p.n, b, s, b.min, s.min))
		}
	}
}

// stale judges that what was published under a fence is stored in the order of the epochs.
func (j *judgement) stale(t *topic, p *part) {
	type place struct {
		g         *group
		partition int
	}
	var fenced []*stored
	for _, s := range p.items {
		if s.fences == 1 && s.min >= 0 {
			fenced = append(fenced, s)
		}
	}
	slices.SortFunc(fenced, func(a, b *stored) int { return cmp.Compare(a.min, b.min) })
	newest := map[place]*stored{}
	for _, s := range fenced {
		at := place{s.fence.g, s.fence.partition}
		if n := newest[at]; n == nil || s.fence.epoch >= n.fence.epoch {
			newest[at] = s
			continue
		}
		if j.counts.Stale++; j.counts.Stale > j.c.rules.StaleStored {
			j.found.add(Stale, fmt.Sprintf("%s/%d: %s of %s is stored at position %d, behind %s of epoch %d at %d",
				t.name, p.n, s, s.fence, s.min, newest[at], newest[at].fence.epoch, newest[at].min))
		}
	}
}

// lost judges that what was acknowledged is there, and was handled. Of a Latest topic it is the newest of each key.
func (j *judgement) lost(t *topic, p *part, finals int) {
	miss := func(s *stored, where string) {
		j.counts.Lost++
		j.found.add(Lost, fmt.Sprintf("%s/%d: %s was stored at %d, %s", t.name, p.n, s, s.acked, where))
	}
	judge := func(s *stored) {
		if s.finals < finals && !t.spec.DropOldest {
			miss(s, "and is not on the topic in the end")
			return
		}
		if j.c.rules.Unfinished {
			return
		}
		for _, g := range t.order {
			if s.handled&(1<<g.n) == 0 && g.owes(p.n, s) {
				miss(s, "and the group "+g.name+" never handled it"+how(s))
				return
			}
		}
	}
	if t.spec.Kind != driver.Latest {
		for _, s := range p.items {
			if s.acked != 0 {
				judge(s)
			}
		}
		return
	}
	for _, k := range p.keys {
		if can, none := j.newestOf(k); len(can) == 1 && !none {
			for s := range can {
				judge(s)
			}
		}
	}
}

func how(s *stored) string {
	if s.min < 0 {
		return "; it was delivered to nobody"
	}
	return fmt.Sprintf("; it is at position %d", s.min)
}

// groupsJudged is how many groups of a topic are judged: each is a bit of a word.
const groupsJudged = 64

// owes says whether the group is to handle what is in a partition: not what was there before it began.
func (g *group) owes(partition int, s *stored) bool {
	if g.begun == 0 || g.n >= groupsJudged {
		return false // Nobody ever read for it, then: it is only named in a fence.
	}
	if g.start == (driver.Start{}) {
		return true
	}
	from := int64(math.MaxInt64)
	first := uint64(math.MaxUint64)
	for epoch, e := range g.parts[partition] {
		if epoch < first && len(e.owners) > 0 {
			first, from = epoch, e.from
		}
	}
	return s.min >= from && !g.start.Snapshot
}

// newestOf are the records that may be the newest of a key, by what is certain of the order of the calls; none says that
// the key may be gone, or never have been.
func (j *judgement) newestOf(k *keyed) (can map[*stored]bool, none bool) {
	var last int64 // When the last call that stored one for certain began.
	for _, w := range k.writes {
		if w.outcome == OK {
			last = max(last, w.begin)
		}
	}
	can, none = map[*stored]bool{}, last == 0
	for _, w := range k.writes {
		end := w.end
		switch w.outcome {
		case OK:
		case Unknown:
			end += int64(j.c.rules.UnknownDelay)
		default:
			continue
		}
		if end+int64(j.c.rules.Skew) < last {
			continue
		}
		if w.it.gone {
			none = true
		} else {
			can[w.it] = true
		}
	}
	return can, none
}

// newest judges the snapshots that were taken in the end.
func (j *judgement) newest(t *topic, finals, snapshots []*reader) {
	if t.spec.Kind != driver.Latest || len(snapshots) == 0 {
		return
	}
	type place struct {
		p   *part
		key string
	}
	stand := func(r *reader) map[place]seen {
		out := map[place]seen{}
		for _, s := range r.all {
			out[place{s.it.part, s.it.key}] = s
		}
		return out
	}
	for _, r := range snapshots {
		now := stand(r)
		for _, n := range sortedParts(t.parts) {
			p := t.parts[n]
			for key, k := range p.keys {
				can, none := j.newestOf(k)
				switch have, there := now[place{p, key}]; {
				case there && have.it.gone:
					j.found.add(Newest, fmt.Sprintf("%s/%d: a snapshot by %s has the removal %s", t.name, n, r, have))
				case there && !can[have.it]:
					j.found.add(Newest, fmt.Sprintf("%s/%d: a snapshot by %s has %s, which is not the newest of its key", t.name, n, r, have), candidates(can, none))
				case !there && !none && len(can) > 0:
					j.found.add(Newest, fmt.Sprintf("%s/%d: a snapshot by %s does not have the key %q", t.name, n, r, key), candidates(can, none))
				}
			}
		}
		for _, f := range finals { // And it is what the topic itself says.
			for at, s := range stand(f) {
				have, there := now[at]
				if there == s.it.gone || there && have.it != s.it {
					j.found.add(Newest, fmt.Sprintf("%s/%d: the last record of key %q is %s (removed: %t), a snapshot by %s has %v (there: %t)",
						t.name, at.p.n, at.key, s, s.it.gone, r, have.it, there))
				}
			}
		}
	}
}

func candidates(can map[*stored]bool, none bool) string {
	ids := make([]string, 0, len(can))
	for s := range maps.Keys(can) {
		ids = append(ids, s.id)
	}
	slices.Sort(ids)
	return fmt.Sprintf("it may be %q; removed or never there: %t", ids, none)
}
