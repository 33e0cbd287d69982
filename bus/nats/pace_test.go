package nats

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/buscheck"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/obs"
	"kemi.dev/kemi/internal/pause"
)

// bare is nats.go alone, on a stream like that of the readings.
type bare struct{ js jetstream.JetStream }

func (b bare) Publish(ctx context.Context, some []buscheck.Sealed) error {
	var answers []jetstream.PubAckFuture
	for _, s := range some {
		m := nats.NewMsg("bare." + s.Target)
		m.Header.Set(nats.MsgIdHdr, s.JobID)
		m.Data = s.Packed()
		if len(some) == 1 {
			_, err := b.js.PublishMsg(ctx, m)
			return err
		}
		answer, err := b.js.PublishMsgAsync(m)
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
}

func (b bare) Consume(ctx context.Context, f func([]byte)) error {
	consumer, err := b.js.CreateConsumer(ctx, "bare", jetstream.ConsumerConfig{Durable: "g", AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: 10000})
	if err != nil {
		return err
	}
	consuming, err := consumer.Consume(func(m jetstream.Msg) {
		f(m.Data())
		_ = m.Ack()
	})
	if err != nil {
		return err
	}
	<-ctx.Done()
	consuming.Stop()
	return nil
}

// Readings of 4 kB through bus.Bus, and the same bytes with nats.go alone on the same embedded server; see buscheck.Pace.
func BenchmarkPublishConsume(b *testing.B) {
	d := embedded(b, b.TempDir())
	d.tuning = defaults()
	js := d.links[process].js
	if _, err := js.CreateStream(b.Context(), jetstream.StreamConfig{
		Name: "bare", Subjects: []string{"bare.*"}, MaxBytes: 4 << 30, Discard: jetstream.DiscardOld, MaxAge: 6 * time.Hour, Duplicates: dedupe,
	}); err != nil {
		b.Fatal(err)
	}
	buscheck.Pace(b, d, bare{js})
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
	before := buscheck.CPU()
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
	b.ReportMetric(float64((buscheck.CPU()-before).Microseconds())/float64(b.N), "cpu-µs/job")
}
