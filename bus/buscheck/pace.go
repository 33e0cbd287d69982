package buscheck

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/obs"
	"kemi.dev/kemi/internal/pause"
)

// publishers is how many publish at once, as pollers do.
const publishers = 16

// Bare is the client library alone, on the same broker as the driver under measure.
type Bare interface {
	// Publish stores records and returns when all are.
	Publish(ctx context.Context, some []Sealed) error
	// Consume hands over the value of every record, and acknowledges it when f returned, until ctx ends.
	Consume(ctx context.Context, f func(value []byte)) error
}

// Sealed is a reading that is encoded already, of some 4 kB: what is measured is its way.
type Sealed struct {
	*event.Reading
	data []byte
}

// Encode implements event.Event.
func (s Sealed) Encode() ([]byte, error) { return s.data, nil }

// Packed is the reading as Kemi's drivers would store it.
func (s Sealed) Packed() []byte { return s2.Encode(nil, s.data) }

// Pace reports what a reading costs through bus.Bus, from the publishers to a group, and with the client library alone,
// published one by one or fifty at a time, stored and acknowledged. Both begin with an encoded reading, and compress,
// decompress and decode it. It reports the processor time of this process for one reading of each, and their ratio.
func Pace(b *testing.B, d driver.Driver, bare Bare) {
	hallway := bus.New(d, bus.Settings{}, obs.Scope{})
	ctx, cancel := context.WithCancel(b.Context())
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	if err := hallway.Open(ctx); err != nil {
		b.Fatal(err)
	}
	var ours, theirs atomic.Int64
	group.Go(func() {
		member := func(context.Context, *bus.Ownership) (bus.Handler[event.Reading], error) { return counting{&ours}, nil }
		if err := bus.Own(ctx, hallway, "g", bus.Options{}, member); err != nil {
			b.Error(err)
		}
	})
	group.Go(func() {
		err := bare.Consume(ctx, func(value []byte) {
			data, err := s2.Decode(nil, value)
			if err == nil {
				err = new(event.Reading).Decode(data)
			}
			if err != nil {
				b.Error(err)
			}
			theirs.Add(1)
		})
		if err != nil && ctx.Err() == nil {
			b.Error(err)
		}
	})
	for _, atOnce := range []int{1, 50} {
		b.Run(fmt.Sprint(atOnce), func(b *testing.B) {
			all := make([]Sealed, b.N)
			for i := range all {
				r := reading(i)
				data, err := r.Encode()
				if err != nil {
					b.Fatal(err)
				}
				all[i] = Sealed{r, data}
			}
			b.SetBytes(int64(len(all[0].data)))
			b.ResetTimer()
			alone := way(b, all, atOnce, &theirs, func(some []Sealed) error { return bare.Publish(ctx, some) })
			through := way(b, all, atOnce, &ours, func(some []Sealed) error {
				events := make([]event.Event, len(some))
				for i, s := range some {
					events[i] = s
				}
				return hallway.Publish(ctx, events...)
			})
			b.ReportMetric(float64(alone.Microseconds())/float64(b.N), "bare-cpu-µs/reading")
			b.ReportMetric(float64(through.Microseconds())/float64(b.N), "bus-cpu-µs/reading")
			b.ReportMetric(float64(through)/float64(alone), "ratio")
		})
	}
}

// way publishes all, so many in one call, waits until they arrived, and returns the processor time of it.
func way(b *testing.B, all []Sealed, atOnce int, arrived *atomic.Int64, publish func([]Sealed) error) time.Duration {
	b.Helper()
	before, begun := arrived.Load(), CPU()
	var next atomic.Int64
	var group sync.WaitGroup
	for range publishers {
		group.Go(func() {
			for {
				to := int(next.Add(int64(atOnce)))
				from := to - atOnce
				if from >= len(all) {
					return
				}
				if err := publish(all[from:min(to, len(all))]); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	for arrived.Load()-before < int64(len(all)) && !b.Failed() && pause.For(b.Context(), time.Millisecond) {
	}
	return CPU() - begun
}

// CPU is the processor time of this process so far, with the servers that are embedded in it.
func CPU() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// reading is a poll of a switch, of some 4 kB when encoded.
func reading(i int) *event.Reading {
	now := time.Now()
	r := &event.Reading{
		JobID: fmt.Sprintf("job-%d-%d", i, now.UnixNano()), Target: fmt.Sprintf("switch-%d", i%500), Check: "interfaces", Kind: "snmp", Status: event.StatusOK,
		Slot: now, Started: now, Duration: 40 * time.Millisecond, Interval: time.Minute,
	}
	const rows = 48
	t := event.Table{Name: "interfaces", Rows: rows, Index: []event.IndexColumn{{Name: "interface"}}}
	for row := range rows {
		t.Index[0].Values = append(t.Index[0].Values, fmt.Sprintf("GigabitEthernet1/0/%d", row))
	}
	for _, name := range []string{"in_bytes", "out_bytes", "in_packets", "out_packets", "in_errors", "out_errors"} {
		c := event.Column{Name: name, Kind: event.Counter}
		for row := range rows {
			c.Counters = append(c.Counters, uint64(row*i+1)*0x9e3779b97f4a7c15>>8)
		}
		t.Columns = append(t.Columns, c)
	}
	r.Tables = []event.Table{t}
	return r
}

// counting hands events of a partition to a counter.
type counting struct{ n *atomic.Int64 }

func (c counting) Handle(_ context.Context, batch []bus.Message[event.Reading]) error {
	c.n.Add(int64(len(batch)))
	return nil
}
func (c counting) Tick(context.Context, time.Time) error { return nil }
