package bustest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"kemi.dev/kemi/bus/driver"
)

var using = []clause{
	{"every call ends with its context", endedContext},
	{"after close every method says so", afterClose},
	{"closing twice, and at once, is harmless", closeTwice},
	{"closing ends calls that are under way", closeUnderWay},
	{"while the broker is away calls can be cancelled, and all goes on when it is back", away},
	{"a driver says how its broker is", inspected},
}

// call is one method of a driver, with what it needs.
type call struct {
	name string
	do   func(ctx context.Context) error
}

// calls are all methods of a driver that talk to the broker.
func calls(d driver.Driver, t driver.Topic) []call {
	out := []call{
		{"Ensure", func(ctx context.Context) error { return d.Ensure(ctx, []driver.Topic{t}) }},
		{"Publish", func(ctx context.Context) error { return d.Publish(ctx, []driver.Record{record(t, 0, "k", "v")}, nil) }},
		{"Subscribe to a group", func(ctx context.Context) error {
			f, err := d.Subscribe(ctx, driver.Subscription{Topic: t.Name, Group: "g"})
			if err == nil {
				f.Close()
			}
			return err
		}},
		{"Subscribe to a replay", func(ctx context.Context) error {
			f, err := d.Subscribe(ctx, driver.Subscription{Topic: t.Name})
			if err == nil {
				f.Close()
			}
			return err
		}},
	}
	if s, ok := d.(driver.Sizer); ok {
		out = append(out, call{"Size", func(ctx context.Context) error { _, _, err := s.Size(ctx, t.Name); return err }})
	}
	if i, ok := d.(driver.Inspector); ok {
		out = append(out, call{"Inspect", func(ctx context.Context) error { _, err := i.Inspect(ctx, t.Name); return err }})
	}
	return out
}

func endedContext(e *env) {
	t := e.topic(driver.Topic{Partitions: 2})
	ended, cancel := context.WithCancel(e.ctx)
	cancel()
	late, stop := context.WithDeadline(e.ctx, time.Now().Add(-time.Second))
	defer stop()
	for _, c := range calls(e.d, t) {
		e.wants(c.do(ended), context.Canceled, c.name+" with an ended context")
		e.wants(c.do(late), context.DeadlineExceeded, c.name+" after its deadline")
	}
	for _, s := range e.kinds() {
		f := e.subscribe(e.d, s)
		_, err := f.Next(ended)
		e.wants(err, context.Canceled, "Next with an ended context")
		_, err = f.Next(late)
		e.wants(err, context.DeadlineExceeded, "Next after its deadline")
	}
	e.same(e.subscribe(e.d, driver.Subscription{Topic: t.Name}).everything()) // Nothing was sent.
}

func afterClose(e *env) {
	t := e.topic(driver.Topic{Partitions: 2})
	kinds := e.kinds()
	var feeds []*feed
	var had []driver.Delivery
	for _, s := range kinds {
		e.publish(e.d, driver.Record{Topic: s.Topic, Key: "k", Value: []byte("v")})
		f := e.subscribe(e.d, s)
		feeds, had = append(feeds, f), append(had, f.data(1)[0])
	}
	if err := e.d.Close(); err != nil {
		e.Fatalf("close: %v", err)
	}
	for _, c := range calls(e.d, t) {
		e.wants(c.do(e.ctx), driver.ErrClosed, c.name+" after close")
	}
	fence := &driver.Fence{Topic: kinds[0].Topic, Group: "g", Epoch: had[0].Epoch}
	if err := e.d.Publish(e.ctx, nil, fence); !errors.Is(err, driver.ErrClosed) && !errors.Is(err, driver.ErrFenced) {
		e.Fatalf("whether the epoch lasts, asked after close: %v", err)
	}
	if i, ok := e.d.(driver.Inspector); ok && i.Health() == nil {
		e.Fatal("a closed driver is healthy")
	}
	for i, f := range feeds {
		_, err := f.Next(e.ctx)
		e.wants(err, driver.ErrClosed, "Next of "+kinds[i].Topic+" after close")
		e.wants(f.Ack(e.ctx, had[i]), driver.ErrClosed, "Ack of "+kinds[i].Topic+" after close")
		if err := f.Nack(e.ctx, had[i], 0); err == nil {
			e.Fatalf("Nack of %s after close was taken", kinds[i].Topic)
		}
		if err := f.Close(); err != nil {
			e.Fatalf("close %s after the driver: %v", kinds[i].Topic, err)
		}
	}
}

