package bustest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"kemi.dev/kemi/bus/driver"
)

var replaying = []clause{
	{"a snapshot is the newest per key, then caught up, then what follows", snapshot},
	{"a snapshot taken while keys change misses nothing", snapshotUnderWay},
	{"an empty snapshot is caught up too", emptySnapshot},
	{"a snapshot may be of one partition", snapshotOfOne},
	{"a group may begin with a snapshot", groupSnapshot},
	{"replay of everything, by position, by time and of what comes", replay},
	{"a position of a log that is gone is the beginning of the one that is there", replayBeyond},
	{"a replay disturbs no group and commits nothing", replayBeside},
	{"replays by time and by position run beside a running group", replayBesideRunning},
	{"a replay may be limited to partitions", replayPartitions},
	{"a replay of some keys has all of theirs", replayKeys},
	{"work can be replayed", replayWork},
}

func snapshot(e *env) {
	for _, t := range []driver.Topic{
		{Name: "ever", Kind: driver.Latest, Partitions: 2, Sync: true},
		{Name: "hour", Kind: driver.Latest, Partitions: 2, Keep: time.Hour},
	} {
		t := e.topic(t)
		for round := range 3 {
			for k := range 20 {
				e.publish(e.d, record(t, k%2, fmt.Sprint("k", k), fmt.Sprint(round)))
			}
		}
		for k := range 5 {
			e.publish(e.d, driver.Record{Topic: t.Name, Partition: k % 2, Key: fmt.Sprint("k", k)})
		}
		e.publish(e.d, record(t, 1, "k3", "again"))
		f := e.subscribe(e.d, driver.Subscription{Topic: t.Name, Start: driver.Start{Snapshot: true}})
		got := map[string]string{}
		for _, d := range f.everything() {
			if _, twice := got[d.Record.Key]; twice {
				e.Fatalf("%s: key %s came twice", t.Name, d.Record.Key)
			}
			got[d.Record.Key] = string(d.Record.Value)
		}
		if len(got) != 16 || got["k3"] != "again" || got["k5"] != "2" {
			e.Fatalf("%s: got %v; want 15 untouched keys and k3", t.Name, got)
		}
		e.publish(e.d, driver.Record{Topic: t.Name, Partition: 1, Key: "k3"}, record(t, 1, "k21", "new"))
		follow := f.data(2)
		if follow[0].Record.Key != "k3" || follow[0].Record.Value != nil || string(follow[1].Record.Value) != "new" {
			e.Fatalf("%s: followed by %s; want the removal of k3, then k21", t.Name, brief(follow))
		}
	}
}

func snapshotUnderWay(e *env) {
	for _, t := range []driver.Topic{
		{Name: "ever", Kind: driver.Latest, Partitions: 2},
		{Name: "hour", Kind: driver.Latest, Partitions: 2, Keep: time.Hour},
	} {
		t := e.topic(t)
		const keys, rounds = 40, 60
		want := map[string]string{}
		begun := make(chan struct{})
		published := make(chan error, 1)
		go func() {
			for round := range rounds {
				var some []driver.Record
				for k := range keys {
					r := record(t, k%2, fmt.Sprint("k", k), fmt.Sprint(round))
					want[r.Key] = fmt.Sprint(round)
					if (k+round)%5 == 0 {
						r.Value = nil
						delete(want, r.Key)
					}
					some = append(some, r)
				}
				if err := e.d.Publish(e.ctx, some, nil); err != nil {
					published <- err
					return
				}
				if round == 5 {
					close(begun)
				}
			}
			published <- nil
		}()
		select {
		case <-begun:
		case err := <-published:
			e.Fatalf("publish: %v", err)
		}
		var feeds []*feed
		for range 5 {
			feeds = append(feeds, e.subscribe(e.d, driver.Subscription{Topic: t.Name, Start: driver.Start{Snapshot: true}}))
		}
		if err := <-published; err != nil {
			e.Fatalf("publish: %v", err)
		}
		e.publish(e.d, record(t, 0, "end", ""), record(t, 1, "end of 1", ""))
		for _, f := range feeds {
			got := map[string]string{}
			ends, caught := 0, false
			f.until("both ends and caught up", func(d driver.Delivery) bool {
				switch {
				case d.Event == driver.CaughtUp:
					if len(got) < keys/2 {
						e.Fatalf("%s: caught up with %d keys", t.Name, len(got))
					}
					caught = true
				case strings.HasPrefix(d.Record.Key, "end"):
					ends++
				case d.Record.Value == nil:
					delete(got, d.Record.Key)
				default:
					got[d.Record.Key] = string(d.Record.Value)
				}
				return ends == 2 && caught
			})
			if !maps.Equal(got, want) {
				e.Fatalf("%s: got %v, want %v", t.Name, got, want)
			}
		}
	}
}

