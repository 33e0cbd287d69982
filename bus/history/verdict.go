package history

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Rule is what a violation is of.
type Rule string

// The rules.
const (
	// Lost: what was acknowledged is there in the end, and every group handled it.
	Lost Rule = "lost"
	// Order: positions grow within an epoch and within a replay, and follow the order in which a key was published.
	Order Rule = "order"
	// Owner: an epoch has one owner, and nobody else commits or writes in it.
	Owner Rule = "owner"
	// Stale: nothing is accepted from an epoch after a newer one had something accepted, nor after its owner knew that it
	// was over; and nothing of it is stored behind what a newer one stored.
	Stale Rule = "stale"
	// Redelivered: what was committed is not delivered to a later owner, acknowledged work to nobody.
	Redelivered Rule = "redelivered"
	// Newest: a snapshot in the end is the newest record of every key, and no removed key.
	Newest Rule = "newest"
	// Epoch: a delivery is of the epoch that its feed was given last, and epochs grow.
	Epoch Rule = "epoch"
	// Refused: what was refused whenever it was published is delivered to nobody.
	Refused Rule = "refused"
	// Altered: a position is one record, and a record's identity one key.
	Altered Rule = "altered"
	// Log: the log itself makes no sense.
	Log Rule = "log"
)

// Counts are of a whole run. Records of calls are counted with each call: what was said again is counted again.
type Counts struct {
	Published    int `json:"published"` // The sum of the next four.
	Acknowledged int `json:"acknowledged"`
	Failed       int `json:"failed"`
	Fenced       int `json:"fenced"`
	Unknown      int `json:"unknown"`
	Asked        int `json:"asked"`     // Whether the epoch lasts.
	Delivered    int `json:"delivered"` // To groups.
	Redelivered  int `json:"redelivered"`
	Replayed     int `json:"replayed"`
	Accepted     int `json:"accepted"` // Commits and acknowledgements.
	Refused      int `json:"refused"`
	Unclear      int `json:"unclear"`
	Epochs       int `json:"epochs"`
	Faults       int `json:"faults"`
	// Lost are identities, Foreign those that were delivered and not published in the run, Stale those that a former owner
	// stored behind a newer one's.
	Lost    int `json:"lost"`
	Foreign int `json:"foreign"`
	Stale   int `json:"stale"`
	// Reads are the replays of a whole topic after the last call that published to it: without one, what is on the topic in
	// the end is not judged.
	Reads int `json:"reads"`
}

// Violation is one way in which the contract was broken.
type Violation struct {
	Rule     Rule     `json:"rule"`
	What     string   `json:"what"`
	Evidence []string `json:"evidence,omitempty"` // Lines of logs, or what they amount to.
}

// Verdict is what a run amounts to.
type Verdict struct {
	Counts Counts `json:"counts"`
	// Broken counts the violations of each rule. Of each, the first ones are in Violations.
	Broken     map[Rule]int `json:"broken,omitempty"`
	Violations []Violation  `json:"violations,omitempty"`
}

// OK says that nothing was broken.
func (v Verdict) OK() bool { return len(v.Broken) == 0 }

// String is the verdict for people, some lines long.
func (v Verdict) String() string {
	var b strings.Builder
	c := v.Counts
	fmt.Fprintf(&b, "published %d, acknowledged %d, failed %d, fenced %d, unknown %d; delivered %d, redelivered %d, accepted %d, refused %d, unclear %d; replayed %d in %d last reads; epochs %d, faults %d; foreign %d, stale %d, lost %d\n",
		c.Published, c.Acknowledged, c.Failed, c.Fenced, c.Unknown, c.Delivered, c.Redelivered, c.Accepted, c.Refused, c.Unclear,
		c.Replayed, c.Reads, c.Epochs, c.Faults, c.Foreign, c.Stale, c.Lost)
	for _, r := range slices.Sorted(maps.Keys(v.Broken)) {
		fmt.Fprintf(&b, "BROKEN %s: %d\n", r, v.Broken[r])
	}
	for _, x := range v.Violations {
		fmt.Fprintf(&b, "  %s: %s\n", x.Rule, x.What)
		for _, e := range x.Evidence {
			fmt.Fprintf(&b, "      %s\n", e)
		}
	}
	return b.String()
}

// findings are violations as they are found.
type findings struct {
	broken map[Rule]int
	first  []Violation
}

// shown is how many violations of a rule are shown.
const shown = 10

func (f *findings) add(r Rule, what string, evidence ...string) {
	if f.broken == nil {
		f.broken = map[Rule]int{}
	}
	if f.broken[r]++; f.broken[r] <= shown {
		f.first = append(f.first, Violation{r, what, evidence})
	}
}

