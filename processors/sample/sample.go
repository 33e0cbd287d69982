// Package sample turns Readings into samples: one number of one series each.
//
// In: Readings of one or many targets, in the order of the bus. Out: Batches of samples whose series are the same
// objects from one reading to the next, so that whoever uses them can hang on to what it knows of a series.
// It promises that a reading whose labels and rows did not change costs no allocation per sample, and that a series
// that stopped is said to be gone exactly once.
// It never reads a clock, never does I/O and never changes a counter's value.
package sample

import (
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"kemi.dev/kemi/bus/event"
)

// The series that every check yields, with a label `check` beside the target's own.
const (
	// Up is 1 when the target answered and 0 when it did not.
	Up = "up"
	// PollDuration is how long the poll took, in seconds.
	PollDuration = "kemi_poll_duration_seconds"
)

// Series is one series of one target's check. The same series is the same object in every Batch of one Expander, as
// long as its target's labels stay and it was there in the reading before.
type Series struct {
	// Labels with the metric's name among them.
	Labels labels.Labels
	// Hash of Labels.
	Hash uint64
	// Name of the metric: the column's.
	Name string
	// Counter: its values only grow until they wrap or the device restarts.
	Counter bool
	// User is the consumer's own: a reference in a store, a window. The Expander never touches it.
	User any

	seen uint64  // the expansion that saw it last
	last float64 // its newest value
	has  bool    // whether last was ever set
}

// Sample is one number.
type Sample struct {
	Series *Series
	V      float64
}

// Batch is what one reading says.
type Batch struct {
	Reading *event.Reading
	// T is when the poll started, in Unix milliseconds: the time of every sample.
	T       int64
	Samples []Sample
	// Gone are the series that this check had in its last reading and has no more: stale from T on.
	Gone []*Series
	// Restarted: the device's counters began at zero at BootT (Unix milliseconds), which lies between the last reading
	// of this check that carried values, and this one. See Expander.
	Restarted bool
	BootT     int64
	// First: this Expander sees the check for the first time, and cannot know what Gone and Restarted would be.
	First bool
	// Values: the reading was answered, or carries values although the poll as a whole failed (a service that answers
	// 503 says so in a table). Without them nothing but Up and PollDuration is in Samples.
	Values bool
	// Duplicates counts the values left out because the reading had one of the same series before.
	Duplicates int
}

// Expander makes Batches. It remembers the layout of each check's last reading; it is for one goroutine.
//
// Names: a column is a metric of its name, text columns are none. Labels: the target's effective labels and the row's
// index labels. When a row's label has the name of a target's label, the target's stays and the row's becomes
// exported_NAME, as in Prometheus: whatever a device says, `target` names the target. Empty labels are none.
//
// Restarted needs two witnesses. Booted must lie after the last reading with values, and at least one counter must have
// gone down: an agent that restarts (snmpd after an upgrade) starts its sysUpTime anew while the kernel's counters go
// on, and taking that for a reboot would count everything twice, a spike. If no counter was known above zero, Booted
// alone decides.
type Expander struct {
	checks map[checkKey]*layout
	round  uint64
	batch  Batch
	make   maker
}

type checkKey struct{ target, check string }

// New makes an Expander that knows nothing yet.
func New() *Expander { return &Expander{checks: map[checkKey]*layout{}} }

// Expand turns a reading into samples. The Batch is valid until the next call; the Series in it for longer.
func (x *Expander) Expand(r *event.Reading) *Batch {
	b := &x.batch
	*b = Batch{Reading: r, T: timeOf(r), Values: hasValues(r), Samples: b.Samples[:0], Gone: b.Gone[:0]}
	if !r.Status.Asked() {
		return b
	}
	key := checkKey{r.Target, r.Check}
	l := x.checks[key]
	if l == nil {
		l = &layout{}
		x.checks[key] = l
		b.First = true
	}
	x.round++
	if !l.fits(r) {
		l.rebuild(r, &x.make)
	}
	l.seenAt = max(l.seenAt, b.T)
	l.interval = r.Interval

	// The reading is published after its poll ended: one that started earlier may arrive later. It adds its samples
	// but says nothing about what is gone or restarted since.
	newest := b.T >= l.newest
	x.fill(l, r, b)
	if !newest {
		return b
	}
	x.judgeRestart(l, r, b)
	x.judgeGone(l, b)
	l.newest = b.T
	if b.Values {
		l.valuesAt = b.T
	}
	return b
}