func closeTwice(e *env) {
	for _, s := range e.kinds() {
		f := e.subscribe(e.d, s)
		var both sync.WaitGroup
		for range 3 {
			both.Go(func() {
				if err := f.Close(); err != nil {
					e.Errorf("close %s: %v", s.Topic, err)
				}
			})
		}
		both.Wait()
	}
	d := e.h.Open()
	e.subscribe(d, driver.Subscription{Topic: "kind0", Group: "g"})
	var both sync.WaitGroup
	for range 3 {
		both.Go(func() {
			if err := d.Close(); err != nil {
				e.Errorf("close the driver: %v", err)
			}
		})
	}
	both.Wait()
	if err := d.Close(); err != nil {
		e.Fatalf("close the driver again: %v", err)
	}
	// One that was never used closes, too.
	if err := e.h.Open().Close(); err != nil {
		e.Fatalf("close what was not used: %v", err)
	}
}

func closeUnderWay(e *env) {
	t := e.topic(driver.Topic{Partitions: 2, DropOldest: true, MaxBytes: 4 << 20})
	d := e.h.Open()
	e.publish(d, record(t, 0, "k", "v"))
	begun := make(chan struct{}, 4)
	ended := make(chan error, 4)
	for p := range 4 {
		go func() {
			for i := 0; ; i++ {
				if err := d.Publish(e.ctx, []driver.Record{record(t, p%2, "k", "v")}, nil); err != nil {
					ended <- err
					return
				}
				if i == 3 {
					begun <- struct{}{}
				}
			}
		}()
	}
	for range 4 {
		<-begun
	}
	if err := d.Close(); err != nil {
		e.Fatalf("close: %v", err)
	}
	for range 4 {
		select {
		case err := <-ended:
			e.wants(err, driver.ErrClosed, "publish while the driver is closed")
		case <-time.After(e.h.Patience):
			e.Fatal("Publish did not end")
		}
	}
}

func away(e *env) {
	if e.h.Away == nil {
		e.Skip("the broker cannot be made unreachable")
	}
	t := e.topic(driver.Topic{Partitions: 2})
	for _, c := range calls(e.d, t) {
		if err := c.do(e.ctx); err != nil {
			e.Fatalf("%s: %v", c.name, err)
		}
	}
	f := e.subscribe(e.d, driver.Subscription{Topic: t.Name, Group: "g"})
	f.ack(f.data(1)...)
	back := e.h.Away()
	returned := sync.OnceFunc(back)
	defer returned()
	for _, c := range calls(e.d, t) {
		ctx, cancel := context.WithCancel(e.ctx)
		ended := make(chan error, 1)
		go func() { ended <- c.do(ctx) }()
		timer := time.NewTimer(e.h.Quiet)
		var err error
		select {
		case err = <-ended: // It says at once that the broker is away.
			cancel()
		case <-timer.C:
			cancel()
			select {
			case err = <-ended:
				e.wants(err, context.Canceled, "cancelled "+c.name+" while the broker is away")
			case <-time.After(e.h.Patience):
				e.Fatalf("%s did not end with its context while the broker is away", c.name)
			}
		}
		timer.Stop()
		if err == nil && (c.name == "Ensure" || c.name == "Publish") {
			e.Fatalf("%s succeeded while the broker is away", c.name)
		}
	}
	short, cancel := context.WithTimeout(e.ctx, e.h.Quiet)
	defer cancel()
	for {
		// Nothing comes but, in time, the end of the epoch.
		got, err := f.Next(short)
		if err != nil {
			e.wants(err, context.DeadlineExceeded, "Next while the broker is away")
			break
		}
		for _, d := range got {
			if d.Event == driver.Data {
				e.Fatalf("%s came while the broker is away", brief(got))
			}
		}
	}
	returned()
	e.insist(driver.Record{Topic: t.Name, Partition: 1, Key: "k", Value: []byte("after")})
	for {
		if got := f.data(1); string(got[0].Record.Value) == "after" {
			break // What was under way when it went may be there as well.
		}
	}
}

