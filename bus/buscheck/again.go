package buscheck

import (
	"context"
	"sync"
	"sync/atomic"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
)

// again has two groups of three give up one record, and one of its letters retried: the record is put back once, every group is
// handed it again, and both letters are done.
func again(e *env) {
	var mended atomic.Bool
	books := map[string]*book{}
	for _, group := range []string{"g", "h", "well"} {
		k := &book{}
		if group != "well" {
			k.fail = func(by string) error {
				if by == "1" && !mended.Load() {
					return bus.Permanent(errNoSuch)
				}
				return nil
			}
		}
		books[group] = k
		b, _ := e.bus()
		ctx, cancel := context.WithCancel(e.Context())
		done := make(chan error, 1)
		go func() {
			done <- bus.Own(ctx, b, group, bus.Options{Batch: 1}, func(context.Context, *bus.Ownership) (bus.Handler[event.Command], error) { return k, nil })
		}()
		e.Cleanup(sync.OnceFunc(func() {
			cancel()
			if err := <-done; err != nil {
				e.Errorf("own: %v", err)
			}
		}))
	}
	e.command("0")
	bad := e.command("1")
	e.command("2")
	for group, k := range books {
		e.until("the others in "+group, func() bool { return k.has("0", "2") && k.has("1") == (group == "well") })
	}
	e.letters(2)
	before := e.records(bad.Topic)

	mended.Store(true)
	ctx, cancel := context.WithTimeout(e.Context(), e.h.Patience)
	defer cancel()
	list := func(done bool) []bus.Letter {
		e.Helper()
		all, _, err := e.b.Letters(ctx, bus.LetterFilter{Done: done}, 0)
		if err != nil {
			e.Fatal(err)
		}
		return all
	}
	open := list(false)
	if len(open) != 2 || open[0].Group == open[1].Group {
		e.Fatalf("the letters are %+v", open)
	}
	settled, err := e.b.Retry(ctx, []int64{open[0].ID}, "jo", "mended")
	if err != nil || len(settled) != 2 || settled[0].Why+settled[1].Why != "" || (settled[0].Of == nil) == (settled[1].Of == nil) {
		e.Fatalf("settled %+v, %v; want both letters, one of them of the other", settled, err)
	}
	for group, k := range books {
		want := map[string]int{"g": 1, "h": 1, "well": 2}[group]
		e.until(group+" to handle it again", func() bool { return k.count("1") >= want })
	}
	e.command("3")
	for group, k := range books {
		e.until("what comes after in "+group, func() bool { return k.has("3") })
		if want := map[string]int{"g": 1, "h": 1, "well": 2}[group]; k.count("1") != want {
			e.Errorf("%s handled it %d times, want %d", group, k.count("1"), want)
		}
	}
	after := e.records(bad.Topic)
	if n := len(after) - len(before); n != 2 { // The copy, and what came after.
		e.Fatalf("%d records more, want 2", n)
	}
	copied := after[len(before)]
	if string(copied.Value) != string(bad.Value) || copied.Key != bad.Key || copied.Header("x-theirs") != bad.Header("x-theirs") || copied.Header("kemi-again") == "" {
		e.Errorf("put back is %q %q %v", copied.Key, copied.Value, copied.Headers)
	}
	if left := list(false); len(left) != 0 {
		e.Errorf("%+v are left", left)
	}
	if all := list(true); len(all) != 2 || all[0].Done.How != bus.Retried || all[1].Done.By != "jo" {
		e.Errorf("done are %+v", all)
	}
	if settled, err := e.b.Retry(ctx, []int64{open[1].ID}, "al", ""); err != nil || len(settled) != 1 || settled[0].Why == "" {
		e.Errorf("its other letter once more: %+v, %v", settled, err)
	}
	if n := len(e.records(bad.Topic)); n != len(after) {
		e.Errorf("what is done was put back again: %d records, want %d", n, len(after))
	}
}

// count is how often a command was handled.
func (k *book) count(by string) (n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, b := range k.seen {
		if b == by {
			n++
		}
	}
	return n
}
