package bustest

import (
	"fmt"
	"strings"
	"time"

	"kemi.dev/kemi/bus/driver"
)

var latest = []clause{
	{"a full keep-latest topic still takes a newer record of a key", fullTakesNewer},
	{"a keep-latest topic keeps its history and no more", keepsHistory},
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
		var err error
		for i := 0; i < 100 && err == nil; i++ {
			err = e.d.Publish(e.ctx, []driver.Record{sizes(t, fmt.Sprint("other", i), "x", 8<<10)}, nil)
		}
		e.wants(err, driver.ErrFull, "fill "+t.Name)
		for i := range 10 {
			e.publish(e.d, sizes(t, "k", fmt.Sprint("new", i), 8<<10))
			if got := e.newest(t)["k"]; got != fmt.Sprint("new", i) {
				e.Fatalf("%s: the newest is %q after new%d", t.Name, got, i)
			}
		}
		var many []driver.Record // More than one by one, where a broker knows another way.
		for i := range 60 {
			many = append(many, sizes(t, "k", fmt.Sprint("many", i), 8<<10))
		}
		e.publish(e.d, many...)
		if got := e.newest(t)["k"]; got != "many59" {
			e.Fatalf("%s: the newest is %q after many at once", t.Name, got)
		}
	}
}

func keepsHistory(e *env) {
	t := e.topic(driver.Topic{Kind: driver.Latest, Keep: time.Hour, History: 3})
	e.publish(e.d, numbered(t, 0, "a", 10)...)
	e.publish(e.d, numbered(t, 0, "b", 2)...)
	e.same(e.subscribe(e.d, driver.Subscription{Topic: t.Name}).everything(), "7", "8", "9", "0", "1")
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
		e.wants(e.d.Publish(e.ctx, both, nil), driver.ErrFull, "publish what does not fit and what does")
		e.publish(e.d, sizes(t, "other", "x", 1<<10))
		e.publish(e.d, both...)
		if got := e.newest(t)["k"]; got != "second" {
			e.Fatalf("the newest is %q, want the second", got)
		}
	}
}
