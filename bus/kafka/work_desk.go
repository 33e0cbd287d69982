package kafka

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/driver/outlet"
)

// tally keeps the books of a partition whose records are handled one by one. It holds what is not done; everything else
// that was read is done, or never was a record.
type tally struct {
	next  int64 // The position up to which the log was read.
	skip  []run // What former owners did, from next on.
	open  []*item
	taken int // How many are in hand.
	bytes int
	// before is how often what is read was handed out by former owners, as far as they could say.
	before map[int64]held
}

// newTally begins at a position, with what a former owner left.
func newTally(position int64, from mark) *tally {
	g := &tally{next: position, skip: from.done, before: map[int64]held{}}
	for _, h := range from.held {
		g.before[h.position] = h
	}
	return g
}

// item is a record that is not done.
type item struct {
	d       driver.Delivery
	hops    int // How many members passed it on.
	attempt int // How often it was handed out.
	inHand  bool
	at      time.Time // In hand since then, or waiting since.
	due     time.Time // It waits until then at least.
	leaving bool      // It is being passed on.
}

// idle says that nothing is in hand, or being passed on.
func (g *tally) idle() bool {
	return g.taken == 0 && !slices.ContainsFunc(g.open, func(it *item) bool { return it.leaving })
}

func (g *tally) room() bool { return len(g.open)-g.taken < outlet.Ahead && g.bytes < outlet.AheadBytes }

// point is the position of the first record that is not done, the runs of what is done behind it, and what was handed out.
func (g *tally) point() (int64, []run, []held) {
	at := g.next
	if len(g.open) > 0 {
		at = g.open[0].d.Position
	}
	var done []run
	var out []held
	for i, it := range g.open {
		if it.attempt > 0 {
			out = append(out, it.held())
		}
		begin, end := it.d.Position+1, g.next
		if i+1 < len(g.open) {
			end = g.open[i+1].d.Position
		}
		if begin < end {
			done = append(done, run{begin, end})
		}
	}
	for _, r := range g.skip {
		if n := len(done); n > 0 && done[n-1].end == r.begin {
			done[n-1].end = r.end
		} else if n == 0 && at == r.begin {
			at = r.end
		} else {
			done = append(done, r)
		}
	}
	for _, p := range slices.Sorted(maps.Keys(g.before)) { // They are of what is still to be read.
		out = append(out, g.before[p])
	}
	return at, done, out
}

// put takes what was read up to next.
func (g *tally) put(ds []driver.Delivery, next int64, now time.Time) {
	for i := range ds {
		d := ds[i]
		if d.Position < g.next || g.skipped(d.Position) {
			continue
		}
		it := &item{d: d, at: now}
		it.unwrap()
		if h, ok := g.before[d.Position]; ok {
			it.attempt = max(it.attempt, h.attempts)
			if h.due > 0 {
				it.due = time.Unix(h.due, 0)
			}
		}
		g.open = append(g.open, it)
		g.bytes += outlet.Weight(&it.d)
	}
	g.next = max(g.next, next)
	maps.DeleteFunc(g.before, func(p int64, _ held) bool { return p < g.next })
	for len(g.skip) > 0 && g.skip[0].end <= g.next {
		g.skip = g.skip[1:]
	}
	if len(g.skip) > 0 && g.skip[0].begin < g.next {
		g.skip = slices.Clone(g.skip)
		g.skip[0].begin = g.next
	}
}

func (g *tally) skipped(position int64) bool {
	for _, r := range g.skip {
		if position < r.begin {
			return false
		}
		if position < r.end {
			return true
		}
	}
	return false
}

// take hands out up to n that are due.
func (g *tally) take(n int, now time.Time) []driver.Delivery {
	var out []driver.Delivery
	for _, it := range g.open {
		if len(out) >= n {
			break
		}
		if it.inHand || it.leaving || it.due.After(now) {
			continue
		}
		it.inHand, it.at = true, now
		it.attempt++
		g.taken++
		g.bytes -= outlet.Weight(&it.d)
		d := it.d
		d.Attempt, d.Token = it.attempt, it
		out = append(out, d)
	}
	return out
}

