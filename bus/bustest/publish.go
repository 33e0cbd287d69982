package bustest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"kemi.dev/kemi/bus/driver"
)

var publishing = []clause{
	{"stored before Publish returns", storedBeforeReturn},
	{"records of one call keep their order", orderInACall},
	{"records of one key keep their order", orderPerKey},
	{"headers, keys, times and positions are carried", carried},
	{"the trace context is carried on every kind of topic and comes again with the record", traced},
	{"empty values are values", emptyValues},
	{"any key but NUL", manyKeys},
	{"a full topic refuses and loses nothing", fullRefuses},
	{"a topic may forget the oldest instead", fullForgets},
	{"a second record of one ID", sameID},
	{"a topic knows its size", sized},
	{"an unknown topic is an error", unknownTopic},
	{"Ensure is idempotent and names differences", ensure},
}

func storedBeforeReturn(e *env) {
	for _, t := range []driver.Topic{
		{Name: "log", Partitions: 3},
		{Name: "latest", Kind: driver.Latest, Keep: time.Hour},
		{Name: "work", Kind: driver.Work, Partitions: 2},
		{Name: "log.sync", Sync: true, Partitions: 3},
		{Name: "latest.sync", Kind: driver.Latest, Sync: true},
	} {
		t := e.topic(t)
		other := e.h.Open()
		for i := range 5 {
			e.publish(e.d, record(t, i%t.Partitions, fmt.Sprint("k", i), fmt.Sprint(i)))
			// Another driver sees it at once, and that it is the last.
			f := e.subscribe(other, driver.Subscription{Topic: t.Name})
			e.sameSet(f.everything(), count(0, i+1)...)
			f.Close()
		}
	}
}

func orderInACall(e *env) {
	for _, t := range []driver.Topic{{Name: "plain", Partitions: 2}, {Name: "sync", Partitions: 2, Sync: true}} {
		t := e.topic(t)
		// More than brokers take in one batch.
		const n = 2200
		var all []driver.Record
		for i := range n {
			all = append(all, record(t, i%2, fmt.Sprint("k", i%7), fmt.Sprint(i)))
		}
		e.publish(e.d, all...)
		got := e.subscribe(e.d, driver.Subscription{Topic: t.Name, Group: "g", Window: 2 * n}).data(n)
		for p := range 2 {
			of := slices.DeleteFunc(slices.Clone(got), func(d driver.Delivery) bool { return d.Partition != p })
			var want []string
			for i := p; i < n; i += 2 {
				want = append(want, fmt.Sprint(i))
			}
			e.same(of, want...)
			if !slices.IsSortedFunc(of, func(a, b driver.Delivery) int { return int(a.Position - b.Position) }) {
				e.Fatalf("%s: positions of partition %d do not grow", t.Name, p)
			}
		}
	}
}

func orderPerKey(e *env) {
	t := e.topic(driver.Topic{Partitions: 3})
	const keys, each = 8, 40
	var wg sync.WaitGroup
	for k := range keys {
		wg.Go(func() {
			for i := range each {
				if err := e.d.Publish(e.ctx, []driver.Record{record(t, k%3, fmt.Sprint("k", k), fmt.Sprint(i))}, nil); err != nil {
					e.Errorf("publish: %v", err)
				}
			}
		})
	}
	got := e.subscribe(e.d, driver.Subscription{Topic: t.Name, Group: "g"}).data(keys * each)
	wg.Wait()
	for k := range keys {
		of := slices.DeleteFunc(slices.Clone(got), func(d driver.Delivery) bool { return d.Record.Key != fmt.Sprint("k", k) })
		e.same(of, count(0, each)...)
	}
}