func snapshotOfOne(e *env) {
	t := e.topic(driver.Topic{Kind: driver.Latest, Partitions: 3})
	for round := range 2 {
		for k := range 30 {
			e.publish(e.d, record(t, k%3, fmt.Sprint("k", k), fmt.Sprint(round, " ", k)))
		}
	}
	e.publish(e.d, driver.Record{Topic: t.Name, Partition: 1, Key: "k1"})
	for p := range 3 {
		f := e.subscribe(e.d, driver.Subscription{Topic: t.Name, Partitions: []int{p}, Start: driver.Start{Snapshot: true}})
		var want []string
		for k := p; k < 30; k += 3 {
			if k != 1 {
				want = append(want, fmt.Sprint(1, " ", k))
			}
		}
		e.same(f.everything(), want...)
		e.publish(e.d, record(t, (p+1)%3, "elsewhere", "x"), record(t, p, "here", "y"))
		e.same(f.data(1), "y")
		e.publish(e.d, driver.Record{Topic: t.Name, Partition: (p + 1) % 3, Key: "elsewhere"}, driver.Record{Topic: t.Name, Partition: p, Key: "here"})
	}
}

func emptySnapshot(e *env) {
	t := e.topic(driver.Topic{Kind: driver.Latest, Partitions: 2})
	f := e.subscribe(e.d, driver.Subscription{Topic: t.Name, Start: driver.Start{Snapshot: true}})
	e.same(f.everything())
	e.publish(e.d, driver.Record{Topic: t.Name, Partition: 1, Key: "a"})
	if got := f.data(1); got[0].Record.Value != nil {
		e.Fatalf("got %s; want a removal", brief(got))
	}
	// Nothing but removals is empty too.
	e.same(e.subscribe(e.d, driver.Subscription{Topic: t.Name, Start: driver.Start{Snapshot: true}}).everything())
	e.same(e.subscribe(e.d, driver.Subscription{Topic: t.Name, Start: driver.Start{End: true}}).everything())
}

func groupSnapshot(e *env) {
	t := e.topic(driver.Topic{Kind: driver.Latest, Keep: time.Hour})
	for i := range 3 {
		e.publish(e.d, record(t, 0, "a", fmt.Sprint("a", i)), record(t, 0, "b", fmt.Sprint("b", i)))
	}
	e.publish(e.d, driver.Record{Topic: t.Name, Key: "b"})
	s := driver.Subscription{Topic: t.Name, Group: "g", Start: driver.Start{Snapshot: true}}
	f := e.subscribe(e.d, s)
	got := f.data(1)
	e.same(got, "a2")
	f.ack(got...)
	e.publish(e.d, record(t, 0, "a", "a3"))
	got = f.data(1)
	if string(got[0].Record.Value) == "" { // The removal of b came first: that is what follows the commit.
		got = f.data(1)
	}
	e.same(got, "a3")
	f.ack(got...)
	f.Close()
	e.publish(e.d, record(t, 0, "a", "a4"), record(t, 0, "a", "a5"))
	// It goes on where it was: everything since, not a second snapshot.
	e.same(e.subscribe(e.d, s).data(2), "a4", "a5")
}

func replay(e *env) {
	t := e.topic(driver.Topic{})
	e.publish(e.d, numbered(t, 0, "k", 10)...)
	all := e.subscribe(e.d, driver.Subscription{Topic: t.Name}).everything()
	e.same(all, count(0, 10)...)
	// Brokers store times in milliseconds at least; wait for the next one.
	border := time.Now().Add(20 * time.Millisecond)
	e.subscribe(e.d, driver.Subscription{Topic: t.Name, Start: driver.Start{End: true}}).pullNothing(time.Until(border.Add(20 * time.Millisecond)))
	e.publish(e.d, record(t, 0, "k", "10"), record(t, 0, "k", "11"))

	at := e.subscribe(e.d, driver.Subscription{Topic: t.Name, Start: driver.Start{Position: all[7].Position}})
	e.same(at.everything(), count(7, 12)...)
	since := e.subscribe(e.d, driver.Subscription{Topic: t.Name, Start: driver.Start{Time: border}})
	e.same(since.everything(), "10", "11")
	end := e.subscribe(e.d, driver.Subscription{Topic: t.Name, Start: driver.Start{End: true}})
	e.same(end.everything())
	future := e.subscribe(e.d, driver.Subscription{Topic: t.Name, Start: driver.Start{Time: time.Now().Add(-time.Hour)}})
	e.same(future.everything(), count(0, 12)...)
	e.publish(e.d, record(t, 0, "k", "12"))
	for _, f := range []*feed{at, since, end, future} {
		e.same(f.data(1), "12")
	}
}

