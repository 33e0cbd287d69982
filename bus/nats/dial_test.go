package nats

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"kemi.dev/kemi/bus/driver"
)

// A whole process asks for a server that is gone a few times in a second, not each of its parts for itself.
func TestAServerThatIsGoneIsDialledAFewTimesASecond(t *testing.T) {
	t.Parallel()
	s := served(t, &server.Options{JetStream: true})
	u, err := url.Parse(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	d, err := reached(t, Config{URLs: []string{s.ClientURL()}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		topic := driver.Topic{Name: fmt.Sprint("t", i), Partitions: 4, MaxBytes: 1 << 20}
		if err := d.Ensure(t.Context(), []driver.Topic{topic}); err != nil {
			t.Fatal(err)
		}
		for _, group := range []string{"g", ""} {
			if _, err := d.Subscribe(t.Context(), driver.Subscription{Topic: topic.Name, Group: group}); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.Shutdown()
	s.WaitForShutdown()
	l, err := net.Listen("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var dials atomic.Int64
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			dials.Add(1)
			c.Close()
		}
	}()
	const outage = 5 * time.Second
	ctx, cancel := context.WithTimeout(t.Context(), outage)
	defer cancel()
	var writers sync.WaitGroup
	for i := range 20 {
		writers.Go(func() {
			for ctx.Err() == nil {
				short, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
				_ = d.Publish(short, []driver.Record{{Topic: fmt.Sprint("t", i%10), Key: "k"}}, nil)
				cancel()
			}
		})
	}
	writers.Wait()
	if n := dials.Load(); n < 2 || n > 5*int64(outage/time.Second) {
		t.Errorf("%d dials in %s", n, outage)
	}
	t.Logf("%d dials in %s", dials.Load(), outage)
}
