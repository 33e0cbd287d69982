package history

import (
	"fmt"
	"time"

	"kemi.dev/kemi/bus/driver"
)

// Rules say what of a run is not as the contract has it by default; the zero value is the contract.
type Rules struct {
	// Unfinished: the run was ended before its groups had everything, so that nothing is lost because it was not consumed.
	Unfinished bool
	// CommitDelay is how long before its last sign of life in an epoch an owner's accepted commit may come to nothing, for
	// drivers that write accepted positions after a time. What it committed then may be delivered again.
	CommitDelay time.Duration
	// AckDelay is how long before a fault the acknowledgement of a Work record may come to nothing, so that the record is
	// delivered once more; during one and for as long after it, too. For drivers that send acknowledgements and do not await
	// an answer, and wherever members are lost: one that comes back acknowledges what is on its way to another.
	AckDelay time.Duration
	// UnknownDelay is how long after a call whose outcome is not known its records may still be stored.
	UnknownDelay time.Duration
	// Skew is how much the clocks of two processes may differ: what happened in one is certainly before what happened in
	// the other when it is earlier by more than that.
	Skew time.Duration
	// StaleStored is how many records of a former owner may be stored behind those of a newer one, where the broker cannot
	// refuse them and readers drop them by their epoch.
	StaleStored int
}

// Checker reads events and judges them in the end. The events of one process come in the order of its log, those of
// different processes in any. It is not for concurrent use.
type Checker struct {
	rules  Rules
	topics map[string]*topic
	feeds  map[feedKey]*reader
	faults []span
	texts  map[string]string
	found  findings
	counts Counts
}

// NewChecker begins a verdict.
func NewChecker(rules Rules) *Checker {
	return &Checker{rules: rules, topics: map[string]*topic{}, feeds: map[feedKey]*reader{}, texts: map[string]string{}}
}

type span struct{ begin, end int64 }

type feedKey struct {
	process string
	feed    int
}

// topic is what is known of one.
type topic struct {
	name   string
	spec   driver.Topic // The zero value, a Log, until a log says otherwise.
	parts  map[int]*part
	groups map[string]*group
	order  []*group // By their numbers.
	reads  []*reader
	last   int64 // When the last call that published to it ended.
}

type part struct {
	n     int
	items map[string]*stored
	at    map[int64]*stored
	keys  map[string]*keyed
}

// keyed is what was done to one key.
type keyed struct{ writes []write }

// write is one attempt to store a record.
type write struct {
	it         *stored
	begin, end int64
	outcome    Outcome
}

// stored is one identity in a partition.
type stored struct {
	part     *part
	id, key  string
	gone     bool
	tries    int     // Calls that it was in.
	open     bool    // One of them may have stored it: not all were refused.
	acked    int64   // When the first call that stored it for certain ended; 0 is never.
	begin    int64   // When the first call began.
	min, max int64   // Positions at which it was delivered; -1 is never.
	before   *stored // The record before it in its partition, in a call that stored both.
	fence    *era    // What it was published under, when that was one epoch.
	fences   int     // How many epochs.
	handled  uint64  // Groups that handled it, or may have.
	mark     *reader
	finals   int
}

// group is one group of a topic.
type group struct {
	name  string
	t     *topic
	n     int
	begun int64 // When its first member subscribed.
	start driver.Start
	parts map[int]map[uint64]*era
	jobs  map[jobKey]*job // Of a Work topic.
}

type jobKey struct {
	partition int
	position  int64
}

// job is one Work record in a group.
type job struct {
	it    *stored
	given []given
	acked int64 // When its first accepted acknowledgement ended; 0 is never.
	by    *reader
	try   int // The attempt that was acknowledged, and the epoch it was in.
	epoch uint64
}

type given struct {
	at    int64
	to    *reader
	try   int
	epoch uint64 // Where work has owners who count the attempts; 0 where the broker does.
}

// seen is a delivery.
type seen struct {
	it       *stored
	position int64
	at       int64
}