func replayBeyond(e *env) {
	for _, kind := range []driver.Kind{driver.Log, driver.Latest} {
		t := e.topic(driver.Topic{Name: fmt.Sprint("kind", kind), Kind: kind, Keep: time.Hour, Partitions: 2})
		at := func(position int64) *feed {
			return e.subscribe(e.d, driver.Subscription{Topic: t.Name, Partitions: []int{1}, Start: driver.Start{Position: position}})
		}
		empty := at(100)
		e.same(empty.everything())
		e.publish(e.d, numbered(t, 1, "k", 10)...)
		e.same(empty.data(10), count(0, 10)...)
		e.publish(e.d, record(t, 0, "elsewhere", "x")) // Where positions count over all partitions, this one has the newest.
		all := e.subscribe(e.d, driver.Subscription{Topic: t.Name, Partitions: []int{1}}).everything()
		last := all[len(all)-1].Position
		next, beyond := at(last+1), at(last+50)
		e.same(next.everything())
		e.same(beyond.everything(), count(0, 10)...)
		e.publish(e.d, record(t, 1, "k", "10"))
		for _, f := range []*feed{empty, next, beyond} {
			e.same(f.data(1), "10")
		}
	}
}

// pullNothing reads a feed that has nothing to tell but CaughtUp.
func (f *feed) pullNothing(within time.Duration) {
	deadline := time.Now().Add(within)
	for {
		d, ok := f.pull(time.Until(deadline))
		if !ok {
			return
		}
		if d.Event != driver.CaughtUp {
			f.e.Fatalf("got %s; want nothing", brief([]driver.Delivery{d}))
		}
	}
}

func replayBeside(e *env) {
	t := e.topic(driver.Topic{})
	e.publish(e.d, numbered(t, 0, "k", 10)...)
	g := e.subscribe(e.d, driver.Subscription{Topic: t.Name, Group: "g"})
	first := g.data(5)
	g.ack(first[4])
	r := e.subscribe(e.d, driver.Subscription{Topic: t.Name})
	all := r.everything()
	e.same(all, count(0, 10)...)
	r.ack(all...)
	if err := r.Nack(e.ctx, all[0], 0); err == nil {
		e.Fatal("a replay gave a record back")
	}
	r.Close()
	e.same(g.data(5), count(5, 10)...)
	g.quiet("the group has had everything")
	g.Close()
	e.same(e.subscribe(e.d, driver.Subscription{Topic: t.Name, Group: "g"}).data(5), count(5, 10)...)
}

func replayBesideRunning(e *env) {
	t := e.topic(driver.Topic{Partitions: 2})
	s := driver.Subscription{Topic: t.Name, Group: "g", Window: 16}
	h := newChronicle()
	e.member("a", e.d, s, h, nil)
	e.member("b", e.h.Open(), s, h, nil)
	const each = 120
	for i := range each / 2 {
		e.publish(e.d, record(t, 0, "k0", fmt.Sprint(i)), record(t, 1, "k1", fmt.Sprint(i)))
	}
	half := e.subscribe(e.d, driver.Subscription{Topic: t.Name, Partitions: []int{1}}).everything()
	from := half[each/4]
	replays := []*feed{
		e.subscribe(e.d, driver.Subscription{Topic: t.Name, Partitions: []int{1}, Start: driver.Start{Position: from.Position}}),
		e.subscribe(e.h.Open(), driver.Subscription{Topic: t.Name, Partitions: []int{1}, Start: driver.Start{Time: from.Stored}}),
	}
	for i := each / 2; i < each; i++ {
		e.publish(e.d, record(t, 0, "k0", fmt.Sprint(i)), record(t, 1, "k1", fmt.Sprint(i)))
	}
	for _, r := range replays {
		var got []driver.Delivery
		r.until("the last record", func(d driver.Delivery) bool {
			if d.Event == driver.Data {
				got = append(got, d)
				r.ack(d) // It commits nothing.
			}
			return string(d.Record.Value) == fmt.Sprint(each-1)
		})
		first := number(got[0].Record.Value)
		if first > each/4 || first < each/4 && got[0].Stored.Before(from.Stored.Truncate(time.Millisecond)) {
			e.Fatalf("began with %s, want %s", brief(got[:1]), brief([]driver.Delivery{from}))
		}
		e.same(got, count(first, each)...)
	}
	all := h.await(e, "all records", func(all []happening) bool { return accepted(all) >= 2*each })
	e.ordered(all, 2, each)
}

