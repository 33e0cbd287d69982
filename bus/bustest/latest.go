package bustest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"kemi.dev/kemi/bus/driver"
)

var latest = []clause{
	{"a full keep-latest topic still takes a newer record of a key", fullTakesNewer},
	{"a keep-latest topic keeps its history", keepsHistory},
	{"a replay has caught up although history went meanwhile", caughtUpWithHistory},
	{"of a keep-latest topic nothing that is said again is dropped", saidAgain},
	{"what was refused does not overtake when it is said again", refusedStaysBehind},
}

// sizes is a record with a value of that many bytes, which begins with the text.
func sizes(t driver.Topic, key, text string, bytes int) driver.Record {
	r := record(t, 0, key, text+" ")
	r.Value = append(r.Value, make([]byte, bytes-len(r.Value))...)
	return r
}

// newest is a snapshot: the text that each key's newest record begins with.
func (e *env) newest(t driver.Topic) map[string]string {
	e.Helper()
	f := e.subscribe(e.d, driver.Subscription{Topic: t.Name, Start: driver.Start{Snapshot: true}})
	defer f.Close()
	out := map[string]string{}
	for _, d := range f.everything() {
		text, _, _ := strings.Cut(string(d.Record.Value), " ")
		out[d.Record.Key] = text
	}
	return out
}

func fullTakesNewer(e *env) {
	for _, t := range []driver.Topic{
		{Name: "ever", Kind: driver.Latest},
		{Name: "hours", Kind: driver.Latest, Keep: time.Hour, History: 3},
		{Name: "sync", Kind: driver.Latest, Keep: time.Hour, History: 3, Sync: true},
	} {
		t.MaxBytes = 256 << 10
		t := e.topic(t)
		for i := range 20 { // Far more than the topic could hold, were nothing replaced.
			for range 4 {
				e.publish(e.d, sizes(t, "k", fmt.Sprint(i), 8<<10))
			}
		}
		// More keys than it has room for. It refuses, or takes more as long as most of it is what was replaced.
		var err error
		taken := 0
		for ; taken < 100 && err == nil; taken++ {
			err = e.d.Publish(e.ctx, []driver.Record{sizes(t, fmt.Sprint("other", taken), "x", 8<<10)}, nil)
		}
		if err != nil {
			e.wants(err, driver.ErrFull, "fill "+t.Name)
			taken--
		}
		for i := range 10 {
			e.takes(sizes(t, "k", fmt.Sprint("new", i), 8<<10))
			if got := e.newest(t)["k"]; got != fmt.Sprint("new", i) {
				e.Fatalf("%s: the newest is %q after new%d", t.Name, got, i)
			}
		}
		var many []driver.Record // More than one by one, where a broker knows another way.
		for i := range 60 {
			many = append(many, sizes(t, "k", fmt.Sprint("many", i), 8<<10))
		}
		e.takes(many...)
		got := e.newest(t)
		if got["k"] != "many59" {
			e.Fatalf("%s: the newest is %q after many at once", t.Name, got["k"])
		}
		for i := range taken {
			if got[fmt.Sprint("other", i)] != "x" {
				e.Fatalf("%s: of %d other keys other%d is gone", t.Name, taken, i)
			}
		}
	}
}

// takes ends the test unless the records are taken in the end, however often the topic says meanwhile that it is full:
// they replace what is as large.
func (e *env) takes(records ...driver.Record) {
	e.Helper()
	e.soon("a full topic takes newer records", func() string {
		err := e.d.Publish(e.ctx, records, nil)
		if err == nil {
			return ""
		}
		e.wants(err, driver.ErrFull, "publish newer records")
		return err.Error()
	})
}

func keepsHistory(e *env) {
	t := e.topic(driver.Topic{Kind: driver.Latest, Keep: time.Hour, History: 3})
	e.publish(e.d, numbered(t, 0, "a", 10)...)
	e.publish(e.d, numbered(t, 0, "b", 2)...)
	// A broker that cleans up from time to time has more of them.
	kept := map[string][]string{}
	for _, d := range e.subscribe(e.d, driver.Subscription{Topic: t.Name}).everything() {
		kept[d.Record.Key] = append(kept[d.Record.Key], string(d.Record.Value))
	}
	if a, b := kept["a"], kept["b"]; len(a) < 3 || !slices.Equal(a, count(10-len(a), 10)) || !slices.Equal(b, count(0, 2)) {
		e.Fatalf("kept %q; want the last three of a at least, and both of b", kept)
	}
	e.same(e.subscribe(e.d, driver.Subscription{Topic: t.Name, Start: driver.Start{Snapshot: true}}).everything(), "9", "1")
}

func caughtUpWithHistory(e *env) {
	t := e.topic(driver.Topic{Kind: driver.Latest, Keep: time.Hour, History: 3})
	all := []driver.Record{record(t, 0, "k", "old")}
	for i := range 2000 { // More than a reader fetches ahead.
		all = append(all, record(t, 0, fmt.Sprint("other", i), "x"))
	}
	e.publish(e.d, append(all, record(t, 0, "k", "new"), record(t, 0, "last", "x"))...)
	f := e.subscribe(e.d, driver.Subscription{Topic: t.Name})
	e.same(f.data(1), "old")
	e.publish(e.d, numbered(t, 0, "k", 20)...) // What the reader has not seen yet goes.
	last := map[string]string{"k": "old"}
	for _, d := range f.everything() {
		last[d.Record.Key] = string(d.Record.Value)
	}
	if last["k"] == "old" || last["last"] != "x" || len(last) != 2002 {
		e.Fatalf("caught up with %q and %d keys", last["k"], len(last))
	}
}

func saidAgain(e *env) {
	for _, t := range []driver.Topic{
		{Name: "ever", Kind: driver.Latest},
		{Name: "hours", Kind: driver.Latest, Keep: time.Hour, History: 3, Sync: true},
	} {
		t := e.topic(t)
		for _, v := range []string{"1", "2", "1"} {
			r := record(t, 0, "k", v)
			r.ID = "id of " + v
			e.publish(e.d, r)
		}
		now := e.subscribe(e.d, driver.Subscription{Topic: t.Name, Start: driver.Start{Snapshot: true}}).everything()
		e.same(now, "1")
		if now[0].Record.ID != "id of 1" {
			e.Fatalf("the identity came as %q", now[0].Record.ID)
		}
	}
}

func refusedStaysBehind(e *env) {
	for _, sync := range []bool{false, true} {
		t := e.topic(driver.Topic{Name: fmt.Sprint("sync.", sync), Kind: driver.Latest, Sync: sync, MaxBytes: 128 << 10})
		e.publish(e.d, sizes(t, "other", "x", 100<<10))
		both := []driver.Record{sizes(t, "k", "first", 64<<10), sizes(t, "k", "second", 1<<10)}
		both[0].ID, both[1].ID = "first", "second"
		if err := e.d.Publish(e.ctx, both, nil); err != nil {
			e.wants(err, driver.ErrFull, "publish what does not fit and what does")
		}
		e.takes(sizes(t, "other", "x", 1<<10))
		e.takes(both...)
		if got := e.newest(t)["k"]; got != "second" {
			e.Fatalf("the newest is %q, want the second", got)
		}
	}
}
