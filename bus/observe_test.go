package bus_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/driver"
)

func TestWhatWaitsAndWhatIsDeadIsMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, d, _, reg := observed(t)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- b.Observe(ctx) }()
		publish(t, b, 0, 3)
		refusing(t, b, "0", "1")
		publish(t, b, 3, 10)
		time.Sleep(31 * time.Second)
		if got := metric(t, reg, "kemi_bus_group_lag_records")["g,commands.v1"]; got != 7 {
			t.Errorf("%v wait for the group, want 7", got)
		}
		if got := metric(t, reg, "kemi_bus_dead_letters")["commands.v1"]; got != 2 {
			t.Errorf("%v dead letters, want 2", got)
		}
		if _, err := b.Drop(t.Context(), list(t, b, bus.LetterFilter{})[:1], "", ""); err != nil {
			t.Fatal(err)
		}
		refusing(t, b)
		time.Sleep(31 * time.Second)
		if got := metric(t, reg, "kemi_bus_group_lag_records")["g,commands.v1"]; got != 0 {
			t.Errorf("%v wait for the group that has all", got)
		}
		if got := metric(t, reg, "kemi_bus_dead_letters")["commands.v1"]; got != 1 {
			t.Errorf("%v dead letters after one was dropped", got)
		}
		// The topic forgets its oldest records when it is full.
		for range 60 {
			if err := d.Publish(t.Context(), []driver.Record{{Topic: bus.TopicDead, Value: make([]byte, 2000)}}, nil); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(31 * time.Second)
		got := metric(t, reg, "kemi_bus_dead_letters")
		if n, there := got["dead.v1"]; got["commands.v1"] != 0 || !there || n < 30 || n >= 50 {
			t.Errorf("%v dead letters when the topic has room for 48 strange ones", got)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// watching runs Observe until its end is called.
func watching(t *testing.T, b *bus.Bus) (end func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Observe(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// What a topic holds is said by whoever observes, and by nobody else, whoever publishes: what was true once is said by none.
func TestSizesAreSaidByWhoObserves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, d, _, reg := observed(t)
		publish(t, b, 0, 3)
		synctest.Wait()
		if got := metric(t, reg, "kemi_bus_topic_bytes"); len(got) != 0 {
			t.Errorf("who only publishes says %v", got)
		}
		end := watching(t, b)
		synctest.Wait()
		first := metric(t, reg, "kemi_bus_topic_bytes")["commands.v1"]
		if limit := metric(t, reg, "kemi_bus_topic_limit_bytes")["commands.v1"]; first == 0 || limit != 100_000 {
			t.Errorf("%v of %v bytes", first, limit)
		}
		// Another process publishes.
		if err := d.Publish(t.Context(), []driver.Record{{Topic: "commands.v1", Key: "k", Value: make([]byte, 5000)}}, nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(31 * time.Second)
		if got := metric(t, reg, "kemi_bus_topic_bytes")["commands.v1"]; got < first+5000 {
			t.Errorf("%v bytes, want those of another process too, on %v", got, first)
		}
		end()
		if got := metric(t, reg, "kemi_bus_topic_bytes"); len(got) != 0 {
			t.Errorf("who observes no more says %v", got)
		}
	})
}
