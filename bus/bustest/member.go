package bustest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"kemi.dev/kemi/bus/driver"
)

// happening is one thing a member was told, and whether its acknowledgement was accepted.
type happening struct {
	member string
	driver.Delivery
	accepted bool
	// order and done are taken before and after the acknowledgement, from one count: what follows from it has a
	// higher order than its done.
	order, done int64
}

// chronicle is what all members of a group were told.
type chronicle struct {
	mu      sync.Mutex
	all     []happening
	changed chan struct{}
	order   atomic.Int64
}

func newChronicle() *chronicle { return &chronicle{changed: make(chan struct{})} }

func (h *chronicle) add(x happening) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, x)
	close(h.changed)
	h.changed = make(chan struct{})
}

// await blocks until the history satisfies the condition.
func (h *chronicle) await(e *env, what string, done func([]happening) bool) []happening {
	e.Helper()
	deadline := time.NewTimer(e.h.Patience)
	defer deadline.Stop()
	for {
		h.mu.Lock()
		all, changed := h.all[:len(h.all):len(h.all)], h.changed
		h.mu.Unlock()
		if done(all) {
			return all
		}
		select {
		case <-changed:
		case <-deadline.C:
			var ds []driver.Delivery
			for _, x := range all {
				ds = append(ds, x.Delivery)
			}
			e.Fatalf("waited %s for %s; history of %d ends with %s", e.h.Patience, what, len(all), brief(ds))
		}
	}
}

// member reads a feed in its own goroutine and acknowledges what it reads.
type member struct {
	name string
	feed driver.Feed
	stop context.CancelFunc
	done chan struct{}
}

// member starts one; each happening goes to the history. work, when given, runs before the acknowledgement.
func (e *env) member(name string, d driver.Driver, s driver.Subscription, h *chronicle, work func(driver.Delivery)) *member {
	e.Helper()
	f, err := d.Subscribe(e.ctx, s)
	if err != nil {
		e.Fatalf("subscribe %s: %v", name, err)
	}
	ctx, stop := context.WithCancel(e.ctx)
	m := &member{name: name, feed: f, stop: stop, done: make(chan struct{})}
	go func() {
		defer close(m.done)
		for {
			got, err := f.Next(ctx)
			if ctx.Err() != nil || errors.Is(err, driver.ErrClosed) {
				return
			}
			if err != nil {
				e.Errorf("%s: next: %v", name, err)
				return
			}
			for _, d := range got {
				if d.Event == driver.Data && work != nil {
					work(d)
				}
				order := h.order.Add(1)
				err := f.Ack(ctx, d)
				if err != nil && !errors.Is(err, driver.ErrFenced) && !errors.Is(err, driver.ErrClosed) && ctx.Err() == nil {
					e.Errorf("%s: ack: %v", name, err)
				}
				h.add(happening{name, d, err == nil, order, h.order.Add(1)})
			}
		}
	}()
	e.Cleanup(m.leave)
	return m
}

// leave stops the member and closes its feed, as a process that ends in order does.
func (m *member) leave() {
	m.stop()
	<-m.done
	m.feed.Close()
}

// owners is who owns what after a history: the last one assigned and not revoked.
func owners(all []happening) map[int]string {
	out := map[int]string{}
	epochs := map[int]uint64{}
	for _, x := range all {
		switch {
		case x.Event == driver.Assigned && x.Epoch > epochs[x.Partition]:
			out[x.Partition], epochs[x.Partition] = x.member, x.Epoch
		case x.Event == driver.Revoked && x.Epoch == epochs[x.Partition]:
			delete(out, x.Partition)
		}
	}
	return out
}

// spread counts the partitions of each member.
func spread(all []happening) map[string]int {
	out := map[string]int{}
	for _, m := range owners(all) {
		out[m]++
	}
	return out
}

// ordered ends the test unless each key's accepted records are 0, 1, 2 … with no gap and no way back, but for
// repetitions of what was not yet acknowledged.
func (e *env) ordered(all []happening, keys, each int) {
	e.Helper()
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b happening) int { return int(a.order - b.order) })
	next := map[string]int{}
	for _, x := range all {
		if x.Event != driver.Data || !x.accepted {
			continue
		}
		k := x.Record.Key
		if string(x.Record.Value) != fmt.Sprint(next[k]) {
			e.Fatalf("key %s: %s acknowledged %q in epoch %d, want %d next", k, x.member, x.Record.Value, x.Epoch, next[k])
		}
		next[k]++
	}
	if len(next) != keys {
		e.Fatalf("got %d keys, want %d", len(next), keys)
	}
	for k, n := range next {
		if n != each {
			e.Fatalf("key %s: %d acknowledged records, want %d", k, n, each)
		}
	}
}

// unbroken ends the test unless each key's accepted records are complete, come in order within an epoch, and none was
// accepted under an epoch after a later epoch had one accepted. Between epochs some may be repeated.
func (e *env) unbroken(all []happening, keys, each int) {
	e.Helper()
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b happening) int { return int(a.order - b.order) })
	type era struct {
		key   string
		epoch uint64
	}
	next := map[string]int{}
	last := map[era]int{}
	newest := map[int]happening{}
	for _, x := range all {
		if x.Event != driver.Data || !x.accepted {
			continue
		}
		k, n := x.Record.Key, number(x.Record.Value)
		if n > next[k] {
			e.Fatalf("key %s: %s acknowledged %d in epoch %d, %d was never acknowledged", k, x.member, n, x.Epoch, next[k])
		}
		next[k] = max(next[k], n+1)
		if before, ok := last[era{k, x.Epoch}]; ok && n != before+1 {
			e.Fatalf("key %s: %s got %d after %d in epoch %d", k, x.member, n, before, x.Epoch)
		}
		last[era{k, x.Epoch}] = n
		if y, ok := newest[x.Partition]; ok && x.Epoch < y.Epoch && x.order > y.done {
			e.Fatalf("partition %d: %s was accepted in epoch %d after %s in epoch %d", x.Partition, x.member, x.Epoch, y.member, y.Epoch)
		} else if !ok || x.Epoch > y.Epoch {
			newest[x.Partition] = x
		}
	}
	for k := range keys {
		if n := next[fmt.Sprint("k", k)]; n != each {
			e.Fatalf("key %d: acknowledged up to %d of %d", k, n, each)
		}
	}
}

func number(value []byte) int {
	n, err := strconv.Atoi(string(value))
	if err != nil {
		return -1
	}
	return n
}

// accepted counts the acknowledged records.
func accepted(all []happening) int {
	n := 0
	for _, x := range all {
		if x.Event == driver.Data && x.accepted {
			n++
		}
	}
	return n
}
