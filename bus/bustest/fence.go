package bustest

import (
	"fmt"
	"sync"
	"time"

	"kemi.dev/kemi/bus/driver"
)

var fences = []clause{
	{"publish under a fence", fence},
	{"publish of no records asks whether the epoch is still mine", heldAsks},
	{"a lost owner publishes to none of the topics it writes", lostOwnerWrites},
	{"at any time one member writes for a partition", oneWriter},
}

// under publishes through d under the fence of an owner's epoch of a group g.
func (e *env) under(d driver.Driver, of driver.Topic, partition int, epoch uint64, records ...driver.Record) error {
	return d.Publish(e.ctx, records, &driver.Fence{Topic: of.Name, Group: "g", Partition: partition, Epoch: epoch})
}

func fence(e *env) {
	t := e.topic(driver.Topic{Partitions: 2})
	out := e.topic(driver.Topic{Name: "out.v1", Sync: true})
	f := e.subscribe(e.d, driver.Subscription{Topic: t.Name, Group: "g", Writes: []string{out.Name}})
	epochs := map[int]uint64{}
	for len(epochs) < 2 {
		a := f.event(driver.Assigned)
		epochs[a.Partition] = a.Epoch
	}
	under := func(partition int, epoch uint64, value string) error {
		return e.under(e.d, t, partition, epoch, record(out, 0, "k", value))
	}
	for i := range 3 {
		if err := under(i%2, epochs[i%2], fmt.Sprint(i)); err != nil {
			e.Fatalf("publish under the fence: %v", err)
		}
	}
	e.wants(under(0, epochs[0]+1, "x"), driver.ErrFenced, "publish under an epoch that is not yet")
	// Somebody else takes one of the two.
	b := e.subscribe(e.h.Open(), driver.Subscription{Topic: t.Name, Group: "g", Writes: []string{out.Name}})
	b.event(driver.Assigned)
	gone := f.event(driver.Revoked)
	e.wants(under(gone.Partition, gone.Epoch, "x"), driver.ErrFenced, "publish after the hand-over")
	stays := 1 - gone.Partition
	f.settled(stays, epochs)
	if err := under(stays, epochs[stays], "3"); err != nil {
		e.Fatalf("publish for the partition that stayed: %v", err)
	}
	f.Close()
	e.wants(under(stays, epochs[stays], "x"), driver.ErrFenced, "publish after close")
	e.same(e.subscribe(e.d, driver.Subscription{Topic: out.Name}).everything(), count(0, 4)...)
}

// settled reads on for a moment: a partition that stays may begin a new epoch when members change.
func (f *feed) settled(partition int, epochs map[int]uint64) {
	f.e.Helper()
	deadline := time.Now().Add(f.e.h.Quiet)
	owned := true
	for {
		within := time.Until(deadline)
		if !owned {
			within = f.e.h.Patience
		}
		d, ok := f.pull(within)
		switch {
		case !ok && owned:
			return
		case !ok:
			f.e.Fatalf("partition %d did not come back", partition)
		case d.Partition == partition && d.Event == driver.Revoked:
			owned = false
		case d.Partition == partition && d.Event == driver.Assigned:
			owned, epochs[partition] = true, d.Epoch
		}
	}
}

func heldAsks(e *env) {
	t := e.topic(driver.Topic{})
	s := driver.Subscription{Topic: t.Name, Group: "g"}
	f := e.subscribe(e.d, s)
	begin := f.event(driver.Assigned)
	for range 50 {
		if err := e.under(e.d, t, 0, begin.Epoch); err != nil {
			e.Fatalf("asked by the owner: %v", err)
		}
	}
	other := e.h.Open()
	e.wants(e.under(other, t, 0, begin.Epoch), driver.ErrFenced, "asked on another driver")
	e.wants(e.under(e.d, t, 0, begin.Epoch+1), driver.ErrFenced, "asked for an epoch that is not yet")
	if begin.Epoch > 1 {
		e.wants(e.under(e.d, t, 0, begin.Epoch-1), driver.ErrFenced, "asked for an epoch that is over")
	}
	nobody := driver.Fence{Topic: t.Name, Group: "nobody", Epoch: begin.Epoch}
	e.wants(e.d.Publish(e.ctx, nil, &nobody), driver.ErrFenced, "asked for a group that is not there")
	if err := e.d.Publish(e.ctx, nil, nil); err != nil {
		e.Fatalf("publish of nothing: %v", err)
	}
	b := e.subscribe(other, s)
	b.quiet("the partition has an owner")
	e.h.Lose(e.d)
	now := b.event(driver.Assigned)
	e.wants(e.under(e.d, t, 0, begin.Epoch), driver.ErrFenced, "asked by who lost it")
	if err := e.under(other, t, 0, now.Epoch); err != nil {
		e.Fatalf("asked by the new owner: %v", err)
	}
	b.Close()
	e.wants(e.under(other, t, 0, now.Epoch), driver.ErrFenced, "asked after close")
	e.same(e.subscribe(other, driver.Subscription{Topic: t.Name}).everything())
}

