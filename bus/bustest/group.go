package bustest

import (
	"errors"
	"fmt"
	"time"

	"kemi.dev/kemi/bus/driver"
)

var groups = []clause{
	{"an epoch begins with Assigned and its position", epochs},
	{"partitions are spread over members and follow them", spreading},
	{"order per key holds through hand-overs", handOver},
	{"a hand-over lets the owner finish", finishing},
	{"a lost member can neither commit nor publish", lostMember},
	{"a lost member comes back", lostComesBack},
	{"order holds and nothing is missing when members are lost", lostInTurn},
	{"what was not committed comes again", uncommitted},
	{"a group goes on after everything was reopened", reopened},
	{"the window bounds what is under way", window},
	{"a partition that is not acknowledged holds up no other", stuckPartition},
	{"groups do not know each other", independent},
	{"a group that never committed keeps its beginning", beginning},
}

func epochs(e *env) {
	t := e.topic(driver.Topic{Partitions: 2})
	e.publish(e.d, numbered(t, 0, "k", 4)...)
	s := driver.Subscription{Topic: t.Name, Group: "g"}
	var last uint64
	var next int64
	for round := range 3 {
		f := e.subscribe(e.d, s)
		a := f.until("partition 0", func(d driver.Delivery) bool { return d.Event == driver.Assigned && d.Partition == 0 })
		got := f.data(1)[0]
		begin := a[len(a)-1]
		if begin.Epoch <= last || begin.Position < next || begin.Position > got.Position || got.Epoch != begin.Epoch {
			e.Fatalf("after epoch %d and position %d: assigned %s, then %s", last, next, brief(a), brief([]driver.Delivery{got}))
		}
		e.same([]driver.Delivery{got}, fmt.Sprint(round))
		last, next = begin.Epoch, got.Position+1
		f.ack(begin, got) // An event needs no acknowledgement, but it does no harm.
		if err := f.Nack(e.ctx, got, 0); err == nil {
			e.Fatal("a record of a log was given back")
		}
		f.Close()
	}
}

func spreading(e *env) {
	t := e.topic(driver.Topic{Partitions: 4})
	s := driver.Subscription{Topic: t.Name, Group: "g"}
	h := newChronicle()
	a := e.member("a", e.d, s, h, nil)
	h.await(e, "a to own all", func(all []happening) bool { return spread(all)["a"] == 4 })
	b := e.member("b", e.h.Open(), s, h, nil)
	h.await(e, "a and b to share", func(all []happening) bool { n := spread(all); return n["a"] == 2 && n["b"] == 2 })
	// Two feeds of one driver are two members.
	c := e.member("c", e.d, s, h, nil)
	h.await(e, "a, b and c to share", func(all []happening) bool {
		n := spread(all)
		return len(n) == 3 && n["a"]+n["b"]+n["c"] == 4
	})
	a.leave()
	h.await(e, "b and c to share", func(all []happening) bool { n := spread(all); return n["b"] == 2 && n["c"] == 2 })
	c.leave()
	all := h.await(e, "b to own all", func(all []happening) bool { return spread(all)["b"] == 4 })
	b.leave()
	seen := map[int]uint64{}
	for _, x := range all {
		if x.Event != driver.Assigned {
			continue
		}
		// Each owner has its own epoch; members are told at different times, so only repetition is wrong.
		if x.Epoch == seen[x.Partition] {
			e.Fatalf("partition %d was assigned twice in epoch %d", x.Partition, x.Epoch)
		}
		seen[x.Partition] = x.Epoch
	}
}

func handOver(e *env) {
	t := e.topic(driver.Topic{Partitions: 3})
	const keys, each = 6, 60
	s := driver.Subscription{Topic: t.Name, Group: "g"}
	h := newChronicle()
	// Publishing goes on while members come and go; each step waits for progress.
	step := make(chan int, each)
	published := make(chan struct{})
	go func() {
		defer close(published)
		for i := range each {
			<-step
			for k := range keys {
				if err := e.d.Publish(e.ctx, []driver.Record{record(t, k%3, fmt.Sprint("k", k), fmt.Sprint(i))}, nil); err != nil {
					e.Errorf("publish: %v", err)
				}
			}
		}
	}()
	advance := func(n int) {
		for range n {
			step <- 0
		}
	}
	a := e.member("a", e.d, s, h, nil)
	advance(10)
	h.await(e, "a first record", func(all []happening) bool { return accepted(all) > 0 })
	e.member("b", e.h.Open(), s, h, nil)
	advance(10)
	h.await(e, "b to own something", func(all []happening) bool { return spread(all)["b"] > 0 })
	c := e.member("c", e.h.Open(), s, h, nil)
	advance(10)
	h.await(e, "c to own something", func(all []happening) bool { return spread(all)["c"] > 0 })
	advance(10)
	a.leave()
	advance(10)
	h.await(e, "b and c to own all", func(all []happening) bool { n := spread(all); return n["b"]+n["c"] == 3 })
	c.leave()
	advance(10)
	<-published
	all := h.await(e, "all records", func(all []happening) bool { return accepted(all) >= keys*each })
	e.ordered(all, keys, each)
}

