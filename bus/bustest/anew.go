package bustest

import (
	"fmt"

	"kemi.dev/kemi/bus/driver"
)

var beginningAnew = []clause{
	{"a log that began anew is a later epoch from its beginning", anewOwned},
	{"a replay reads a log that began anew from its beginning", anewReplayed},
	{"work on a log that began anew is done", anewWork},
}

// stores publishes a record until it is stored: a topic that was just removed may need some attempts.
func (e *env) stores(r driver.Record) {
	e.Helper()
	e.soon("a record is not stored", func() string {
		if err := e.d.Publish(e.ctx, []driver.Record{r}, nil); err != nil {
			return err.Error()
		}
		return ""
	})
}

// anew makes a topic, and skips the clause where none can be removed.
func (e *env) anew(t driver.Topic) driver.Topic {
	if e.h.Remove == nil {
		e.Skip("a topic cannot be removed here")
	}
	return e.topic(t)
}

func anewOwned(e *env) {
	t := e.anew(driver.Topic{})
	s := driver.Subscription{Topic: t.Name, Group: "g", Writes: []string{t.Name}}
	e.publish(e.d, numbered(t, 0, "k", 10)...)
	f := e.subscribe(e.d, s)
	before := f.event(driver.Assigned)
	got := f.data(10)
	f.ack(got...)
	e.publish(e.d, record(t, 0, "k", "late"))
	late := f.data(1)[0]
	e.h.Remove(t.Name)
	e.stores(record(t, 0, "k", "new"))
	a := f.until("a later epoch", func(d driver.Delivery) bool { return d.Event == driver.Assigned })
	after := a[len(a)-1]
	first := f.data(1)[0]
	if after.Epoch <= before.Epoch || after.Position > first.Position || first.Epoch != after.Epoch {
		e.Fatalf("after %s: assigned %s, then %s", brief([]driver.Delivery{before}), brief([]driver.Delivery{after}), brief([]driver.Delivery{first}))
	}
	e.same([]driver.Delivery{first}, "new")
	e.wants(f.Ack(e.ctx, late), driver.ErrFenced, "ack of a record of the log before")
	f.ack(first)
	// What is committed is of the new log.
	f.Close()
	e.stores(record(t, 0, "k", "next"))
	e.same(e.subscribe(e.d, s).data(1), "next")
}

func anewReplayed(e *env) {
	for _, kind := range []driver.Kind{driver.Log, driver.Latest} {
		t := e.anew(driver.Topic{Name: fmt.Sprint("kind", kind), Kind: kind})
		f := e.subscribe(e.d, driver.Subscription{Topic: t.Name, Start: driver.Start{Snapshot: kind == driver.Latest}})
		e.publish(e.d, numbered(t, 0, "k", 10)...)
		last := f.until("the last", func(d driver.Delivery) bool { return string(d.Record.Value) == "9" })
		e.h.Remove(t.Name)
		e.stores(record(t, 0, "k", "new"))
		// Whoever keeps a copy of the topic is told that it has another, before what that holds.
		told := f.until("what was delivered to be revoked", func(d driver.Delivery) bool { return d.Event == driver.Revoked })
		if d := told[len(told)-1]; d.Partition != -1 {
			e.Fatalf("a replay was revoked partition %d", d.Partition)
		}
		got := f.data(1)
		e.same(got, "new")
		if was := last[len(last)-1].Position; got[0].Position > was {
			e.Fatalf("position %d follows %d, as if the log were the same", got[0].Position, was)
		}
	}
}

func anewWork(e *env) {
	t := e.anew(driver.Topic{Kind: driver.Work})
	e.publish(e.d, numbered(t, 0, "k", 10)...)
	f := e.subscribe(e.d, driver.Subscription{Topic: t.Name, Group: "g"})
	f.ack(f.data(10)...)
	e.h.Remove(t.Name)
	e.stores(record(t, 0, "k", "new"))
	got := f.data(1)
	e.same(got, "new")
	f.ack(got...)
}