// era is one epoch of a partition in a group.
type era struct {
	g         *group
	partition int
	epoch     uint64
	owners    []*reader // One, if all is well.
	from      int64     // Where it began.
	over      int64     // When the owner knew that it was over; 0 is never.
	lastRead  int64
	got       []seen
	commits   []seen // Accepted ones; it is nil.
	handled   int64  // Up to here it was committed, or may have been; -1 is nothing.
	tail      int64  // The owner's last sign of life in it.
	first     act    // The accepted act that ended first.
	last      act    // The accepted act that began last.
}

// act is something that only an owner may do, and was accepted.
type act struct {
	span
	op      Op // "" is none.
	n       int64
	who     *reader // The owner who did it; nil is nobody who is one.
	process string
	driver  int
}

// reader is a feed.
type reader struct {
	process  string
	feed     int
	driver   int
	t        *topic
	g        *group // Nil of a replay.
	begin    int64
	whole    bool // It reads all partitions, from the beginning or as a snapshot.
	snapshot bool
	caughtUp bool
	all      []seen // Of a whole replay.
	last     map[int]int64
	own      map[int]*era
}

func (r *reader) String() string { return fmt.Sprintf("%s feed %d", r.process, r.feed) }

func (c *Checker) text(s string) string {
	if have, ok := c.texts[s]; ok {
		return have
	}
	c.texts[s] = s
	return s
}

func (c *Checker) topic(name string) *topic {
	t := c.topics[name]
	if t == nil {
		t = &topic{name: c.text(name), parts: map[int]*part{}, groups: map[string]*group{}}
		c.topics[t.name] = t
	}
	return t
}

func (t *topic) part(n int) *part {
	p := t.parts[n]
	if p == nil {
		p = &part{n: n, items: map[string]*stored{}, at: map[int64]*stored{}, keys: map[string]*keyed{}}
		t.parts[n] = p
	}
	return p
}

func (t *topic) group(name string) *group {
	g := t.groups[name]
	if g == nil {
		g = &group{name: name, t: t, n: len(t.order), parts: map[int]map[uint64]*era{}, jobs: map[jobKey]*job{}}
		t.groups[name] = g
		t.order = append(t.order, g)
	}
	return g
}

func (g *group) era(partition int, epoch uint64) *era {
	eras := g.parts[partition]
	if eras == nil {
		eras = map[uint64]*era{}
		g.parts[partition] = eras
	}
	e := eras[epoch]
	if e == nil {
		e = &era{g: g, partition: partition, epoch: epoch, handled: -1, lastRead: -1}
		eras[epoch] = e
	}
	return e
}

// item finds the record of an identity in its partition. Of work it finds it wherever it is: nobody owns its partitions,
// and a driver may store it in any.
func (c *Checker) item(t *topic, partition int, it *Item) *stored {
	if t.spec.Kind == driver.Work {
		partition = 0
	}
	p := t.part(partition)
	s := p.items[it.ID]
	if s == nil {
		s = &stored{part: p, id: it.ID, key: c.text(it.Key), gone: it.Gone, min: -1, max: -1}
		p.items[s.id] = s
	} else if s.key != it.Key || s.gone != it.Gone {
		c.found.add(Altered, fmt.Sprintf("%s/%d: the identity %s is of key %q (removed: %t) and of key %q (removed: %t)", t.name, partition, it.ID, s.key, s.gone, it.Key, it.Gone))
	}
	return s
}

// Add takes the next event of a process.
func (c *Checker) Add(e *Event) {
	switch e.Op {
	case OpTopic:
		if e.Spec != nil {
			c.topic(e.Topic).spec = *e.Spec
		}
	case OpFault:
		c.counts.Faults++
		c.faults = append(c.faults, span{e.At, e.Ended})
	case OpPublish:
		c.publish(e)
	case OpSubscribe:
		c.subscribe(e)
	case OpAssigned, OpRevoked, OpCaughtUp, OpData, OpAck, OpNack, OpClose:
		r := c.feeds[feedKey{e.Process, e.Feed}]
		if r == nil {
			c.found.add(Log, fmt.Sprintf("%s feed %d: %s before it was opened", e.Process, e.Feed, e.Op), line(e))
			return
		}
		c.feed(r, e)
	}
}

