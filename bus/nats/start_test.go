package nats

import (
	"fmt"
	"testing"
	"time"

	"kemi.dev/kemi/bus/buscheck"
	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/internal/obs"
)

// From nothing to all that is known: a million records of a hundred thousand keys are on the disk, the embedded servers
// start, and a snapshot of all partitions is read until it is caught up.
func BenchmarkStart(b *testing.B) {
	const records, keys = 1_000_000, 100_000
	dir := b.TempDir()
	open := func() *Driver {
		d, err := New(Config{}, dir, obs.Scope{})
		if err != nil {
			b.Fatal(err)
		}
		return d
	}
	topic := driver.Topic{Name: "alerts.v1", Kind: driver.Latest, Partitions: 8, Keep: 90 * 24 * time.Hour, History: 16, MaxBytes: 4 << 30}
	d := open()
	if err := d.Ensure(b.Context(), []driver.Topic{topic}); err != nil {
		b.Fatal(err)
	}
	for n := 0; n < records; n += 2000 {
		some := make([]driver.Record, 2000)
		for i := range some {
			k := (n + i) % keys
			some[i] = driver.Record{
				Topic: topic.Name, Partition: k % 8, Key: fmt.Sprint("alert-", k), Value: fmt.Appendf(make([]byte, 0, 400), "%400d", n+i),
				Headers: []driver.Header{{Name: "kemi-word", Value: "dev.kemi.alert.v1"}, {Name: "content-type", Value: "application/cloudevents+json"}},
			}
		}
		if err := d.Publish(b.Context(), some, nil); err != nil {
			b.Fatal(err)
		}
	}
	d.Close()
	b.ResetTimer()
	for range b.N {
		d := open()
		begun, before := time.Now(), buscheck.CPU()
		if err := d.Ensure(b.Context(), []driver.Topic{topic}); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(time.Since(begun).Seconds(), "s/servers")
		f, err := d.Subscribe(b.Context(), driver.Subscription{Topic: topic.Name, Start: driver.Start{Snapshot: true}})
		if err != nil {
			b.Fatal(err)
		}
		got, caught := 0, false
		for !caught {
			ds, err := f.Next(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			for _, x := range ds {
				if caught = x.Event == driver.CaughtUp; !caught {
					got++
				}
			}
		}
		if got != keys {
			b.Fatalf("%d records of %d keys", got, keys)
		}
		b.ReportMetric(time.Since(begun).Seconds(), "s/start")
		b.ReportMetric((buscheck.CPU() - before).Seconds(), "cpu-s/start")
		b.StopTimer()
		d.Close()
		b.StartTimer()
	}
}
