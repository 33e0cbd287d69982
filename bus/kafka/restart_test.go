package kafka

import (
	"context"
	"fmt"
	"testing"
	"time"

	"kemi.dev/kemi/bus/driver"
)

// next returns the next records of a feed, events left out.
func next(t testing.TB, f driver.Feed, n int) []driver.Delivery {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	var out []driver.Delivery
	for len(out) < n {
		ds, err := f.Next(ctx)
		if err != nil {
			t.Fatalf("after %d of %d: %v", len(out), n, err)
		}
		for _, d := range ds {
			if d.Event == driver.Data {
				out = append(out, d)
			}
		}
	}
	return out
}

func TestReplaysAndPublishingGoOnAfterARestartOfTheBroker(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := fake(t, dir)
	address := c.ListenAddrs()[0]
	port := portOf(t, address)
	d := dialled(t, Config{Brokers: []string{address}})
	if err := d.Ensure(t.Context(), []driver.Topic{{Name: "log", Partitions: 2}}); err != nil {
		t.Fatal(err)
	}
	f, err := d.Subscribe(t.Context(), driver.Subscription{Topic: "log"})
	if err != nil {
		t.Fatal(err)
	}
	for round := range 5 {
		want := fmt.Sprint(round)
		done := make(chan error)
		go func() {
			done <- d.Publish(t.Context(), []driver.Record{{Topic: "log", Partition: 1, Key: "k", Value: []byte(want)}}, nil)
		}()
		if round%2 == 1 {
			c.Close()
			c = fake(t, dir, port)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if got := string(next(t, f, 1)[0].Record.Value); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
}
