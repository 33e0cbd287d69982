package bustest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"kemi.dev/kemi/bus/driver"
)

var ending = []clause{
	{"a cancelled Next takes nothing with it", cancelled},
	{"closing a feed ends Next", closeFeed},
	{"closing a driver ends everything", closeDriver},
	{"what was acknowledged is there after reopening", keptAfterReopen},
	{"feeds and publishing survive a restart of the broker", restarted},
}

// kinds are a topic of each kind with a group's subscription, and one with a replay.
func (e *env) kinds() []driver.Subscription {
	var out []driver.Subscription
	for i, k := range []driver.Kind{driver.Log, driver.Latest, driver.Work, driver.Log} {
		t := e.topic(driver.Topic{Name: fmt.Sprint("kind", i), Kind: k, Partitions: 2, Keep: time.Hour, Sync: k == driver.Latest})
		out = append(out, driver.Subscription{Topic: t.Name, Group: "g"})
	}
	out[3].Group = ""
	return out
}

func cancelled(e *env) {
	for _, s := range e.kinds() {
		f := e.subscribe(e.d, s)
		f.quiet("there is nothing")
		ctx, cancel := context.WithCancel(e.ctx)
		ended := make(chan error)
		go func() {
			_, err := f.Next(ctx)
			ended <- err
		}()
		cancel()
		select {
		case err := <-ended:
			e.wants(err, context.Canceled, "a cancelled Next")
		case <-time.After(e.h.Patience):
			e.Fatalf("%s: Next did not end", s.Topic)
		}
		e.publish(e.d, driver.Record{Topic: s.Topic, Partition: 1, Key: "k", Value: []byte("v")})
		got := f.data(1)
		e.same(got, "v")
		f.ack(got...)
		f.Close()
	}
}

func closeFeed(e *env) {
	for _, s := range e.kinds() {
		f := e.subscribe(e.d, s)
		e.publish(e.d, driver.Record{Topic: s.Topic, Key: "k", Value: []byte("v")})
		got := f.data(1)
		f.quiet("there is no more")
		ended := make(chan error)
		go func() {
			_, err := f.Next(e.ctx)
			ended <- err
		}()
		for range 2 {
			if err := f.Close(); err != nil {
				e.Fatalf("%s: close: %v", s.Topic, err)
			}
		}
		select {
		case err := <-ended:
			e.wants(err, driver.ErrClosed, "Next of a closed feed")
		case <-time.After(e.h.Patience):
			e.Fatalf("%s: Next did not end", s.Topic)
		}
		_, err := f.Next(e.ctx)
		e.wants(err, driver.ErrClosed, "Next after close")
		e.wants(f.Ack(e.ctx, got[0]), driver.ErrClosed, "ack after close")
		if err := f.Nack(e.ctx, got[0], 0); err == nil {
			e.Fatalf("%s: nack after close was taken", s.Topic)
		}
	}
}

func closeDriver(e *env) {
	kinds := e.kinds()
	var feeds []*feed
	for _, s := range kinds {
		feeds = append(feeds, e.subscribe(e.d, s))
	}
	ended := make(chan error)
	for _, f := range feeds {
		go func() {
			for {
				if _, err := f.Next(e.ctx); err != nil {
					ended <- err
					return
				}
			}
		}()
	}
	other := e.h.Open()
	for range 2 {
		if err := e.d.Close(); err != nil {
			e.Fatalf("close: %v", err)
		}
	}
	for range feeds {
		select {
		case err := <-ended:
			e.wants(err, driver.ErrClosed, "Next of a closed driver")
		case <-time.After(e.h.Patience):
			e.Fatal("Next did not end")
		}
	}
	e.wants(e.d.Publish(e.ctx, []driver.Record{{Topic: kinds[0].Topic, Key: "k"}}, nil), driver.ErrClosed, "publish after close")
	e.wants(e.d.Ensure(e.ctx, []driver.Topic{{Name: "t", Partitions: 1}}), driver.ErrClosed, "ensure after close")
	_, err := e.d.Subscribe(e.ctx, kinds[0])
	e.wants(err, driver.ErrClosed, "subscribe after close")
	for _, f := range feeds {
		if err := f.Close(); err != nil {
			e.Fatalf("close a feed of a closed driver: %v", err)
		}
	}
	// Others are not touched.
	e.publish(other, driver.Record{Topic: kinds[0].Topic, Key: "k", Value: []byte("v")})
	e.same(e.subscribe(other, kinds[0]).data(1), "v")
}

func keptAfterReopen(e *env) {
	kinds := e.kinds()
	for round := range 3 {
		for _, s := range kinds {
			var some []driver.Record
			for i := range 20 {
				some = append(some, driver.Record{Topic: s.Topic, Partition: i % 2, Key: fmt.Sprint("k", i), Value: fmt.Append(nil, round*20+i)})
			}
			e.publish(e.d, some...)
		}
		e.d = e.h.Reopen()
		for _, s := range kinds {
			e.sameSet(e.subscribe(e.d, driver.Subscription{Topic: s.Topic}).everything(), count(0, 20*round+20)...)
		}
	}
}

func restarted(e *env) {
	if e.h.Restart == nil {
		e.Skip("the broker cannot be restarted alone")
	}
	kinds := e.kinds()
	var feeds []*feed
	next := map[*feed]int{}
	seen := map[*feed]map[string]bool{}
	for _, s := range kinds {
		f := e.subscribe(e.d, s)
		feeds, seen[f] = append(feeds, f), map[string]bool{}
	}
	// read takes from the feed until it has seen all up to the value; repetitions are allowed, gaps are not. Work has no
	// order; that the others have one is another clause's.
	read := func(f *feed, last int) {
		for next[f] <= last {
			got := f.data(1)
			seen[f][string(got[0].Record.Value)] = true
			for seen[f][fmt.Sprint(next[f])] {
				next[f]++
			}
			if err := f.Ack(e.ctx, got[0]); err != nil && !errors.Is(err, driver.ErrFenced) {
				e.Fatalf("ack: %v", err)
			}
		}
	}
	for round := range 3 {
		for i := range 5 {
			for _, s := range kinds {
				e.insist(driver.Record{Topic: s.Topic, Partition: 1, Key: "k", Value: fmt.Append(nil, round*5+i)})
			}
		}
		for i, f := range feeds {
			read(f, round*5+4)
			if round == 2 {
				continue
			}
			if i == len(feeds)-1 {
				e.h.Restart()
			}
		}
	}
}

// insist publishes until it succeeds.
func (e *env) insist(r driver.Record) {
	e.Helper()
	ctx, cancel := context.WithTimeout(e.ctx, e.h.Patience)
	defer cancel()
	for {
		once, stop := context.WithTimeout(ctx, e.h.Patience/4)
		err := e.d.Publish(once, []driver.Record{r}, nil)
		stop()
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			e.Fatalf("publish after a restart: %v", err)
		}
	}
}