func carried(e *env) {
	t := e.topic(driver.Topic{Partitions: 2})
	before := time.Now()
	r := record(t, 1, "core-1", "v")
	r.ID = "an id"
	r.Headers = []driver.Header{
		{Name: "content-type", Value: "text/plain"},
		{Name: "Reason", Value: "two lines\r\nand 100 % of \x01 both: äöü "},
		{Name: "x-twice", Value: "1"},
		{Name: "x-twice", Value: "2"},
		{Name: "x-empty", Value: ""},
	}
	e.publish(e.d, r)
	got := e.subscribe(e.d, driver.Subscription{Topic: t.Name, Group: "g"}).data(1)[0]
	if got.Record.Topic != t.Name || got.Record.Partition != 1 || got.Partition != 1 || got.Record.Key != "core-1" || got.Record.ID != r.ID {
		e.Fatalf("got %+v, want %+v", got.Record, r)
	}
	if got.Stored.Before(before.Add(-time.Second)) || got.Stored.After(time.Now().Add(time.Second)) || got.Position < 0 || got.Epoch < 1 {
		e.Fatalf("stored %s at position %d in epoch %d", got.Stored, got.Position, got.Epoch)
	}
	// The order between names is the broker's; within one name it is kept.
	byName := func(a, b driver.Header) int { return strings.Compare(a.Name, b.Name) }
	slices.SortStableFunc(r.Headers, byName)
	slices.SortStableFunc(got.Record.Headers, byName)
	if !slices.Equal(got.Record.Headers, r.Headers) {
		e.Fatalf("got headers %q, want %q", got.Record.Headers, r.Headers)
	}
}

func traced(e *env) {
	const parent, state = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "kemi=00f067aa0ba902b7,other=x"
	for i, kind := range []driver.Kind{driver.Log, driver.Latest, driver.Work} {
		t := e.topic(driver.Topic{Name: fmt.Sprint("traced", i), Kind: kind, Keep: time.Hour})
		r := record(t, 0, "k", "v")
		r.Headers = []driver.Header{{Name: "traceparent", Value: parent}, {Name: "tracestate", Value: state}}
		e.publish(e.d, r)
		s := driver.Subscription{Topic: t.Name, Group: "g"}
		first := e.subscribe(e.d, s)
		got := first.data(1)
		first.Close() // Not acknowledged, so it comes again.
		got = append(got, e.subscribe(e.h.Open(), s).data(1)...)
		for _, d := range append(got, e.subscribe(e.d, driver.Subscription{Topic: t.Name}).everything()...) {
			if d.Record.Header("traceparent") != parent || d.Record.Header("tracestate") != state {
				e.Fatalf("%s: got headers %q", t.Name, d.Record.Headers)
			}
		}
	}
}

func emptyValues(e *env) {
	log := e.topic(driver.Topic{Name: "log"})
	e.publish(e.d, driver.Record{Topic: log.Name, Key: "nil"}, driver.Record{Topic: log.Name, Key: "empty", Value: []byte{}})
	for _, d := range e.subscribe(e.d, driver.Subscription{Topic: log.Name, Group: "g"}).data(2) {
		if len(d.Record.Value) != 0 {
			e.Fatalf("got %q, want nothing", d.Record.Value)
		}
	}
	work := e.topic(driver.Topic{Name: "work", Kind: driver.Work})
	e.publish(e.d, driver.Record{Topic: work.Name, Key: "nil"}, driver.Record{Topic: work.Name, Key: "empty", Value: []byte{}})
	f := e.subscribe(e.d, driver.Subscription{Topic: work.Name, Group: "g"})
	for _, d := range f.data(2) {
		if len(d.Record.Value) != 0 {
			e.Fatalf("got work %q, want nothing", d.Record.Value)
		}
		f.ack(d)
	}
	latest := e.topic(driver.Topic{Name: "latest", Kind: driver.Latest, Keep: time.Hour})
	e.publish(e.d, driver.Record{Topic: latest.Name, Key: "a", Value: []byte{}}, record(latest, 0, "b", "x"), driver.Record{Topic: latest.Name, Key: "b"})
	all := e.subscribe(e.d, driver.Subscription{Topic: latest.Name}).everything()
	if len(all) != 3 || all[0].Record.Value == nil || all[2].Record.Value != nil {
		e.Fatalf("got %s; want an empty value, one, and none", brief(all))
	}
	now := e.subscribe(e.d, driver.Subscription{Topic: latest.Name, Start: driver.Start{Snapshot: true}}).everything()
	left := map[string]bool{} // A server of a cluster that is behind may hand over what was removed, and then the removal.
	for _, d := range now {
		if left[d.Record.Key] = true; d.Record.Value == nil {
			delete(left, d.Record.Key)
		}
	}
	if len(left) != 1 || !left["a"] {
		e.Fatalf("got %s; want the key with the empty value alone", brief(now))
	}
}

