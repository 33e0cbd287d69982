package kafka

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"kemi.dev/kemi/bus/buscheck"
	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/internal/brokers"
	"kemi.dev/kemi/internal/obs"
)

// measured runs what and reports the CPU of this process for each of b.N records.
func measured(b *testing.B, what func()) {
	b.Helper()
	b.ResetTimer()
	before := buscheck.CPU()
	what()
	b.ReportMetric(float64(buscheck.CPU()-before)/float64(b.N), "cpu-ns/op")
	b.StopTimer()
}

const inCall = 100 // Records of one call.

// benches are a topic of each kind of client on one broker.
func benches(b *testing.B) (*Driver, []string) {
	b.Helper()
	k := brokers.Kafka(b, 1)
	d, err := New(Config{Brokers: k.Addrs}, "", obs.Scope{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { d.Close() })
	if err := d.Ensure(b.Context(), []driver.Topic{{Name: "bare", Partitions: 8}, {Name: "driver", Partitions: 8}}); err != nil {
		b.Fatal(err)
	}
	return d, k.Addrs
}

// BenchmarkPublish stores records of 4 kB, 100 in a call, in 8 partitions: through kafka-go's Writer, and through the
// driver.
func BenchmarkPublish(b *testing.B) {
	d, addrs := benches(b)
	value := bytes.Repeat([]byte("0123456789abcdef"), 256)
	b.Run("bare", func(b *testing.B) {
		w := &kafkago.Writer{
			Addr: kafkago.TCP(addrs...), Topic: "kemi.bare", RequiredAcks: kafkago.RequireAll, BatchTimeout: 5 * time.Millisecond, BatchSize: inCall,
			Balancer: kafkago.Murmur2Balancer{Consistent: true},
		}
		defer w.Close()
		measured(b, func() {
			for n := 0; n < b.N; n += inCall {
				some := make([]kafkago.Message, min(inCall, b.N-n))
				for i := range some {
					some[i] = kafkago.Message{Key: fmt.Append(nil, "device-", i), Value: value, Headers: []kafkago.Header{{Key: "content-type", Value: []byte("application/protobuf")}, {Key: "kemi-word", Value: []byte("dev.kemi.reading.v1")}}}
				}
				if err := w.WriteMessages(b.Context(), some...); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
	b.Run("driver", func(b *testing.B) {
		measured(b, func() {
			for n := 0; n < b.N; n += inCall {
				some := make([]driver.Record, min(inCall, b.N-n))
				for i := range some {
					some[i] = driver.Record{Topic: "driver", Partition: i % 8, Key: fmt.Sprint("device-", i), Value: value, Headers: []driver.Header{{Name: "content-type", Value: "application/protobuf"}, {Name: "kemi-word", Value: "dev.kemi.reading.v1"}}}
				}
				if err := d.Publish(b.Context(), some, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
}

// bare is kafka-go alone: its Writer and its group reader.
type bare struct {
	w *kafkago.Writer
	r *kafkago.Reader
}

func (b bare) Publish(ctx context.Context, some []buscheck.Sealed) error {
	ms := make([]kafkago.Message, len(some))
	for i, s := range some {
		ms[i] = kafkago.Message{Key: []byte(s.Target), Value: s.Packed()}
	}
	return b.w.WriteMessages(ctx, ms...)
}

func (b bare) Consume(ctx context.Context, f func([]byte)) error {
	for {
		m, err := b.r.FetchMessage(ctx)
		if err != nil {
			return err
		}
		f(m.Value)
		if err := b.r.CommitMessages(ctx, m); err != nil { // In the background, every second.
			return err
		}
	}
}

// Readings of 4 kB through bus.Bus, and the same bytes with kafka-go alone on the same broker; see buscheck.Pace.
func BenchmarkPublishConsume(b *testing.B) {
	d, addrs := benches(b)
	w := &kafkago.Writer{
		Addr: kafkago.TCP(addrs...), Topic: "kemi.bare", RequiredAcks: kafkago.RequireAll, BatchTimeout: time.Millisecond, Balancer: kafkago.Murmur2Balancer{Consistent: true},
	}
	defer w.Close()
	r := kafkago.NewReader(kafkago.ReaderConfig{
		Brokers: addrs, GroupID: "bare", Topic: "kemi.bare", MaxBytes: 1 << 20, MaxWait: 100 * time.Millisecond, StartOffset: kafkago.FirstOffset, CommitInterval: time.Second,
	})
	defer r.Close()
	buscheck.Pace(b, d, bare{w, r})
}

// BenchmarkConsume reads records of 4 kB of 8 partitions: through kafka-go's Readers, and through a replay of the driver.
func BenchmarkConsume(b *testing.B) {
	d, addrs := benches(b)
	value := bytes.Repeat([]byte("0123456789abcdef"), 256)
	stored := 0
	fill := func(b *testing.B) {
		for stored < b.N {
			some := make([]driver.Record, 800)
			for i := range some {
				some[i] = driver.Record{Topic: "driver", Partition: i % 8, Key: fmt.Sprint("device-", i), Value: value, Headers: []driver.Header{{Name: "content-type", Value: "application/protobuf"}, {Name: "kemi-word", Value: "dev.kemi.reading.v1"}}}
			}
			if err := d.Publish(b.Context(), some, nil); err != nil {
				b.Fatal(err)
			}
			stored += len(some)
		}
	}
	b.Run("bare", func(b *testing.B) {
		fill(b)
		measured(b, func() {
			ctx, cancel := context.WithCancel(b.Context())
			defer cancel()
			var seen atomic.Int64
			done := make(chan struct{}, 8)
			for p := range 8 {
				r := kafkago.NewReader(kafkago.ReaderConfig{Brokers: addrs, Topic: "kemi.driver", Partition: p, MaxBytes: 1 << 20, MaxWait: 100 * time.Millisecond})
				go func() {
					defer func() { done <- struct{}{} }()
					defer r.Close()
					for seen.Load() < int64(b.N) {
						if _, err := r.ReadMessage(ctx); err != nil {
							return
						}
						if seen.Add(1) == int64(b.N) {
							cancel()
						}
					}
				}()
			}
			for range 8 {
				<-done
			}
		})
	})
	b.Run("driver", func(b *testing.B) {
		fill(b)
		measured(b, func() {
			f, err := d.Subscribe(b.Context(), driver.Subscription{Topic: "driver"})
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			for seen := 0; seen < b.N; {
				ds, err := f.Next(b.Context())
				if err != nil {
					b.Fatal(err)
				}
				seen += len(ds)
			}
		})
	})
}

// BenchmarkSnapshot reads what 1,000,000 records of 100,000 keys left, some 300 bytes each.
func BenchmarkSnapshot(b *testing.B) {
	d, _ := benches(b)
	t := driver.Topic{Name: "latest", Kind: driver.Latest, Partitions: 4}
	if err := d.Ensure(b.Context(), []driver.Topic{t}); err != nil {
		b.Fatal(err)
	}
	value := []byte(strings.Repeat("x", 300))
	for range 10 {
		for n := 0; n < 100_000; n += 1000 {
			some := make([]driver.Record, 1000)
			for i := range some {
				some[i] = driver.Record{Topic: t.Name, Partition: (n + i) % 4, Key: fmt.Sprint("target/", n+i), Value: value}
			}
			if err := d.Publish(b.Context(), some, nil); err != nil {
				b.Fatal(err)
			}
		}
	}
	before := buscheck.CPU()
	b.ResetTimer()
	defer func() { b.ReportMetric((buscheck.CPU()-before).Seconds()/float64(b.N), "cpu-s/op") }()
	for b.Loop() {
		f, err := d.Subscribe(b.Context(), driver.Subscription{Topic: t.Name, Start: driver.Start{Snapshot: true}})
		if err != nil {
			b.Fatal(err)
		}
		keys := 0
		for caught := false; !caught; {
			ds, err := f.Next(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			for i := range ds {
				if ds[i].Event == driver.CaughtUp {
					caught = true
				} else {
					keys++
				}
			}
		}
		f.Close()
		if keys != 100_000 {
			b.Fatalf("%d keys", keys)
		}
	}
}