func line(e *Event) string {
	data, err := json.Marshal(e)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

func (a act) String() string {
	what := fmt.Sprintf("commit of position %d", a.n)
	if a.op == OpPublish && a.n > 0 {
		what = fmt.Sprintf("publish of %d under the fence", a.n)
	} else if a.op == OpPublish {
		what = "told that the epoch is its own"
	}
	from := fmt.Sprintf("%s driver %d", a.process, a.driver)
	if a.who != nil {
		from = a.who.String()
	}
	return fmt.Sprintf("%s: %s, from %d to %d (%s)", from, what, a.begin, a.end, time.Unix(0, a.begin).UTC().Format("15:04:05.000"))
}

func (e *era) String() string {
	return fmt.Sprintf("epoch %d of %s/%d for %s", e.epoch, e.g.t.name, e.partition, e.g.name)
}

func (s *stored) String() string { return fmt.Sprintf("%s (key %q)", s.id, s.key) }

func (s seen) String() string { return fmt.Sprintf("%s at position %d, at %d", s.it, s.position, s.at) }

// Verdict judges what was added. It can be asked again after more was.
func (c *Checker) Verdict() Verdict {
	found := findings{maps.Clone(c.found.broken), slices.Clone(c.found.first)}
	j := judgement{c: c, found: &found, counts: c.counts}
	for _, name := range slices.Sorted(maps.Keys(c.topics)) {
		j.topic(c.topics[name])
	}
	return Verdict{j.counts, found.broken, found.first}
}

// judgement is one verdict in the making.
type judgement struct {
	c      *Checker
	found  *findings
	counts Counts
}

func sortedParts[T any](m map[int]T) []int { return slices.Sorted(maps.Keys(m)) }

func (j *judgement) topic(t *topic) {
	reset(t)
	for _, g := range t.order {
		for _, p := range sortedParts(g.parts) {
			j.epochs(g, p)
		}
		j.work(g)
	}
	finals, snapshots := j.finals(t)
	for _, n := range sortedParts(t.parts) {
		p := t.parts[n]
		j.order(t, p)
		j.stale(t, p)
		for _, s := range p.items {
			switch {
			case s.tries == 0:
				j.counts.Foreign++
			case !s.open && s.min >= 0:
				j.found.add(Refused, fmt.Sprintf("%s/%d: %s was refused and is there, at position %d", t.name, n, s, s.min))
			}
		}
		j.lost(t, p, len(finals))
	}
	j.newest(t, finals, snapshots)
}

func reset(t *topic) {
	for _, p := range t.parts {
		for _, s := range p.items {
			s.mark, s.finals = nil, 0
		}
	}
}

// epochs judges the owners of one partition of a group.
func (j *judgement) epochs(g *group, partition int) {
	eras := slices.SortedFunc(maps.Values(g.parts[partition]), func(a, b *era) int { return cmp.Compare(a.epoch, b.epoch) })
	// From the newest back: what an epoch did after the first thing that was accepted in a newer one.
	var newer *era
	for _, e := range slices.Backward(eras) {
		if newer != nil && e.last.op != "" && e.last.begin > newer.first.end+j.apart(e.last, newer.first) {
			j.found.add(Stale, fmt.Sprintf("%s had something accepted after epoch %d had", e, newer.epoch), newer.first.String(), e.last.String())
		}
		if e.first.op != "" && (newer == nil || e.first.end < newer.first.end) {
			newer = e
		}
	}
	// What was committed for certain, and what was seen, up to the epoch before.
	committed, seenTo := int64(-1), int64(-1)
	var by *era
	for _, e := range eras {
		for _, s := range e.got {
			if s.position <= seenTo {
				j.counts.Redelivered++
			}
			if s.position <= committed {
				j.found.add(Redelivered, fmt.Sprintf("%s: %s was delivered, epoch %d had committed position %d", e, s, by.epoch, committed))
			}
			if s.position <= e.handled {
				s.it.handled |= 1 << g.n
			}
		}
		for _, s := range e.got {
			seenTo = max(seenTo, s.position)
		}
		for _, s := range e.commits {
			if s.position > committed && s.at+int64(j.c.rules.CommitDelay) <= max(e.tail, s.at) {
				committed, by = s.position, e
			}
		}
	}
}

// apart is by how much two acts have to be apart for their order to be certain.
func (j *judgement) apart(a, b act) int64 {
	if a.who != nil && b.who != nil && a.who.process == b.who.process {
		return 0
	}
	return int64(j.c.rules.Skew)
}

// work judges the records of a Work topic in a group.
func (j *judgement) work(g *group) {
	delay := int64(j.c.rules.AckDelay)
	for k, w := range g.jobs {
		if w.acked == 0 {
			continue
		}
		for _, again := range w.given {
			skew := int64(j.c.rules.Skew)
			if again.to.process == w.by.process {
				skew = 0
			}
			// A feed notes a delivery after it came: of an attempt before the acknowledged one that may be late. Where owners
			// count the attempts, a new one may not know of the last.
			same := again.epoch == w.epoch
			before := again.at <= w.acked+skew || same && again.try != 0 && again.try < w.try
			next := !same || again.try == w.try+1 || again.try == 0
			if before || next && j.c.faulty(w.acked, delay) {
				continue
			}
			j.found.add(Redelivered, fmt.Sprintf("%s/%d for %s: %s, position %d, was given to %s at %d; %s had acknowledged it at %d",
				g.t.name, k.partition, g.name, w.it, k.position, again.to, again.at, w.by, w.acked))
		}
	}
}

// faulty says whether there was a fault at a time, or that long before or after.
func (c *Checker) faulty(at, delay int64) bool {
	if delay == 0 {
		return false
	}
	for _, f := range c.faults {
		if at >= f.begin-delay && at <= f.end+delay {
			return true
		}
	}
	return false
}