func manyKeys(e *env) {
	t := e.topic(driver.Topic{Kind: driver.Latest})
	keys := []string{
		"", " ", ".", "..", "*", ">", "a.b", "a*", "$", "%", "%41", "A", "a", "ä", "日本", "\n", "\t", "\xff\xfe", "/", "\\",
		"http://127.0.0.1:8080/x?y=z&a#b", "core-1/GigabitEthernet0/1", `{"a":1}`, "\x7f", "_", "-", "=", strings.Repeat("long", 64),
	}
	for i := range 500 {
		keys = append(keys, fmt.Sprint("target-", i))
	}
	var all []driver.Record
	for round := range 2 {
		for _, k := range keys {
			all = append(all, record(t, 0, k, fmt.Sprint(round, k)))
		}
	}
	e.publish(e.d, all...)
	got := e.subscribe(e.d, driver.Subscription{Topic: t.Name, Start: driver.Start{Snapshot: true}}).everything()
	var have []string
	for _, d := range got {
		have = append(have, d.Record.Key)
		if string(d.Record.Value) != fmt.Sprint(1, d.Record.Key) {
			e.Fatalf("key %q has value %q", d.Record.Key, d.Record.Value)
		}
	}
	slices.Sort(have)
	slices.Sort(keys)
	if !slices.Equal(have, keys) {
		e.Fatalf("got keys %q, want %q", have, keys)
	}
	if err := e.d.Publish(e.ctx, []driver.Record{record(t, 0, "a\x00b", "v")}, nil); err == nil {
		e.Fatal("a key with NUL was taken")
	}
}

func fullRefuses(e *env) {
	for _, t := range []driver.Topic{{Name: "plain", MaxBytes: 256 << 10}, {Name: "sync", MaxBytes: 256 << 10, Sync: true}} {
		t := e.topic(t)
		stored := 0
		var err error
		for stored < 100 && err == nil {
			r := record(t, 0, "k", fmt.Sprint(stored))
			r.Value = append(r.Value, make([]byte, 8<<10)...)
			if err = e.d.Publish(e.ctx, []driver.Record{r}, nil); err == nil {
				stored++
			}
		}
		e.wants(err, driver.ErrFull, fmt.Sprintf("publish 8 KiB to 256 KiB after %d times", stored))
		if stored < 10 {
			e.Fatalf("full after %d times 8 KiB of 256 KiB", stored)
		}
		many := make([]driver.Record, 50)
		for i := range many {
			many[i] = driver.Record{Topic: t.Name, Key: "k", Value: make([]byte, 8<<10)}
		}
		e.wants(e.d.Publish(e.ctx, many, nil), driver.ErrFull, "publish many at once")
		got := e.subscribe(e.d, driver.Subscription{Topic: t.Name}).everything()
		for i := range stored {
			if i >= len(got) || !bytes.HasPrefix(got[i].Record.Value, fmt.Append(nil, i)) {
				e.Fatalf("record %d of %d stored ones is not there", i, stored)
			}
		}
	}
}

func fullForgets(e *env) {
	t := e.topic(driver.Topic{MaxBytes: 256 << 10, DropOldest: true})
	for i := range 100 {
		r := record(t, 0, fmt.Sprint(i), "")
		r.Value = make([]byte, 8<<10)
		e.publish(e.d, r)
	}
	got := e.subscribe(e.d, driver.Subscription{Topic: t.Name}).everything()
	// A broker that cleans up from time to time has more of them, but of the newest it has all.
	if len(got) < 10 {
		e.Fatalf("%d records of 8 KiB are there; want the newest 256 KiB", len(got))
	}
	for i, d := range got {
		if want := fmt.Sprint(100 - len(got) + i); d.Record.Key != want {
			e.Fatalf("got %q, want %s of %d that are there", d.Record.Key, want, len(got))
		}
	}
}

func sameID(e *env) {
	t := e.topic(driver.Topic{})
	with := func(id, value string) driver.Record {
		r := record(t, 0, "k", value)
		r.ID = id
		return r
	}
	e.publish(e.d, with("one", "1"))
	e.publish(e.d, with("one", "1"))
	e.publish(e.d, with("two", "2"))
	e.publish(e.d, with("", "3"))
	e.publish(e.d, with("", "3"))
	got := e.subscribe(e.d, driver.Subscription{Topic: t.Name}).everything()
	if e.h.Dedupes {
		e.same(got, "1", "2", "3", "3")
	} else {
		e.same(got, "1", "1", "2", "3", "3")
	}
}

