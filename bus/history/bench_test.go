package history_test

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/history"
)

// long is a sound history of n records, published ten at a time, delivered to one of ten epochs and committed by tens.
func long(n int, handle func(*history.Event)) (events int) {
	at := int64(0)
	add := func(e history.Event) {
		at += 1000
		e.At, e.Process = at, "bench"
		if e.Op == history.OpPublish || e.Op == history.OpAck || e.Op == history.OpSubscribe {
			at += 1000
			e.Ended, e.Outcome = at, history.OK
		}
		events++
		handle(&e)
	}
	for feed := 1; feed <= 10; feed++ {
		add(history.Event{Op: history.OpSubscribe, Feed: feed, Topic: "log", Group: "g", Start: &driver.Start{}})
	}
	for i := range n / 10 {
		feed := 1 + i*100/n
		if i%(n/100) == 0 {
			add(history.Event{Op: history.OpAssigned, Feed: feed, Topic: "log", Group: "g", Epoch: uint64(feed), Position: int64(10 * i)})
		}
		records := make([]history.Item, 10)
		for k := range records {
			records[k] = history.Item{Topic: "log", Key: fmt.Sprint("key-", k), ID: fmt.Sprint("id-", 10*i+k)}
		}
		add(history.Event{Op: history.OpPublish, Driver: 1, Records: records})
		for k := range records {
			add(history.Event{Op: history.OpData, Feed: feed, Topic: "log", Group: "g", Epoch: uint64(feed), Position: int64(10*i + k), Item: &records[k]})
		}
		add(history.Event{Op: history.OpAck, Feed: feed, Topic: "log", Group: "g", Epoch: uint64(feed), Position: int64(10*i + 9)})
	}
	return events
}

// busy is the processor time of this process: others may keep the machine busy.
func busy(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkCheck judges the history of a million records.
func BenchmarkCheck(b *testing.B) {
	const n = 1_000_000
	begin, all := busy(b), 0
	var heap uint64
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		c := history.NewChecker(history.Rules{})
		all += long(n, c.Add)
		if v := c.Verdict(); !v.OK() || v.Counts.Delivered != n {
			b.Fatal(v)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		runtime.KeepAlive(c)
		heap = after.HeapAlloc - before.HeapAlloc
	}
	b.ReportMetric(float64(busy(b)-begin)/float64(all), "cpu-ns/event")
	b.ReportMetric(float64(heap)/n, "B/record")
}

// BenchmarkRead reads and judges a log of a hundred thousand records.
func BenchmarkRead(b *testing.B) {
	var log bytes.Buffer
	r := history.NewRecorder(&log, "bench")
	d := r.Wrap(nothing{})
	records := make([]driver.Record, 10)
	for i := range 10_000 {
		for k := range records {
			records[k] = driver.Record{Topic: "log", Key: fmt.Sprint("key-", k), ID: fmt.Sprint("id-", 10*i+k)}
		}
		if err := d.Publish(b.Context(), records, nil); err != nil {
			b.Fatal(err)
		}
	}
	if err := r.Close(); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(log.Len()))
	for b.Loop() {
		if v, err := history.Check(history.Rules{}, bytes.NewReader(log.Bytes())); err != nil || v.Counts.Published != 100_000 {
			b.Fatal(v, err)
		}
	}
}

// nothing is a driver that takes everything.
type nothing struct{ driver.Driver }

func (nothing) Publish(context.Context, []driver.Record, *driver.Fence) error { return nil }
