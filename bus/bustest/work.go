package bustest

import (
	"fmt"
	"time"

	"kemi.dev/kemi/bus/driver"
)

var working = []clause{
	{"work is shared and each record done once", shared},
	{"work is acknowledged one by one", oneByOne},
	{"a slow record holds up nobody", slowHoldsUpNobody},
	{"work that was given back comes again after the delay", givenBack},
	{"work of a member that closed comes at once", closedGivesBack},
	{"work that was not acknowledged goes to another member", redelivered},
	{"the window bounds work under way", workWindow},
	{"acknowledged work stays done after everything was reopened", workReopened},
}

func works(t driver.Topic) driver.Subscription {
	return driver.Subscription{Topic: t.Name, Group: "workers", Redeliver: time.Minute}
}

func shared(e *env) {
	t := e.topic(driver.Topic{Kind: driver.Work, Partitions: 4})
	const n = 600
	h := newHistory()
	for i := range 3 {
		d := e.d
		if i > 0 {
			d = e.h.Open()
		}
		s := works(t)
		s.Window = 16
		e.member(fmt.Sprint("m", i), d, s, h, nil)
	}
	for i := range 6 {
		var some []driver.Record
		for k := range n / 6 {
			some = append(some, record(t, k%4, fmt.Sprint("k", k), fmt.Sprint(i, k)))
		}
		e.publish(e.d, some...)
	}
	all := h.await(e, "all work", func(all []happening) bool { return accepted(all) >= n })
	seen := map[string]bool{}
	for _, x := range all {
		if v := string(x.Record.Value); seen[v] {
			e.Fatalf("%s was done twice", v)
		} else {
			seen[v] = true
		}
		if x.Attempt > 1 {
			e.Fatalf("attempt %d of %s", x.Attempt, x.Record.Value)
		}
	}
	if len(seen) != n {
		e.Fatalf("%d of %d done", len(seen), n)
	}
}

func oneByOne(e *env) {
	t := e.topic(driver.Topic{Kind: driver.Work})
	e.publish(e.d, numbered(t, 0, "k", 5)...)
	s := works(t)
	s.Redeliver = 700 * time.Millisecond
	f := e.subscribe(e.d, s)
	got := f.data(5)
	for i, d := range got {
		if i != 1 {
			f.ack(d)
		}
	}
	again := f.data(1)
	e.same(again, string(got[1].Record.Value))
	if a := again[0].Attempt; a != 2 && a != 0 {
		e.Fatalf("attempt %d, want 2", a)
	}
	f.ack(again...)
	f.quiet("everything was acknowledged")
}

func slowHoldsUpNobody(e *env) {
	t := e.topic(driver.Topic{Kind: driver.Work, Partitions: 2})
	s := works(t)
	s.Window = 1
	slow := e.subscribe(e.d, s)
	e.publish(e.d, numbered(t, 0, "k", 1)...)
	held := slow.data(1)
	h := newHistory()
	s.Window = 8
	e.member("fast", e.h.Open(), s, h, nil)
	e.publish(e.d, numbered(t, 0, "k", 100)...)
	h.await(e, "the others' work", func(all []happening) bool { return accepted(all) >= 100 })
	slow.ack(held...)
	e.publish(e.d, numbered(t, 1, "k", 1)...)
	h.await(e, "one more", func(all []happening) bool { return accepted(all) >= 101 })
}

func givenBack(e *env) {
	t := e.topic(driver.Topic{Kind: driver.Work})
	f := e.subscribe(e.d, works(t))
	e.publish(e.d, numbered(t, 0, "k", 1)...)
	got := f.data(1)
	const after = 400 * time.Millisecond
	begin := time.Now()
	if err := f.Nack(e.ctx, got[0], after); err != nil {
		e.Fatalf("nack: %v", err)
	}
	e.publish(e.d, record(t, 0, "k", "other"))
	e.same(f.data(1), "other")
	again := f.data(1)
	e.same(again, "0")
	if gone := time.Since(begin); gone < after-10*time.Millisecond {
		e.Fatalf("came again after %s, want %s", gone, after)
	}
	if a := again[0].Attempt; a != 2 && a != 0 {
		e.Fatalf("attempt %d, want 2", a)
	}
	if err := f.Nack(e.ctx, again[0], 0); err != nil {
		e.Fatalf("nack at once: %v", err)
	}
	e.same(f.data(1), "0")
}

func closedGivesBack(e *env) {
	t := e.topic(driver.Topic{Kind: driver.Work})
	f := e.subscribe(e.d, works(t))
	e.publish(e.d, numbered(t, 0, "k", 4)...)
	got := f.data(4)
	f.ack(got[0])
	f.Close()
	again := e.subscribe(e.h.Open(), works(t)).data(3)
	seen := map[string]bool{}
	for _, d := range again {
		seen[string(d.Record.Value)] = true
	}
	if len(seen) != 3 || seen[string(got[0].Record.Value)] {
		e.Fatalf("got %q again; want all but %q", values(again), got[0].Record.Value)
	}
}

func redelivered(e *env) {
	t := e.topic(driver.Topic{Kind: driver.Work})
	s := works(t)
	s.Redeliver = 700 * time.Millisecond
	s.Window = 1
	silent := e.subscribe(e.d, s)
	e.publish(e.d, numbered(t, 0, "k", 1)...)
	silent.data(1)
	h := newHistory()
	e.member("other", e.h.Open(), s, h, nil)
	all := h.await(e, "the record of the silent member", func(all []happening) bool { return accepted(all) > 0 })
	if a := all[0].Attempt; a != 2 && a != 0 {
		e.Fatalf("attempt %d, want 2", a)
	}
}

func workWindow(e *env) {
	t := e.topic(driver.Topic{Kind: driver.Work, Partitions: 2})
	e.publish(e.d, numbered(t, 1, "k", 12)...)
	s := works(t)
	s.Window = 4
	f := e.subscribe(e.d, s)
	got := f.data(4)
	f.quiet("four are under way")
	f.ack(got[3])
	f.data(1)
	f.quiet("four are under way again")
	// What one member may not take another may.
	if n := len(e.subscribe(e.h.Open(), s).data(4)); n != 4 {
		e.Fatalf("got %d", n)
	}
}

func workReopened(e *env) {
	t := e.topic(driver.Topic{Kind: driver.Work})
	e.publish(e.d, numbered(t, 0, "k", 10)...)
	s := works(t)
	s.Redeliver = time.Second // A broker that was stopped may wait for it although the member closed in order.
	f := e.subscribe(e.d, s)
	got := f.data(10)
	f.ack(got[:7]...)
	e.d = e.h.Reopen()
	again := e.subscribe(e.d, s)
	left := map[string]bool{}
	for _, d := range got[7:] {
		left[string(d.Record.Value)] = true
	}
	for _, d := range again.data(3) {
		if !left[string(d.Record.Value)] {
			e.Fatalf("%q came again although it was acknowledged", d.Record.Value)
		}
		delete(left, string(d.Record.Value))
	}
	again.quiet("nothing else is left")
}