func inspected(e *env) {
	i, ok := e.d.(driver.Inspector)
	if !ok {
		e.Skip("the driver does not know how its broker is")
	}
	t := e.topic(driver.Topic{Partitions: 2, Keep: time.Hour})
	if err := i.Health(); err != nil {
		e.Fatalf("the broker is not well: %v", err)
	}
	_, err := i.Inspect(e.ctx, "nowhere.v1")
	e.wants(err, driver.ErrNoTopic, "inspect no topic")
	empty, err := i.Inspect(e.ctx, t.Name)
	if err != nil || empty.Topic.Name != t.Name || empty.Topic.Kind != driver.Log || empty.Topic.Partitions != 2 ||
		empty.Topic.Keep != time.Hour || len(empty.Partitions) != 2 || len(empty.Groups) != 0 {
		e.Fatalf("an empty topic is %+v, %v", empty, err)
	}
	for _, p := range empty.Partitions {
		if p.First != p.End || p.Records > 0 || !p.Oldest.IsZero() {
			e.Fatalf("an empty partition is %+v", p)
		}
	}
	before := time.Now()
	e.publish(e.d, numbered(t, 1, "k", 10)...)
	f := e.subscribe(e.d, driver.Subscription{Topic: t.Name, Group: "readers"})
	got := f.data(10)
	f.ack(got[3])
	e.soon("what the topic holds", func() string {
		info, err := i.Inspect(e.ctx, t.Name)
		if err != nil || len(info.Partitions) != 2 || len(info.Groups) != 1 || info.Groups[0].Name != "readers" {
			return fmt.Sprintf("%+v, %v", info, err)
		}
		p := info.Partitions[1]
		if p.Partition != 1 || p.First != got[0].Position || p.End != got[9].Position+1 || p.Records != 10 && p.Records != -1 ||
			p.Oldest.Before(before.Add(-time.Second)) || p.Oldest.After(time.Now().Add(time.Second)) {
			return fmt.Sprintf("partition %+v", p)
		}
		for _, g := range info.Groups[0].Partitions {
			if g.Partition == 1 && g.Owner != "" && g.Epoch == got[0].Epoch && g.Next > got[3].Position && g.Next <= got[4].Position && g.Lag >= 6 {
				return ""
			}
		}
		return fmt.Sprintf("group %+v", info.Groups[0])
	})
	f.Close()
	e.soon("that the partition has no owner", func() string {
		info, err := i.Inspect(e.ctx, t.Name)
		if err != nil || len(info.Groups) != 1 {
			return fmt.Sprintf("%+v, %v", info, err)
		}
		for _, g := range info.Groups[0].Partitions {
			if g.Owner != "" {
				return fmt.Sprintf("group %+v", info.Groups[0])
			}
		}
		return ""
	})
	w := e.topic(driver.Topic{Name: "work", Kind: driver.Work, Partitions: 2})
	e.publish(e.d, record(w, 0, "a", "0"), record(w, 1, "b", "1"), record(w, 0, "c", "2"))
	workers := e.subscribe(e.d, works(w))
	workers.ack(workers.data(3)[0])
	e.soon("what of the work is left", func() string {
		info, err := i.Inspect(e.ctx, w.Name)
		if err != nil || len(info.Groups) != 1 || info.Groups[0].Name != "workers" {
			return fmt.Sprintf("%+v, %v", info, err)
		}
		left := int64(0)
		for _, g := range info.Groups[0].Partitions {
			left += g.Lag
		}
		if left < 2 || left > 3 { // Where work is done out of order, what is done behind what is not may be counted.
			return fmt.Sprintf("group %+v", info.Groups[0])
		}
		return ""
	})
}
