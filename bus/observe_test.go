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
		if n, there := got["unknown"]; got["commands.v1"] != 0 || !there || n < 30 || n >= 50 {
			t.Errorf("%v dead letters when the topic has room for 48 strange ones", got)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
