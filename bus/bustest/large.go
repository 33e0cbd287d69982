package bustest

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"kemi.dev/kemi/bus/driver"
)

var large = []clause{
	{"large records pass, one and several", largeRecords},
	{"larger records are refused before anything is sent", largerRecords},
	{"ten thousand keys", tenThousandKeys},
}

// three are a topic of each kind, and one that is synced.
func (e *env) three() []driver.Topic {
	e.Helper()
	var out []driver.Topic
	for _, t := range []driver.Topic{
		{Name: "log"}, {Name: "sync", Sync: true}, {Name: "latest", Kind: driver.Latest, Keep: time.Hour}, {Name: "work", Kind: driver.Work},
	} {
		out = append(out, e.topic(t))
	}
	return out
}

// heavy is a record of 900 kB that can be told from others.
func heavy(t driver.Topic, n int) driver.Record {
	pattern := fmt.Sprintf("%09d,", n)
	return driver.Record{Topic: t.Name, Key: fmt.Sprint("k", n), Value: bytes.Repeat([]byte(pattern), 900_000/len(pattern))}
}

func largeRecords(e *env) {
	for _, t := range e.three() {
		e.publish(e.d, heavy(t, 0))
		e.publish(e.d, heavy(t, 1), heavy(t, 2), heavy(t, 3), heavy(t, 4), heavy(t, 5))
		f := e.subscribe(e.d, driver.Subscription{Topic: t.Name, Group: "g"})
		came := map[string]bool{}
		for _, d := range f.data(6) {
			n := len(came)
			if t.Kind == driver.Work { // In any order.
				n = number([]byte(strings.TrimPrefix(d.Record.Key, "k")))
			}
			if want := heavy(t, n); d.Record.Key != want.Key || !bytes.Equal(d.Record.Value, want.Value) {
				e.Fatalf("%s: %d bytes of %s came, want %s unchanged", t.Name, len(d.Record.Value), d.Record.Key, want.Key)
			}
			came[d.Record.Key] = true
			f.ack(d)
		}
		if len(came) != 6 {
			e.Fatalf("%s: %d of 6 large records", t.Name, len(came))
		}
	}
}

func largerRecords(e *env) {
	other := e.topic(driver.Topic{Name: "other"})
	for _, t := range e.three() {
		f := e.subscribe(e.d, driver.Subscription{Topic: t.Name})
		f.event(driver.CaughtUp)
		larger := driver.Record{Topic: t.Name, Key: "larger", Value: make([]byte, 1<<20+1)}
		for _, call := range [][]driver.Record{
			{larger},
			{record(t, 0, "before", "s"), larger, record(t, 0, "after", "s")},
			{record(other, 0, "before", "s"), larger},
		} {
			err := e.d.Publish(e.ctx, call, nil)
			e.wants(err, driver.ErrTooLarge, "publish more than 1 MiB")
			if !strings.Contains(err.Error(), t.Name) {
				e.Fatalf("the error %q does not name %s", err, t.Name)
			}
		}
		f.quiet("the whole call was refused")
		e.publish(e.d, record(t, 0, "next", "s")) // Nothing is left behind.
		e.same(f.data(1), "s")
	}
	e.same(e.subscribe(e.d, driver.Subscription{Topic: other.Name}).everything())
}

func tenThousandKeys(e *env) {
	const keys = 10_000
	t := e.topic(driver.Topic{Kind: driver.Latest, Partitions: 4})
	key := func(i int) string { return fmt.Sprintf("target-%05d/interface/%d", i, i%48) }
	for round := range 2 {
		var all []driver.Record
		for i := range keys {
			all = append(all, record(t, i%4, key(i), fmt.Sprint(round, " ", i)))
		}
		e.publish(e.d, all...)
	}
	var gone []driver.Record
	for i := 0; i < keys; i += 2 {
		gone = append(gone, driver.Record{Topic: t.Name, Partition: i % 4, Key: key(i)})
	}
	e.publish(e.d, gone...)
	f := e.subscribe(e.d, driver.Subscription{Topic: t.Name, Start: driver.Start{Snapshot: true}})
	got := map[string]string{}
	for _, d := range f.everything() {
		if _, twice := got[d.Record.Key]; twice {
			e.Fatalf("key %s came twice", d.Record.Key)
		}
		got[d.Record.Key] = string(d.Record.Value)
	}
	if len(got) != keys/2 {
		e.Fatalf("got %d keys, want %d", len(got), keys/2)
	}
	for i := 1; i < keys; i += 2 {
		if got[key(i)] != fmt.Sprint(1, " ", i) {
			e.Fatalf("key %s is %q", key(i), got[key(i)])
		}
	}
	// A group reads each partition's keys in order, whatever is between them.
	g := e.subscribe(e.d, driver.Subscription{Topic: t.Name, Group: "g", Start: driver.Start{Snapshot: true}, Window: keys})
	last := map[int]int64{}
	for _, d := range g.data(keys / 2) {
		if d.Position <= last[d.Partition] {
			e.Fatalf("position %d after %d in partition %d", d.Position, last[d.Partition], d.Partition)
		}
		last[d.Partition] = d.Position
	}
}
