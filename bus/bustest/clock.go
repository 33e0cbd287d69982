package bustest

import (
	"fmt"
	"time"

	"kemi.dev/kemi/bus/driver"
)

// Clocks jump, and those of machines differ. Times of records are the broker's, and all other times of the contract are
// durations; what is left of a member's clock is the time at which a replay or a group begins.
var clocks = []clause{
	{"a member whose clock is off begins late or early, and misses nothing afterwards", clockOff},
	{"a group whose first member had a clock that was off keeps its place", clockOffGroup},
	{"times of records are the broker's and follow their positions", brokersTimes},
}

// offsets are clocks that are off by much, some by more than any record is old.
var offsets = []time.Duration{-20 * 365 * 24 * time.Hour, -time.Hour, time.Hour, 20 * 365 * 24 * time.Hour}

func clockOff(e *env) {
	for i, kind := range []driver.Kind{driver.Log, driver.Latest, driver.Work} {
		t := e.topic(driver.Topic{Name: fmt.Sprint("clock", i), Kind: kind, Keep: 24 * time.Hour})
		e.publish(e.d, record(t, 0, "a", "0"), record(t, 0, "b", "1"), record(t, 0, "c", "2"))
		var feeds []*feed
		for _, off := range offsets {
			f := e.subscribe(e.d, driver.Subscription{Topic: t.Name, Start: driver.Start{Time: time.Now().Add(off)}})
			if got := f.everything(); off < 0 {
				e.same(got, count(0, 3)...)
			} else {
				e.same(got) // It would begin in what is the future for it.
			}
			feeds = append(feeds, f)
		}
		e.publish(e.d, record(t, 0, "d", "3"))
		for _, f := range feeds {
			e.same(f.data(1), "3")
		}
	}
}

func clockOffGroup(e *env) {
	t := e.topic(driver.Topic{Keep: 24 * time.Hour})
	e.publish(e.d, numbered(t, 0, "k", 3)...)
	for i, off := range offsets {
		s := driver.Subscription{Topic: t.Name, Group: fmt.Sprint("g", i), Start: driver.Start{Time: time.Now().Add(off)}}
		first := e.subscribe(e.d, s)
		first.event(driver.Assigned)
		from := 3 + i
		if off < 0 {
			from = 0
			got := first.data(1)
			e.same(got, "0")
			first.ack(got...)
			from++
		}
		first.Close()
		// The next member's clock is right, or off the other way: it is the group's place that counts.
		e.publish(e.d, record(t, 0, "k", fmt.Sprint(3+i)))
		s.Start.Time = time.Now().Add(-off)
		e.same(e.subscribe(e.h.Open(), s).data(4+i-from), count(from, 4+i)...)
	}
}

func brokersTimes(e *env) {
	t := e.topic(driver.Topic{Partitions: 2})
	before := time.Now()
	for i := range 20 {
		e.publish(e.d, record(t, i%2, "k", fmt.Sprint(i)))
	}
	after := time.Now()
	last := map[int]driver.Delivery{}
	for _, d := range e.subscribe(e.h.Open(), driver.Subscription{Topic: t.Name}).everything() {
		if l, ok := last[d.Partition]; ok && (d.Stored.Before(l.Stored) || d.Position <= l.Position) {
			e.Fatalf("%s at position %d after %s at %d", d.Stored, d.Position, l.Stored, l.Position)
		}
		if d.Stored.Before(before.Add(-time.Second)) || d.Stored.After(after.Add(time.Second)) {
			e.Fatalf("stored at %s, published from %s to %s", d.Stored, before, after)
		}
		last[d.Partition] = d
	}
	// A record's own time is one by which a replay finds it.
	d := last[1]
	found := e.subscribe(e.d, driver.Subscription{Topic: t.Name, Partitions: []int{1}, Start: driver.Start{Time: d.Stored}}).everything()
	if len(found) == 0 || found[len(found)-1].Position != d.Position || found[0].Stored.Before(d.Stored.Truncate(time.Millisecond)) {
		e.Fatalf("from %s on there came %s", d.Stored, brief(found))
	}
}