func unknownTopic(e *env) {
	e.wants(e.d.Publish(e.ctx, []driver.Record{{Topic: "nowhere.v1", Key: "k"}}, nil), driver.ErrNoTopic, "publish")
	_, err := e.d.Subscribe(e.ctx, driver.Subscription{Topic: "nowhere.v1", Group: "g"})
	e.wants(err, driver.ErrNoTopic, "subscribe")
	t := e.topic(driver.Topic{Partitions: 2})
	if err := e.d.Publish(e.ctx, []driver.Record{record(t, 2, "k", "v")}, nil); err == nil {
		e.Fatal("a partition that is not there was taken")
	}
	if _, err := e.d.Subscribe(e.ctx, driver.Subscription{Topic: t.Name, Start: driver.Start{Snapshot: true}}); err == nil {
		e.Fatal("a log has no snapshot, yet one was opened")
	}
}

func ensure(e *env) {
	t := e.topic(driver.Topic{Partitions: 4, Keep: time.Hour})
	e.publish(e.d, record(t, 3, "k", "v"))
	other := e.h.Open()
	for _, d := range []driver.Driver{e.d, other} {
		if err := d.Ensure(e.ctx, []driver.Topic{t}); err != nil {
			e.Fatalf("ensure again: %v", err)
		}
	}
	// A topic that another driver made is known without Ensure.
	e.publish(e.h.Open(), record(t, 3, "k", "w"))
	e.same(e.subscribe(other, driver.Subscription{Topic: t.Name}).everything(), "v", "w")
	differs := t
	differs.Partitions = 8
	if err := e.d.Ensure(e.ctx, []driver.Topic{differs}); err == nil || !strings.Contains(err.Error(), t.Name) ||
		!strings.Contains(err.Error(), "8") || !strings.Contains(err.Error(), "4") {
		e.Fatalf("got error %v; want one that names the topic, 8 and 4", err)
	}
	differs = t
	differs.Kind = driver.Work
	if err := e.d.Ensure(e.ctx, []driver.Topic{differs}); err == nil || !strings.Contains(err.Error(), t.Name) {
		e.Fatalf("got error %v; want one that names the topic of another kind", err)
	}
	// All that differ are named at once, whatever stands between them.
	second, third := e.topic(driver.Topic{Name: "second.v1", Partitions: 2}), e.topic(driver.Topic{Name: "third.v1"})
	wrong := second
	wrong.Partitions = 3
	err := e.d.Ensure(e.ctx, []driver.Topic{differs, third, {Name: "missing.v1", Partitions: 1, MaxBytes: 1 << 20}, wrong})
	e.wants(err, driver.ErrDiffers, "ensure topics of which two differ")
	if says := err.Error(); !strings.Contains(says, differs.Name) || !strings.Contains(says, second.Name) || strings.Contains(says, third.Name) {
		e.Fatalf("got error %v; want one that names %s and %s", err, differs.Name, second.Name)
	}
	// What differed was not changed.
	if err := e.d.Ensure(e.ctx, []driver.Topic{t}); err != nil {
		e.Fatalf("ensure what was there: %v", err)
	}
	e.publish(e.d, record(t, 3, "k", "x"))
	e.same(e.subscribe(other, driver.Subscription{Topic: t.Name, Group: "g"}).data(3), "v", "w", "x")
}

func sized(e *env) {
	s, ok := e.d.(driver.Sizer)
	if !ok {
		e.Skip("the driver does not know sizes")
	}
	t := e.topic(driver.Topic{MaxBytes: 1 << 20})
	e.publish(e.d, sizes(t, "k", "x", 100<<10))
	e.soon("the size", func() string {
		used, limit, err := s.Size(e.ctx, t.Name)
		if err != nil || limit != 1<<20 || used < 100<<10 || used > 110<<10 {
			return fmt.Sprintf("%d of %d bytes, %v", used, limit, err)
		}
		return ""
	})
	_, _, err := s.Size(e.ctx, "nowhere.v1")
	e.wants(err, driver.ErrNoTopic, "size of no topic")
}