func finishing(e *env) {
	t := e.topic(driver.Topic{Partitions: 2})
	for p := range 2 {
		e.publish(e.d, numbered(t, p, fmt.Sprint("k", p), 2)...)
	}
	s := driver.Subscription{Topic: t.Name, Group: "g"}
	a := e.subscribe(e.d, s)
	got := a.data(4)
	b := e.subscribe(e.h.Open(), s)
	b.quiet("the owner has not finished")
	for _, d := range got {
		a.ack(d)
	}
	moved := b.event(driver.Assigned)
	if end := a.event(driver.Revoked); end.Partition != moved.Partition || end.Epoch >= moved.Epoch {
		e.Fatalf("revoked %s, assigned %s", brief([]driver.Delivery{end}), brief([]driver.Delivery{moved}))
	}
	b.quiet("the owner had finished everything")
	e.publish(e.d, record(t, moved.Partition, "k", "next"))
	e.same(b.data(1), "next")
}

func lostMember(e *env) {
	t := e.topic(driver.Topic{})
	out := e.topic(driver.Topic{Name: "out.v1"})
	e.publish(e.d, numbered(t, 0, "k", 3)...)
	s := driver.Subscription{Topic: t.Name, Group: "g"}
	lost := e.subscribe(e.d, s)
	old := lost.data(2)
	lost.ack(old[0])
	other := e.h.Open()
	b := e.subscribe(other, s)
	b.quiet("the partition has an owner")
	e.h.Lose(e.d)
	begin := b.event(driver.Assigned)
	if begin.Epoch <= old[0].Epoch {
		e.Fatalf("epoch %d after %d", begin.Epoch, old[0].Epoch)
	}
	got := b.data(1)
	for string(got[0].Record.Value) == "0" { // The commit of 0 may have been on its way when the member was lost.
		got = b.data(1)
	}
	e.same(got, "1")
	e.wants(lost.Ack(e.ctx, old[1]), driver.ErrFenced, "commit under the old epoch")
	under := func(d driver.Driver, epoch uint64, value string) error {
		return d.Publish(e.ctx, []driver.Record{record(out, 0, "k", value)}, &driver.Fence{Topic: t.Name, Group: "g", Epoch: epoch})
	}
	e.wants(under(e.d, old[0].Epoch, "old"), driver.ErrFenced, "publish under the old epoch")
	if err := under(other, begin.Epoch, "new"); err != nil {
		e.Fatalf("publish under the new epoch: %v", err)
	}
	e.same(e.subscribe(other, driver.Subscription{Topic: out.Name}).everything(), "new")
	if end := lost.event(driver.Revoked); end.Epoch != old[0].Epoch {
		e.Fatalf("epoch %d was revoked, want %d", end.Epoch, old[0].Epoch)
	}
	b.ack(got...)
	e.same(b.data(1), "2")
}

func lostComesBack(e *env) {
	t := e.topic(driver.Topic{})
	e.publish(e.d, numbered(t, 0, "k", 3)...)
	f := e.subscribe(e.d, driver.Subscription{Topic: t.Name, Group: "g"})
	f.data(1)
	e.h.Lose(e.d)
	// Nobody else was there to take the partition, so the epoch may go on or a new one begin; what the old one
	// cannot commit any more comes again in the new one.
	e.publish(e.h.Open(), record(t, 0, "k", "3"))
	next := 1
	for next < 4 {
		d := f.data(1)[0]
		err := f.Ack(e.ctx, d)
		switch {
		case errors.Is(err, driver.ErrFenced):
		case err != nil:
			e.Fatalf("ack: %v", err)
		case string(d.Record.Value) == fmt.Sprint(next):
			next++
		case string(d.Record.Value) != "0":
			e.Fatalf("acknowledged %q, want %d", d.Record.Value, next)
		}
	}
}