func lostOwnerWrites(e *env) {
	t := e.topic(driver.Topic{Partitions: 2})
	outs := []driver.Topic{
		e.topic(driver.Topic{Name: "out.log", Partitions: 2, Sync: true}),
		e.topic(driver.Topic{Name: "out.latest", Kind: driver.Latest, Partitions: 3, Keep: time.Hour, History: 16}),
		e.topic(driver.Topic{Name: "out.state", Kind: driver.Latest}),
	}
	s := driver.Subscription{Topic: t.Name, Group: "g", Writes: []string{outs[0].Name, outs[1].Name, outs[2].Name}}
	lost := e.subscribe(e.d, s)
	old := map[int]uint64{}
	for len(old) < 2 {
		a := lost.event(driver.Assigned)
		old[a.Partition] = a.Epoch
	}
	all := func(value string) (records []driver.Record) {
		for _, out := range outs {
			for p := range out.Partitions {
				records = append(records, record(out, p, fmt.Sprint("k", p), value))
			}
		}
		return records
	}
	if err := e.under(e.d, t, 0, old[0], all("before")...); err != nil {
		e.Fatalf("publish by the owner: %v", err)
	}
	other := e.h.Open()
	b := e.subscribe(other, s)
	now := map[int]uint64{}
	got := b.event(driver.Assigned)
	now[got.Partition] = got.Epoch
	e.h.Lose(e.d)
	for len(now) < 2 {
		got = b.event(driver.Assigned)
		now[got.Partition] = got.Epoch
	}
	// The process still thinks that it is the owner: nobody has read its feed.
	for p, epoch := range old {
		for _, r := range all("zombie") {
			e.wants(e.under(e.d, t, p, epoch, r), driver.ErrFenced, "publish to "+r.Topic+" by who lost the partition")
		}
		e.wants(e.under(e.d, t, p, epoch, all("zombie")...), driver.ErrFenced, "publish to all by who lost the partition")
	}
	if err := e.under(other, t, got.Partition, got.Epoch, all("after")...); err != nil {
		e.Fatalf("publish by the new owner: %v", err)
	}
	for _, out := range outs {
		for p := range out.Partitions {
			records := e.subscribe(other, driver.Subscription{Topic: out.Name, Partitions: []int{p}}).everything()
			for _, d := range records {
				if v := string(d.Record.Value); v == "zombie" {
					e.Fatalf("%s: the zombie's record is stored", out.Name)
				}
			}
			if n := len(records); n == 0 || string(records[n-1].Record.Value) != "after" {
				e.Fatalf("%s/%d: %s; want the new owner's record last", out.Name, p, brief(records))
			}
		}
	}
}

// oneWriter has members that come, go and are lost write a counter of their own under their fence, all to one partition:
// where a later epoch has written, an earlier one writes no more.
func oneWriter(e *env) {
	t := e.topic(driver.Topic{Partitions: 2})
	out := e.topic(driver.Topic{Name: "out.v1", Partitions: 2})
	s := driver.Subscription{Topic: t.Name, Group: "g", Writes: []string{out.Name}, Window: 8}
	h := newChronicle()
	write := func(d driver.Driver) func(driver.Delivery) {
		return func(got driver.Delivery) {
			r := record(out, got.Partition, "epoch", fmt.Sprint(got.Epoch))
			_ = e.under(d, t, got.Partition, got.Epoch, r) // Refused or not: what was stored is looked at below.
		}
	}
	var drivers []driver.Driver
	var members []*member
	for i := range 3 {
		d := e.h.Open()
		drivers = append(drivers, d)
		members = append(members, e.member(fmt.Sprint("m", i), d, s, h, write(d)))
	}
	const each = 300
	var publishing sync.WaitGroup
	publishing.Go(func() {
		for i := range each {
			err := e.d.Publish(e.ctx, []driver.Record{record(t, 0, "a", fmt.Sprint(i)), record(t, 1, "b", fmt.Sprint(i))}, nil)
			if err != nil {
				e.Errorf("publish: %v", err)
			}
		}
	})
	seen := func(n int) func([]happening) bool {
		return func(all []happening) bool { return accepted(all) >= n }
	}
	h.await(e, "a tenth", seen(each/5))
	e.h.Lose(drivers[0])
	h.await(e, "a third", seen(2*each/3))
	members[1].leave()
	e.member("m3", drivers[1], s, h, write(drivers[1]))
	publishing.Wait()
	done := map[string]bool{}
	looked := 0
	h.await(e, "all", func(all []happening) bool {
		for ; looked < len(all); looked++ {
			if x := all[looked]; x.accepted && x.Event == driver.Data && number(x.Record.Value) == each-1 {
				done[x.Record.Key] = true
			}
		}
		return len(done) == 2
	})
	last := map[int]int{}
	written := e.subscribe(e.d, driver.Subscription{Topic: out.Name}).everything()
	for _, d := range written {
		epoch := number(d.Record.Value)
		if epoch < last[d.Partition] {
			e.Fatalf("partition %d: epoch %d wrote at position %d after epoch %d had", d.Partition, epoch, d.Position, last[d.Partition])
		}
		last[d.Partition] = epoch
	}
	if len(written) < each {
		e.Fatalf("%d records were written for %d", len(written), 2*each)
	}
}
