package collector

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/bus/mem"
	"kemi.dev/kemi/internal/obs"
	"kemi.dev/kemi/internal/simulate"
)

// BenchmarkLiveTargetsAmongDeadOnes polls 500 simulated switches over the bus, one slot of five seconds an iteration. 75
// are down and 75 answer after three seconds; reported is how late the polls of the other 350 begin.
func BenchmarkLiveTargetsAmongDeadOnes(b *testing.B) {
	const targets, dead, slow, interval = 500, 75, 75, 5 * time.Second
	listen := simulate.Listen{Prefix: netip.MustParsePrefix("127.79.0.0/16")}
	devices, err := simulate.Uniform(targets, simulate.Switch, 24, listen)
	if err != nil {
		b.Fatal(err)
	}
	fleet, err := simulate.New(simulate.Config{Listen: listen, Devices: devices})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	run := func(f func(context.Context) error) {
		group.Go(func() {
			if err := f(ctx); err != nil {
				b.Error(err)
			}
		})
	}
	run(fleet.Run)
	<-fleet.Ready()
	devices = fleet.Devices()
	for i := range dead + slow {
		fault := simulate.Fault{Kind: simulate.Down}
		if i >= dead {
			fault = simulate.Fault{Kind: simulate.Slow, Duration: 3 * time.Second}
		}
		if err := fleet.Fault(devices[i].ID, fault); err != nil {
			b.Fatal(err)
		}
	}
	broker := bus.New(mem.New(), bus.Settings{}, obs.Scope{})
	if err := broker.Open(ctx); err != nil {
		b.Fatal(err)
	}
	defer broker.Close()
	room, problems := New(Options{Bus: broker, Credentials: credentials(b, "lab: {snmp: {community: public}}")})
	if err := problems.Err(); err != nil {
		b.Fatal(err)
	}
	run(room.Run)
	readings := make(chan *event.Reading, 4*targets)
	run(func(ctx context.Context) error {
		return bus.Follow(ctx, broker, bus.From{}, func(m bus.Message[event.Reading]) error {
			readings <- m.Event
			return nil
		}, nil)
	})

	alive := map[string]bool{}
	for _, d := range devices[dead+slow:] {
		alive[d.ID] = true
	}
	var delays []time.Duration
	said, heard := 0, 0
	take := func(r *event.Reading) {
		heard++
		if alive[r.Target] {
			if r.Status != event.StatusOK {
				b.Errorf("%s: %s, %s", r.Target, r.Status, r.Message)
			}
			delays = append(delays, r.Started.Sub(r.Slot))
		}
	}
	ticker := time.NewTicker(interval / targets)
	defer ticker.Stop()
	for b.Loop() {
		for i := range devices {
			<-ticker.C
			now := time.Now()
			j := &event.Job{
				Target: devices[i].ID, Check: "snmp", Kind: "snmp", Profile: "interfaces", Credential: "lab", Address: devices[i].Addr.String(),
				Slot: now, Deadline: now.Add(interval), Interval: interval, Cause: event.CauseSchedule, AskedBy: fmt.Sprint(said),
			}
			if err := broker.Publish(ctx, j); err != nil {
				b.Fatal(err)
			}
			said++
			for len(readings) > 0 {
				take(<-readings)
			}
		}
	}
	for heard < said {
		select {
		case r := <-readings:
			take(r)
		case <-time.After(3 * interval):
			b.Fatalf("%d outcomes of %d jobs", heard, said)
		}
	}
	slices.Sort(delays)
	p99 := delays[len(delays)*99/100]
	b.ReportMetric(float64(p99.Microseconds())/1000, "p99-start-ms")
	b.ReportMetric(float64(delays[len(delays)-1].Microseconds())/1000, "max-start-ms")
	if p99 > time.Second {
		b.Errorf("live targets start %s late at the 99th percentile, at most 1s is wanted", p99)
	}
}