func lostInTurn(e *env) {
	t := e.topic(driver.Topic{Partitions: 3})
	const keys, each = 6, 200
	s := driver.Subscription{Topic: t.Name, Group: "g", Window: 8}
	h := newChronicle()
	names := []string{"a", "b", "c"}
	drivers := map[string]driver.Driver{}
	for _, name := range names {
		drivers[name] = e.h.Open()
		e.member(name, drivers[name], s, h, nil)
	}
	publish := func(from, to int) {
		for i := from; i < to; i++ {
			for k := range keys {
				e.publish(e.d, record(t, k%3, fmt.Sprint("k", k), fmt.Sprint(i)))
			}
		}
	}
	publish(0, 50)
	for i, name := range names[:2] {
		h.await(e, name+" to own something", func(all []happening) bool { return spread(all)[name] > 0 })
		e.h.Lose(drivers[name])
		publish(50*(i+1), 50*(i+2))
	}
	publish(150, each)
	done := map[string]bool{}
	seen := 0
	all := h.await(e, "all records", func(all []happening) bool {
		for ; seen < len(all); seen++ {
			if x := all[seen]; x.accepted && string(x.Record.Value) == fmt.Sprint(each-1) {
				done[x.Record.Key] = true
			}
		}
		return len(done) == keys
	})
	e.unbroken(all, keys, each)
}

func uncommitted(e *env) {
	t := e.topic(driver.Topic{})
	e.publish(e.d, numbered(t, 0, "k", 10)...)
	s := driver.Subscription{Topic: t.Name, Group: "g"}
	f := e.subscribe(e.d, s)
	got := f.data(10)
	f.ack(got[4])
	f.ack(got[2]) // An earlier one after a later one takes nothing back.
	f.Close()
	again := e.subscribe(e.h.Open(), s)
	begin := again.event(driver.Assigned)
	if begin.Position <= got[4].Position || begin.Position > got[5].Position {
		e.Fatalf("assigned from position %d, committed %d", begin.Position, got[4].Position)
	}
	e.same(again.data(5), count(5, 10)...)
}

func reopened(e *env) {
	t := e.topic(driver.Topic{Partitions: 2})
	e.publish(e.d, numbered(t, 1, "k", 6)...)
	s := driver.Subscription{Topic: t.Name, Group: "g"}
	f := e.subscribe(e.d, s)
	got := f.data(6)
	f.ack(got[2])
	e.d = e.h.Reopen()
	again := e.subscribe(e.d, s).data(3)
	e.same(again, count(3, 6)...)
	if again[0].Epoch <= got[0].Epoch || again[0].Position != got[3].Position {
		e.Fatalf("epoch %d after %d, position %d, want %d", again[0].Epoch, got[0].Epoch, again[0].Position, got[3].Position)
	}
}

func window(e *env) {
	t := e.topic(driver.Topic{Partitions: 2})
	e.publish(e.d, numbered(t, 0, "k", 20)...)
	f := e.subscribe(e.d, driver.Subscription{Topic: t.Name, Group: "g", Window: 4})
	got := f.data(4)
	f.quiet("four are under way")
	f.ack(got[1])
	got = append(got, f.data(2)...)
	f.quiet("four are under way again")
	f.ack(got[5])
	for len(got) < 20 {
		more := f.data(1)
		f.ack(more...)
		got = append(got, more...)
	}
	e.same(got, count(0, 20)...)
}

func stuckPartition(e *env) {
	t := e.topic(driver.Topic{Partitions: 2})
	for p := range 2 {
		e.publish(e.d, numbered(t, p, fmt.Sprint("k", p), 20)...)
	}
	f := e.subscribe(e.d, driver.Subscription{Topic: t.Name, Group: "g", Window: 4})
	stuck, done := 0, 0
	f.until("all of partition 1", func(d driver.Delivery) bool {
		switch {
		case d.Event != driver.Data:
		case d.Partition == 0:
			stuck++ // Never acknowledged.
		default:
			e.same([]driver.Delivery{d}, fmt.Sprint(done))
			f.ack(d)
			done++
		}
		return done == 20
	})
	if stuck > 4 {
		e.Fatalf("%d records of a window of 4 are under way", stuck)
	}
}

func independent(e *env) {
	t := e.topic(driver.Topic{Partitions: 2})
	e.publish(e.d, numbered(t, 0, "k", 5)...)
	for _, g := range []string{"one", "two", "with.dots and spaces/*>"} {
		f := e.subscribe(e.d, driver.Subscription{Topic: t.Name, Group: g})
		got := f.data(5)
		e.same(got, count(0, 5)...)
		f.ack(got...)
	}
}

func beginning(e *env) {
	t := e.topic(driver.Topic{})
	e.publish(e.d, numbered(t, 0, "k", 3)...)
	for name, s := range map[string]driver.Start{"end": {End: true}, "time": {Time: time.Now().Add(time.Minute)}} {
		s := driver.Subscription{Topic: t.Name, Group: name, Start: s}
		f := e.subscribe(e.d, s)
		f.event(driver.Assigned)
		f.quiet("it begins after what was there")
		f.Close()
		e.publish(e.d, record(t, 0, "k", name))
		e.same(e.subscribe(e.d, s).data(1), name)
	}
}