// fill appends the samples of the reading.
func (x *Expander) fill(l *layout, r *event.Reading, b *Batch) {
	up := 0.0
	if r.Status.Up() {
		up = 1
	}
	x.add(b, l.up, up)
	x.add(b, l.duration, r.Duration.Seconds())
	for i := range r.Tables {
		t := &r.Tables[i]
		cells := l.tables[i].cells
		for k := range t.Columns {
			c := &t.Columns[k]
			if c.Kind == event.Text {
				continue
			}
			col := cells[:t.Rows]
			cells = cells[t.Rows:]
			switch {
			case len(c.Missing) > 0:
				for row := range c.Present(t.Rows) {
					v, _ := c.Float(row)
					x.add(b, col[row], v)
				}
			case c.Kind == event.Counter:
				for row, v := range c.Counters {
					x.add(b, col[row], float64(v))
				}
			default:
				for row, v := range c.Gauges {
					x.add(b, col[row], v)
				}
			}
		}
	}
}

func (x *Expander) add(b *Batch, s *Series, v float64) {
	if s.seen == x.round {
		b.Duplicates++
		return
	}
	s.seen = x.round
	b.Samples = append(b.Samples, Sample{s, v})
}

// judgeRestart decides Restarted and remembers the counters' values for the next time.
func (x *Expander) judgeRestart(l *layout, r *event.Reading, b *Batch) {
	boot := r.Booted.UnixMilli()
	suspect := !r.Booted.IsZero() && l.valuesAt > 0 && boot > l.valuesAt && boot <= b.T
	known, fell := false, false
	for i := range b.Samples {
		s := b.Samples[i].Series
		if !s.Counter {
			continue
		}
		if v := b.Samples[i].V; suspect && s.has && s.last > 0 {
			known = true
			fell = fell || v < s.last
		}
		s.last, s.has = b.Samples[i].V, true
	}
	if suspect && (fell || !known) {
		b.Restarted, b.BootT = true, boot
	}
}

// judgeGone compares the series of this reading with those of the last one.
func (x *Expander) judgeGone(l *layout, b *Batch) {
	same := len(l.last) == len(b.Samples)
	for i := 0; same && i < len(l.last); i++ {
		same = l.last[i] == b.Samples[i].Series
	}
	if same {
		return
	}
	for _, s := range l.last {
		if s.seen != x.round {
			b.Gone = append(b.Gone, s)
		}
	}
	l.last = slices.Grow(l.last[:0], len(b.Samples))
	for i := range b.Samples {
		l.last = append(l.last, b.Samples[i].Series)
	}
}

// Forget drops what is remembered of a target.
func (x *Expander) Forget(target string) {
	for key := range x.checks {
		if key.target == target {
			delete(x.checks, key)
		}
	}
}

// Sweep drops what is remembered of checks that have been silent for an hour and ten intervals: targets come and go.
// It returns how many checks it dropped.
func (x *Expander) Sweep(now time.Time) int {
	dropped := 0
	for key, l := range x.checks {
		if now.UnixMilli()-l.seenAt > (time.Hour + 10*l.interval).Milliseconds() {
			delete(x.checks, key)
			dropped++
		}
	}
	return dropped
}

// hasValues: see Batch.Values.
func hasValues(r *event.Reading) bool {
	return r.Status.Asked() && (r.Status.Up() || len(r.Tables) > 0)
}

// timeOf is the time of a reading's samples: when the poll started.
func timeOf(r *event.Reading) int64 {
	if r.Started.IsZero() {
		return r.Slot.UnixMilli()
	}
	return r.Started.UnixMilli()
}