func (c *Checker) subscribe(e *Event) {
	if e.Outcome == Failed {
		return
	}
	r := &reader{
		process: c.text(e.Process), feed: e.Feed, driver: e.Driver, t: c.topic(e.Topic), begin: e.At,
		last: map[int]int64{}, own: map[int]*era{},
	}
	var start driver.Start
	if e.Start != nil {
		start = *e.Start
	}
	if e.Group == "" {
		r.snapshot = start.Snapshot
		r.whole = e.Partitions == nil && !start.End && start.Time.IsZero() && start.Position == 0
		r.t.reads = append(r.t.reads, r)
	} else {
		r.g = r.t.group(e.Group)
		if r.g.begun == 0 || e.At < r.g.begun {
			r.g.begun, r.g.start = e.At, start
		}
	}
	c.feeds[feedKey{r.process, r.feed}] = r
}

func (c *Checker) publish(e *Event) {
	var under *era
	if f := e.Fence; f != nil {
		under = c.topic(f.Topic).group(f.Group).era(f.Partition, f.Epoch)
		if e.Outcome == OK {
			did := act{span: span{e.At, e.Ended}, op: OpPublish, n: int64(len(e.Records)), process: e.Process, driver: e.Driver}
			c.acted(under, did, func(r *reader) bool { return r.process == e.Process && r.driver == e.Driver })
		}
	}
	if len(e.Records) == 0 {
		c.counts.Asked++
		return
	}
	n := len(e.Records)
	c.counts.Published += n
	switch e.Outcome {
	case OK:
		c.counts.Acknowledged += n
	case Unknown:
		c.counts.Unknown += n
	case Fenced:
		c.counts.Fenced += n
	default:
		c.counts.Failed += n
	}
	var before map[*part]*stored
	for i := range e.Records {
		t := c.topic(e.Records[i].Topic)
		t.last = max(t.last, e.Ended)
		p := t.part(e.Records[i].Partition)
		s := c.item(t, p.n, &e.Records[i])
		s.tries++
		if s.tries == 1 || e.At < s.begin {
			s.begin = e.At
		}
		s.open = s.open || e.Outcome == OK || e.Outcome == Unknown
		if e.Outcome == OK && (s.acked == 0 || e.Ended < s.acked) {
			s.acked = e.Ended
		}
		if under != nil && s.fence != under {
			s.fence = under
			s.fences++
		}
		if e.Outcome == OK && n > 1 {
			if before == nil {
				before = map[*part]*stored{}
			}
			s.before = before[p]
			before[p] = s
		}
		k := p.keys[s.key]
		if k == nil {
			k = &keyed{}
			p.keys[s.key] = k
		}
		k.writes = append(k.writes, write{s, e.At, e.Ended, e.Outcome})
	}
}

// acted notes what was accepted in an epoch; owns says whether a reader is the one who did it.
func (c *Checker) acted(e *era, a act, owns func(*reader) bool) {
	owner := false
	for _, r := range e.owners {
		if owns(r) {
			owner, a.who = true, r
		}
	}
	switch {
	case !owner:
		c.found.add(Owner, fmt.Sprintf("%s was accepted by who was never given the epoch", e), a.String())
	case e.over != 0 && a.begin > e.over && a.who == e.owners[0]:
		c.found.add(Stale, fmt.Sprintf("%s was accepted although the owner had been told that the epoch is over", e), a.String())
	}
	if e.first.op == "" || a.end < e.first.end {
		e.first = a
	}
	if e.last.op == "" || a.begin > e.last.begin {
		e.last = a
	}
	e.tail = max(e.tail, a.begin)
}
