package bus_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/bus/mem"
	"kemi.dev/kemi/internal/journal"
	"kemi.dev/kemi/internal/obs"
)

// small is a broker whose topics have 100 kB, and which remembers what was asked for.
type small struct {
	*mem.Driver
	asked map[string]driver.Topic
}

func (s *small) Ensure(ctx context.Context, topics []driver.Topic) error {
	for i := range topics {
		s.asked[topics[i].Name] = topics[i]
		topics[i].MaxBytes = 100_000
	}
	return s.Driver.Ensure(ctx, topics)
}

// observed is a bus over a small broker, with its log and its metrics.
func observed(t *testing.T) (*bus.Bus, *small, *journal.Journal, *prometheus.Registry) {
	t.Helper()
	d, log, reg := &small{mem.New(), map[string]driver.Topic{}}, &journal.Journal{}, prometheus.NewRegistry()
	b := bus.New(d, bus.Settings{}, obs.New(slog.New(slog.NewTextHandler(log, nil)), reg))
	if err := b.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b, d, log, reg
}

// metric returns the values of a metric by its label values, joined with commas in the order of their names.
func metric(t *testing.T, reg *prometheus.Registry, name string) map[string]float64 {
	t.Helper()
	all, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range all {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			out[strings.Join(labels, ",")] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return out
}

func TestTopicsThatRefuseKeepABoundedHistoryPerKey(t *testing.T) {
	_, d, _, _ := observed(t)
	for _, name := range []string{"alerts.v1", "incidents.v1", "pages.v1"} {
		if got := d.asked[name]; got.History != 16 || got.DropOldest {
			t.Errorf("%+v", got)
		}
	}
	if got := d.asked["targets.v1"].PerKey(); got != 1 {
		t.Errorf("%d of each target", got)
	}
	if got := d.asked["commands.v1"].PerKey(); got != 0 {
		t.Errorf("%d of each command", got)
	}
}

func TestATopicThatIsNearlyFullIsSaidOnceAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _, log, reg := observed(t)
		defer watching(t, b)()
		const warning = "a topic is nearly full"
		put := func(i int) error {
			c := command(i, fmt.Sprint("core-", i))
			c.Comment = strings.Repeat("x", 9000)
			defer synctest.Wait()
			return b.Publish(t.Context(), c)
		}
		for i := range 5 {
			if err := put(i); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(30*time.Second + time.Millisecond) // When it was looked at anew.
		first := metric(t, reg, "kemi_bus_topic_bytes")["commands.v1"]
		if limit := metric(t, reg, "kemi_bus_topic_limit_bytes")["commands.v1"]; limit != 100_000 || first < 45_000 || first > 60_000 {
			t.Fatalf("%v of %v bytes", first, limit)
		}
		time.Sleep(30 * time.Second)
		var err error
		for i := 5; err == nil; i++ {
			if err = put(i); log.Count(warning) > 0 && i < 8 {
				t.Fatalf("warned after %d", i)
			}
			time.Sleep(30 * time.Second)
		}
		if got := metric(t, reg, "kemi_bus_topic_bytes")["commands.v1"]; got < 80_000 || log.Count(warning) != 1 || log.Count("topic=commands.v1") == 0 {
			t.Fatalf("%v bytes, %d warnings when the topic is full (%v)", got, log.Count(warning), err)
		}
		for i := range 130 {
			if put(100+i) == nil {
				t.Fatal("a full topic took more")
			}
			time.Sleep(time.Minute)
		}
		if got := log.Count(warning); got != 3 {
			t.Errorf("%d warnings in 2 h 10 min, want 3", got)
		}
	})
}

func TestATopicThatForgetsIsNotSaidToBeFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _, log, reg := observed(t)
		defer watching(t, b)()
		for i := range 100 {
			r := event.ReadingFor(job(i))
			r.Message = fmt.Sprint(i, strings.Repeat("?", 900))
			if err := b.Publish(t.Context(), r, r, r); err != nil {
				t.Fatal(err)
			}
			if err := b.Publish(t.Context(), job(i)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(31 * time.Second)
		}
		if log.Count("nearly full") != 0 || metric(t, reg, "kemi_bus_topic_bytes")["readings.v1"] == 0 {
			t.Errorf("%d warnings, %v", log.Count("nearly full"), metric(t, reg, "kemi_bus_topic_bytes"))
		}
	})
}