func replayPartitions(e *env) {
	t := e.topic(driver.Topic{Partitions: 4})
	for p := range 4 {
		e.publish(e.d, numbered(t, p, fmt.Sprint("k", p), 3)...)
	}
	f := e.subscribe(e.d, driver.Subscription{Topic: t.Name, Partitions: []int{1, 3}})
	got := f.everything()
	if len(got) != 6 {
		e.Fatalf("got %s; want 3 records of 2 partitions each", brief(got))
	}
	for _, d := range got {
		if d.Partition != 1 && d.Partition != 3 {
			e.Fatalf("got a record of partition %d", d.Partition)
		}
	}
	e.publish(e.d, record(t, 0, "k0", "no"), record(t, 3, "k3", "yes"))
	e.same(f.data(1), "yes")
	one := e.subscribe(e.d, driver.Subscription{Topic: t.Name, Partitions: []int{3}, Start: driver.Start{Position: got[len(got)-1].Position}})
	if last := got[len(got)-1]; last.Partition == 3 {
		e.same(one.everything(), "2", "yes")
	}
	if _, err := e.d.Subscribe(e.ctx, driver.Subscription{Topic: t.Name, Partitions: []int{4}}); err == nil {
		e.Fatal("a partition that is not there was opened")
	}
}

func replayKeys(e *env) {
	const mine = "what: is.sought"
	t := e.topic(driver.Topic{Partitions: 2})
	e.publish(e.d, record(t, 0, mine, "0"), record(t, 0, "other", "x"), record(t, 0, mine, "1"), record(t, 1, mine, "2"), record(t, 1, "other", "x"))
	mineOf := func(all []driver.Delivery) []driver.Delivery { // A broker may not know the keys.
		return slices.DeleteFunc(all, func(d driver.Delivery) bool { return d.Event != driver.Data || d.Record.Key == "other" })
	}
	f := e.subscribe(e.d, driver.Subscription{Topic: t.Name, Keys: []string{mine}})
	e.sameSet(mineOf(f.everything()), "0", "1", "2")
	one := e.subscribe(e.d, driver.Subscription{Topic: t.Name, Partitions: []int{0}, Keys: []string{mine, "no such"}})
	e.same(mineOf(one.everything()), "0", "1")
	what := e.subscribe(e.d, driver.Subscription{Topic: t.Name, Partitions: []int{0}, Keys: []string{mine}, Start: driver.Start{End: true}})
	e.publish(e.d, record(t, 0, "other", "x"), record(t, 0, mine, "3"), record(t, 1, mine, "4"), record(t, 0, mine, "5"))
	for _, f := range []*feed{one, what} {
		e.same(mineOf(f.until("the last", func(d driver.Delivery) bool { return string(d.Record.Value) == "5" })), "3", "5")
	}
	if _, err := e.d.Subscribe(e.ctx, driver.Subscription{Topic: t.Name, Group: "g", Keys: []string{mine}}); err == nil {
		e.Fatal("a group left out keys")
	}
}

func replayWork(e *env) {
	t := e.topic(driver.Topic{Kind: driver.Work, Partitions: 2})
	e.publish(e.d, record(t, 0, "a", "0"), record(t, 1, "b", "1"), record(t, 0, "a", "2"))
	g := e.subscribe(e.d, driver.Subscription{Topic: t.Name, Group: "g"})
	g.ack(g.data(3)...)
	e.sameSet(e.subscribe(e.d, driver.Subscription{Topic: t.Name}).everything(), "0", "1", "2")
	g.quiet("everything was acknowledged")
}
