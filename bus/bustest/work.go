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
	{"work in hand stays in hand while its member lives", inHand},
	{"work of a lost member goes to another", lostWork},
	{"the window bounds work under way", workWindow},
	{"acknowledged work stays done after everything was reopened", workReopened},
}

func works(t driver.Topic) driver.Subscription {
	return driver.Subscription{Topic: t.Name, Group: "workers", Redeliver: time.Minute}
}

func shared(e *env) {
	t := e.topic(driver.Topic{Kind: driver.Work, Partitions: 4})
	const n = 600
	h := newChronicle()
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

// slowHoldsUpNobody allows a broker to move what waits behind a slow record first: patience, but all of it.
func slowHoldsUpNobody(e *env) {
	t := e.topic(driver.Topic{Kind: driver.Work, Partitions: 2})
	s := works(t)
	s.Redeliver = 0
	s.Window = 1
	slow := e.subscribe(e.d, s)
	e.publish(e.d, record(t, 0, "k", "slow"))
	held := slow.data(1)
	h := newChronicle()
	s.Window = 8
	e.member("fast", e.h.Open(), s, h, nil)
	for i := range 100 {
		e.publish(e.d, record(t, i%2, "k", fmt.Sprint(i)))
	}
	all := h.await(e, "the others' work", func(all []happening) bool { return accepted(all) >= 100 })
	for _, x := range all {
		if string(x.Record.Value) == "slow" {
			e.Fatal("the slow record was done by another, too")
		}
	}
	slow.ack(held...)
	e.publish(e.d, record(t, 1, "k", "one more"))
	one := false
	slow.next = nil
	go func() { // Either of them may take it.
		if got, err := slow.Next(e.ctx); err == nil {
			for _, d := range got {
				h.add(happening{"slow", d, slow.Ack(e.ctx, d) == nil, 0, 0})
			}
		}
	}()
	h.await(e, "one more", func(all []happening) bool {
		for _, x := range all {
			one = one || x.accepted && string(x.Record.Value) == "one more"
		}
		return one
	})
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
	h := newChronicle()
	e.member("other", e.h.Open(), s, h, nil)
	all := h.await(e, "the record of the silent member", func(all []happening) bool { return accepted(all) > 0 })
	if a := all[0].Attempt; a != 2 && a != 0 {
		e.Fatalf("attempt %d, want 2", a)
	}
}

func workWindow(e *env) {
	t := e.topic(driver.Topic{Kind: driver.Work, Partitions: 4})
	for i := range 40 {
		e.publish(e.d, record(t, i%4, "k", fmt.Sprint(i)))
	}
	s := works(t)
	s.Window = 4
	f := e.subscribe(e.d, s)
	got := f.data(4)
	f.quiet("four are under way")
	f.ack(got[3])
	got = append(got[:3], f.data(1)...)
	f.quiet("four are under way again")
	// What one member may not take another may.
	other := e.subscribe(e.h.Open(), s)
	theirs := other.data(4)
	other.quiet("four are under way there, too")
	for _, a := range got {
		for _, b := range theirs {
			if string(a.Record.Value) == string(b.Record.Value) {
				e.Fatalf("both have %s", a.Record.Value)
			}
		}
	}
}

func inHand(e *env) {
	t := e.topic(driver.Topic{Kind: driver.Work, Partitions: 2})
	s := works(t)
	s.Redeliver = 0
	holder := e.subscribe(e.d, s)
	e.publish(e.d, record(t, 0, "a", "held 0"), record(t, 1, "b", "held 1"))
	held := holder.data(2)
	h := newChronicle()
	e.member("other", e.h.Open(), s, h, nil)
	// Others' work goes on beside it.
	e.publish(e.d, record(t, 0, "c", "other"))
	done := make(chan struct{})
	go func() { // The holder lives: it waits for more, as a member with free hands does.
		defer close(done)
		for {
			got, err := holder.Next(e.ctx)
			if err != nil {
				return
			}
			for _, d := range got {
				h.add(happening{"holder", d, holder.Ack(e.ctx, d) == nil, 0, 0})
			}
		}
	}()
	h.await(e, "the others' work", func(all []happening) bool { return accepted(all) > 0 })
	timer := time.NewTimer(e.h.Hold)
	defer timer.Stop()
	<-timer.C
	holder.ack(held...)
	e.publish(e.d, record(t, 1, "c", "last"), record(t, 0, "c", "last"))
	all := h.await(e, "the last work", func(all []happening) bool { return accepted(all) >= 3 })
	for _, x := range all {
		if v := string(x.Record.Value); v != "other" && v != "last" {
			e.Fatalf("%s was given %q, which is in hand", x.member, v)
		}
	}
	holder.Close()
	<-done
	// It is done: nobody gets it after its member is gone.
	last := e.subscribe(e.h.Open(), s)
	last.quiet("everything was acknowledged")
}

func lostWork(e *env) {
	t := e.topic(driver.Topic{Kind: driver.Work, Partitions: 2})
	s := works(t)
	s.Redeliver = 0
	lost := e.subscribe(e.d, s)
	e.publish(e.d, record(t, 0, "a", "0"), record(t, 1, "b", "1"), record(t, 0, "c", "2"))
	got := lost.data(3)
	lost.ack(got[0])
	other := e.subscribe(e.h.Open(), s)
	other.quiet("all of it is in hand")
	e.h.Lose(e.d)
	again := other.data(2)
	e.sameSet(again, values(got[1:])...)
	for _, d := range again {
		if d.Attempt != 2 && d.Attempt != 0 {
			e.Fatalf("attempt %d of %q, want 2", d.Attempt, d.Record.Value)
		}
		other.ack(d)
	}
	// It comes back and finds work again. What it was given before is another's by now.
	e.publish(e.d, record(t, 0, "d", "3"), record(t, 1, "e", "4"))
	other.Close()
	e.sameSet(lost.data(2), "3", "4")
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