// find returns the record at a position if it is not done.
func (g *tally) find(position int64) (int, *item) {
	i, ok := slices.BinarySearchFunc(g.open, position, func(it *item, p int64) int {
		switch {
		case it.d.Position < p:
			return -1
		case it.d.Position > p:
			return 1
		}
		return 0
	})
	if !ok {
		return 0, nil
	}
	return i, g.open[i]
}

// done takes a record off the books, in hand or not: what comes late was done all the same.
func (g *tally) done(position int64) {
	i, it := g.find(position)
	if it == nil {
		return
	}
	if it.inHand {
		g.taken--
	} else {
		g.bytes -= outlet.Weight(&it.d)
	}
	g.open = slices.Delete(g.open, i, i+1)
}

// back puts a record back that is in hand, to be handed out again at due.
func (g *tally) back(position int64, now, due time.Time) {
	if _, it := g.find(position); it != nil && it.inHand {
		it.inHand, it.at, it.due = false, now, due
		g.taken--
		g.bytes += outlet.Weight(&it.d)
	}
}

// expire puts back what has been in hand for longer than that.
func (g *tally) expire(now time.Time, after time.Duration) (expired int) {
	for _, it := range g.open {
		if it.inHand && now.Sub(it.at) >= after {
			g.back(it.d.Position, now, now)
			expired++
		}
	}
	return expired
}

// held is what the next owner should know of a record that was handed out.
func (it *item) held() held {
	h := held{position: it.d.Position, attempts: it.attempt}
	if !it.inHand && !it.due.IsZero() {
		h.due = it.due.Add(time.Second - 1).Unix()
	}
	return h
}

// stuck are the records that have waited since then, up to most of them, to be passed on: they are handed out no more until
// done or stay is called.
func (g *tally) stuck(since time.Time, most int) []*item {
	var out []*item
	for _, it := range g.open {
		if len(out) >= most {
			break
		}
		if !it.inHand && !it.leaving && it.hops < maxHops && !it.at.After(since) && !it.due.After(since) {
			it.leaving = true
			out = append(out, it)
		}
	}
	return out
}

// stay keeps a record that could not be passed on; for good when it never can be.
func (g *tally) stay(it *item, now time.Time, forGood bool) {
	it.leaving, it.at = false, now
	if forGood {
		it.hops = maxHops
	}
}

// maxHops is how often a record is passed on at most: when all members are stuck, it does not help to go round.
const maxHops = 8

// headerWork says of a record that was passed on what became of it so far.
const headerWork = "kemi-work"

// unwrap reads what former holders say of the record, which is not for its reader.
func (it *item) unwrap() {
	r := &it.d.Record
	i := slices.IndexFunc(r.Headers, func(h driver.Header) bool { return h.Name == headerWork })
	if i < 0 {
		return
	}
	hops, attempt, due, err := parseWork(r.Headers[i].Value)
	if err != nil {
		return // It is somebody else's header.
	}
	it.hops, it.attempt, it.due = hops, attempt, due
	r.Headers = slices.Delete(slices.Clone(r.Headers), i, i+1)
}

// wrap makes the record that is passed on.
func (it *item) wrap() driver.Record {
	r := it.d.Record
	r.Partition = 0 // It is of Kafka's topic, which may have more; where it goes the parcel says.
	r.Headers = append(slices.Clone(r.Headers), driver.Header{Name: headerWork, Value: formatWork(it.hops+1, it.attempt, it.due)})
	return r
}

func formatWork(hops, attempt int, due time.Time) string {
	ms := int64(0)
	if !due.IsZero() {
		ms = due.UnixMilli()
	}
	return fmt.Sprintf("%d %d %d", hops, attempt, ms)
}

func parseWork(s string) (hops, attempt int, due time.Time, err error) {
	f := strings.Split(s, " ")
	if len(f) != 3 {
		return 0, 0, due, fmt.Errorf("header %s %.40q: want three numbers", headerWork, s)
	}
	var n [3]int64
	for i, x := range f {
		if n[i], err = strconv.ParseInt(x, 10, 64); err != nil || n[i] < 0 || i < 2 && n[i] > 1<<30 || n[i] > 1<<50 {
			return 0, 0, due, fmt.Errorf("header %s %.40q: want three numbers", headerWork, s)
		}
	}
	if n[2] > 0 {
		due = time.UnixMilli(n[2])
	}
	return int(n[0]), int(n[1]), due, nil
}
