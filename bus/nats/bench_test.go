package nats

import (
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/internal/brokers"
	"kemi.dev/kemi/internal/obs"
)

func benchmarked(b *testing.B) *Driver {
	d := embedded(b, b.TempDir())
	d.tuning = defaults()
	for _, t := range []driver.Topic{
		{Name: "log", Partitions: 1, MaxBytes: 4 << 30, DropOldest: true},
		{Name: "sync", Partitions: 1, MaxBytes: 4 << 30, DropOldest: true, Sync: true},
		{Name: "work", Kind: driver.Work, Partitions: 8, MaxBytes: 4 << 30, DropOldest: true},
	} {
		if err := d.Ensure(b.Context(), []driver.Topic{t}); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	return d
}

func fill(topic string, n, size int) []driver.Record {
	all := make([]driver.Record, n)
	for i := range all {
		all[i] = driver.Record{
			Topic: topic, Key: fmt.Sprint("target-", i), Value: make([]byte, size),
			Headers: []driver.Header{{Name: "kemi-word", Value: "dev.kemi.reading.v1"}, {Name: "content-type", Value: "application/protobuf"}},
		}
	}
	return all
}

// One 4 kB record a call, as a poller publishes readings.
func BenchmarkPublish(b *testing.B) {
	for _, topic := range []string{"log", "sync"} {
		b.Run(topic, func(b *testing.B) {
			d := benchmarked(b)
			b.SetBytes(4096)
			b.ReportAllocs()
			b.SetParallelism(8)
			b.RunParallel(func(p *testing.PB) {
				one := fill(topic, 1, 4096)
				for p.Next() {
					if err := d.Publish(b.Context(), one, nil); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

// Many that wait for the disk at once.
func BenchmarkPublishSyncedByMany(b *testing.B) {
	for _, callers := range []int{1, 8, 64} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			d := benchmarked(b)
			b.ReportAllocs()
			var next atomic.Int64
			var all sync.WaitGroup
			for range callers {
				all.Go(func() {
					one := fill("sync", 1, 1024)
					for next.Add(1) <= int64(b.N) {
						if err := d.Publish(b.Context(), one, nil); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			all.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

// A hundred records of 4 kB a call.
func BenchmarkPublishMany(b *testing.B) {
	for _, topic := range []string{"log", "sync"} {
		b.Run(topic, func(b *testing.B) {
			d := benchmarked(b)
			b.SetBytes(4096)
			b.ReportAllocs()
			many := fill(topic, 100, 4096)
			for n := 0; n < b.N; n += 100 {
				if err := d.Publish(b.Context(), many, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// From the stream to a group's member, with a commit of each record.
func BenchmarkConsume(b *testing.B) {
	d := benchmarked(b)
	b.SetBytes(4096)
	for n := 0; n < b.N; n += 500 {
		if err := d.Publish(b.Context(), fill("log", min(500, b.N-n), 4096), nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	f, err := d.Subscribe(b.Context(), driver.Subscription{Topic: "log", Group: "g"})
	if err != nil {
		b.Fatal(err)
	}
	for n := 0; n < b.N; {
		ds, err := f.Next(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		for _, x := range ds {
			if x.Event != driver.Data {
				continue
			}
			if err := f.Ack(b.Context(), x); err != nil {
				b.Fatal(err)
			}
			n++
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

// CPU time of a record of 1 kB from Publish, in calls of 250 under a fence, to a group's member that acknowledges the last of
// what it was handed, as the rooms do: by itself, beside a follower of everything, and beside one of a key that none has.
func BenchmarkThrough(b *testing.B) {
	b.Run("alone", func(b *testing.B) { through(b, nil) })
	b.Run("followed", func(b *testing.B) { through(b, &driver.Subscription{Topic: "log"}) })
	b.Run("followed by key", func(b *testing.B) { through(b, &driver.Subscription{Topic: "log", Keys: []string{"none"}}) })
}

func through(b *testing.B, beside *driver.Subscription) {
	d := benchmarked(b)
	fence := assigned(b, d, "work2")
	f, err := d.Subscribe(b.Context(), driver.Subscription{Topic: "log", Group: "g"})
	if err != nil {
		b.Fatal(err)
	}
	if beside != nil {
		other, err := d.Subscribe(b.Context(), *beside)
		if err != nil {
			b.Fatal(err)
		}
		var reading sync.WaitGroup
		reading.Go(func() {
			for err := error(nil); err == nil; {
				_, err = other.Next(b.Context())
			}
		})
		defer reading.Wait()
		defer other.Close()
	}
	many := fill("log", 250, 1024)
	var before, after syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &before); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	failed := make(chan error, 1)
	go func() {
		for n := 0; n < b.N; n += len(many) {
			for i := range many {
				many[i].ID = fmt.Sprintf("identity-of-a-record-%d", n+i)
			}
			if err := d.Publish(b.Context(), many[:min(len(many), b.N-n)], fence); err != nil {
				failed <- err
				return
			}
		}
		failed <- nil
	}()
	for n := 0; n < b.N; {
		ds, err := f.Next(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		for i, x := range ds {
			if x.Event != driver.Data {
				continue
			}
			if n++; i == len(ds)-1 {
				if err := f.Ack(b.Context(), x); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	if err := <-failed; err != nil {
		b.Fatal(err)
	}
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &after); err != nil {
		b.Fatal(err)
	}
	cpu := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
	b.ReportMetric(float64(cpu)/1e3/float64(b.N), "cpu-µs/record")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

// A job published (in calls of fifty), taken and acknowledged.
func BenchmarkWork(b *testing.B) {
	d := benchmarked(b)
	f, err := d.Subscribe(b.Context(), driver.Subscription{Topic: "work", Group: "g"})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	failed := make(chan error, 1)
	go func() {
		for n := 0; n < b.N; n += 50 {
			if err := d.Publish(b.Context(), fill("work", min(50, b.N-n), 500), nil); err != nil {
				failed <- err
				return
			}
		}
		failed <- nil
	}()
	for n := 0; n < b.N; {
		ds, err := f.Next(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		for _, x := range ds {
			if err := f.Ack(b.Context(), x); err != nil {
				b.Fatal(err)
			}
		}
		n += len(ds)
	}
	if err := <-failed; err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
}

// What a fence costs: one and a hundred records of 1 kB a call, under a fence and without.
func BenchmarkFenced(b *testing.B) {
	for _, topic := range []string{"log", "sync"} {
		for _, n := range []int{1, 100} {
			for _, fenced := range []bool{false, true} {
				b.Run(fmt.Sprintf("%s/%d/%v", topic, n, fenced), func(b *testing.B) {
					d := benchmarked(b)
					var fence *driver.Fence
					if fenced {
						fence = assigned(b, d, "work2")
					}
					b.SetBytes(1024)
					b.ReportAllocs()
					many := fill(topic, n, 1024)
					b.ResetTimer()
					for done := 0; done < b.N; done += n {
						if err := d.Publish(b.Context(), many, fence); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		}
	}
}

// What a fence costs in a cluster of three, where a stream takes one conditional record of a fence at a time: a call of one
// and of a hundred records of 1 kB, under a fence and without.
func BenchmarkFencedInACluster(b *testing.B) {
	c := brokers.NATS(b, 3)
	d, err := New(Config{URLs: c.URLs, Replicas: 3}, "", obs.Scope{})
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	if err := d.Ensure(b.Context(), []driver.Topic{
		{Name: "log", Partitions: 1, MaxBytes: 1 << 30, DropOldest: true}, {Name: "sync", Partitions: 1, MaxBytes: 1 << 20, DropOldest: true},
	}); err != nil {
		b.Fatal(err)
	}
	fence := assigned(b, d, "work2")
	for _, n := range []int{1, 100} {
		for _, f := range []*driver.Fence{nil, fence} {
			b.Run(fmt.Sprintf("%d/%v", n, f != nil), func(b *testing.B) {
				many := fill("log", n, 1024)
				for b.Loop() {
					if err := d.Publish(b.Context(), many, f); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "records/s")
			})
		}
	}
}

// assigned makes a topic and owns its partition.
func assigned(b *testing.B, d *Driver, topic string) *driver.Fence {
	if err := d.Ensure(b.Context(), []driver.Topic{{Name: topic, Partitions: 1, MaxBytes: 1 << 20}}); err != nil {
		b.Fatal(err)
	}
	f, err := d.Subscribe(b.Context(), driver.Subscription{Topic: topic, Group: "g", Writes: []string{"log", "sync"}})
	if err != nil {
		b.Fatal(err)
	}
	ds, err := f.Next(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	return &driver.Fence{Topic: topic, Group: "g", Epoch: ds[0].Epoch}
}
