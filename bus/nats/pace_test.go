package nats

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/obs"
	"kemi.dev/kemi/internal/pause"
)

// publishers is how many publish at once, as pollers do.
const publishers = 16

// cpu is the processor time of this process so far, the embedded servers' included.
func cpu() time.Duration {
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

// sealed is a reading that is encoded already: what is measured is its way.
type sealed struct {
	*event.Reading
	data []byte
}

func (s sealed) Encode() ([]byte, error) { return s.data, nil }

// paced publishes n readings by some at once, so many in one call.
func paced(b *testing.B, n, atOnce int, publish func(from, to int) error) {
	var next atomic.Int64
	var group sync.WaitGroup
	for range publishers {
		group.Go(func() {
			for {
				to := int(next.Add(int64(atOnce)))
				from := to - atOnce
				if from >= n {
					return
				}
				if err := publish(from, min(to, n)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
}

// counting hands events of a partition to a counter.
type counting struct{ n *atomic.Int64 }

func (c counting) Handle(_ context.Context, batch []bus.Message[event.Reading]) error {
	c.n.Add(int64(len(batch)))
	return nil
}
func (c counting) Tick(context.Context, time.Time) error { return nil }

// Readings of 4 kB through bus.Bus, from the publishers to a group, and the same bytes with nats.go alone on the same
// server, published one by one or fifty at a time (by nats.go asynchronously), each acknowledged, and consumed with
// acknowledgements. Both begin with an encoded reading, and compress, decompress and decode it. Reported is the processor
// time of each for one reading, servers included, and its ratio.
func BenchmarkPublishConsume(b *testing.B) {
	for _, atOnce := range []int{1, 50} {
		b.Run(fmt.Sprint(atOnce), func(b *testing.B) { publishConsume(b, atOnce) })
	}
}

func publishConsume(b *testing.B, atOnce int) {
	d := embedded(b, b.TempDir())
	d.tuning = defaults()
	hallway := bus.New(d, bus.Settings{}, obs.Scope{})
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	if err := hallway.Open(ctx); err != nil {
		b.Fatal(err)
	}
	var got atomic.Int64
	var group sync.WaitGroup
	group.Go(func() {
		err := bus.Own(ctx, hallway, "g", bus.Options{}, func(context.Context, *bus.Ownership) (bus.Handler[event.Reading], error) { return counting{&got}, nil })
		if err != nil {
			b.Error(err)
		}
	})
	defer group.Wait()
	defer cancel()

	js := d.links[process].js
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{
		Name: "bare", Subjects: []string{"bare.*.*"}, MaxBytes: 4 << 30, Discard: jetstream.DiscardOld, MaxAge: 6 * time.Hour, Duplicates: dedupe,
	}); err != nil {
		b.Fatal(err)
	}
	consumer, err := js.CreateConsumer(ctx, "bare", jetstream.ConsumerConfig{Durable: "g", AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: 10000})
	if err != nil {
		b.Fatal(err)
	}
	var bareGot atomic.Int64
	consuming, err := consumer.Consume(func(m jetstream.Msg) {
		data, err := s2.Decode(nil, m.Data())
		if err == nil {
			err = new(event.Reading).Decode(data)
		}
		if err != nil {
			b.Error(err)
		}
		bareGot.Add(1)
		_ = m.Ack()
	})
	if err != nil {
		b.Fatal(err)
	}
	defer consuming.Stop()

	all := make([]sealed, b.N)
	for i := range all {
		r := reading(i)
		data, err := r.Encode()
		if err != nil {
			b.Fatal(err)
		}
		all[i] = sealed{r, data}
	}
	b.SetBytes(int64(len(all[0].data)))
	b.ResetTimer()
	before := cpu()
	paced(b, b.N, atOnce, func(from, to int) error {
		var answers []jetstream.PubAckFuture
		for i := from; i < to; i++ {
			m := nats.NewMsg("bare." + fmt.Sprint(i%8) + "." + all[i].Target)
			m.Header.Set(nats.MsgIdHdr, all[i].JobID)
			m.Data = s2.Encode(nil, all[i].data)
			if atOnce == 1 {
				_, err := js.PublishMsg(ctx, m)
				return err
			}
			answer, err := js.PublishMsgAsync(m)
			if err != nil {
				return err
			}
			answers = append(answers, answer)
		}
		for _, a := range answers {
			select {
			case <-a.Ok():
			case err := <-a.Err():
				return err
			}
		}
		return nil
	})
	for bareGot.Load() < int64(b.N) && pause.For(ctx, time.Millisecond) {
	}
	bare := cpu() - before
	before = cpu()
	paced(b, b.N, atOnce, func(from, to int) error {
		some := make([]event.Event, 0, to-from)
		for i := from; i < to; i++ {
			some = append(some, all[i])
		}
		return hallway.Publish(ctx, some...)
	})
	for got.Load() < int64(b.N) && pause.For(ctx, time.Millisecond) {
	}
	ours := cpu() - before
	b.ReportMetric(float64(bare.Microseconds())/float64(b.N), "bare-cpu-µs/reading")
	b.ReportMetric(float64(ours.Microseconds())/float64(b.N), "bus-cpu-µs/reading")
	b.ReportMetric(float64(ours)/float64(bare), "ratio")
}

// Jobs through bus.Bus: published fifty at a time as a scheduler does, taken by a collector's worth of hands, and
// acknowledged one by one.
func BenchmarkWorkThroughTheBus(b *testing.B) {
	d := embedded(b, b.TempDir())
	d.tuning = defaults()
	hallway := bus.New(d, bus.Settings{}, obs.Scope{})
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	if err := hallway.Open(ctx); err != nil {
		b.Fatal(err)
	}
	var done atomic.Int64
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	group.Go(func() {
		err := bus.Work(ctx, hallway, event.JobsTopic(event.DefaultZone), "collector", 1000, func(context.Context, bus.Message[event.Job]) error {
			done.Add(1)
			return nil
		})
		if err != nil {
			b.Error(err)
		}
	})
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu()
	for n := 0; n < b.N; n += 50 {
		var some []event.Event
		now := time.Now()
		for i := range min(50, b.N-n) {
			some = append(some, &event.Job{
				Target: fmt.Sprintf("switch-%d", n+i), Check: "interfaces", Kind: "snmp", Address: "10.0.0.1", Slot: now, Deadline: now.Add(time.Minute), Interval: time.Minute,
				Cause: event.CauseSchedule, Labels: event.LabelsOf(map[string]string{"site": "a", "team": "net", "rack": "r1"}), Zone: event.DefaultZone,
			})
		}
		if err := hallway.Publish(ctx, some...); err != nil {
			b.Fatal(err)
		}
	}
	for done.Load() < int64(b.N) && pause.For(ctx, time.Millisecond) {
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
	b.ReportMetric(float64((cpu()-before).Microseconds())/float64(b.N), "cpu-µs/job")
}
