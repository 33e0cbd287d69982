package nats

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/internal/cutter"
	"kemi.dev/kemi/internal/obs"
)

// frozen is a driver of a server that can be frozen: it takes connections, and says nothing.
func frozen(t *testing.T) (*Driver, *cutter.Cutter) {
	s := external(t, t.TempDir(), server.RANDOM_PORT)
	c, err := cutter.New("127.0.0.1:0", strings.TrimPrefix(s.ClientURL(), "nats://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	d, err := New(Config{URLs: []string{"nats://" + c.Addr()}}, "", obs.Scope{})
	if err != nil {
		t.Fatal(err)
	}
	d.tuning = quick()
	d.tuning.patience = 30 * time.Second
	return d, c
}

// unhurried is far more than closing takes, about a second, and far less than one wait for the server: a machine with much
// else to do closes in time, too.
const unhurried = 12 * time.Second

// A frozen server is waited for neither by those that give back one after the other, as rooms do, nor by the driver.
func TestClosingDoesNotWaitForAFrozenServer(t *testing.T) {
	t.Parallel()
	d, c := frozen(t)
	work := driver.Topic{Name: "work.v1", Kind: driver.Work, Partitions: 1, MaxBytes: 1 << 20}
	many := driver.Topic{Name: "many.v1", Partitions: 16, MaxBytes: 1 << 20}
	if err := d.Ensure(t.Context(), []driver.Topic{work, many}); err != nil {
		t.Fatal(err)
	}
	if err := d.Publish(t.Context(), []driver.Record{{Topic: work.Name, Key: "k", Value: []byte("v")}, {Topic: many.Name, Key: "k", Value: []byte("v")}}, nil); err != nil {
		t.Fatal(err)
	}
	var feeds []driver.Feed
	for _, s := range []driver.Subscription{
		{Topic: many.Name, Group: "a", Writes: []string{many.Name}},
		{Topic: many.Name, Group: "b"},
		{Topic: many.Name},
		{Topic: work.Name, Group: "w"},
		{Topic: many.Name, Group: "c"},
		{Topic: many.Name},
		{Topic: work.Name, Group: "v"},
	} {
		f, err := d.Subscribe(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
		feeds = append(feeds, f)
	}
	c.Hold(cutter.Both)
	stuck, cancel := context.WithCancel(t.Context())
	published := make(chan error, 1)
	go func() {
		published <- d.Publish(stuck, []driver.Record{{Topic: many.Name, Key: "k", Value: make([]byte, 512<<10)}}, nil)
	}()
	begun := time.Now()
	for _, f := range feeds[:4] {
		f.Close()
	}
	cancel()
	if err := <-published; err == nil {
		t.Fatal("a frozen server stored something")
	}
	d.Close()
	if took := time.Since(begun); took > unhurried {
		t.Fatalf("closing took %s", took)
	}
}

// Nor is one that freezes, or was frozen, while the driver connects to it.
func TestClosingDoesNotWaitForAConnection(t *testing.T) {
	t.Parallel()
	for name, freeze := range map[string]func(*cutter.Cutter){
		"frozen":  func(c *cutter.Cutter) { c.Hold(cutter.Both) },
		"refused": func(c *cutter.Cutter) { c.Drop() },
	} {
		t.Run(name, func(t *testing.T) {
			d, c := frozen(t)
			freeze(c)
			before := c.Conns()
			opened := make(chan error, 1)
			go func() { opened <- d.Open(context.Background()) }()
			if name == "frozen" {
				await(t, "a connection", func() bool { return c.Conns() > before })
			}
			begun := time.Now()
			d.Close()
			if err := <-opened; err == nil {
				t.Fatal("it connected to a frozen server")
			}
			if took := time.Since(begun); took > unhurried {
				t.Fatalf("closing took %s", took)
			}
		})
	}
}

// A server that froze so long ago that the client gave it up and tries again and again.
func TestClosingDoesNotWaitForALostServer(t *testing.T) {
	t.Parallel()
	d, c := frozen(t)
	if err := d.Ensure(t.Context(), []driver.Topic{topicThings}); err != nil {
		t.Fatal(err)
	}
	f, err := d.Subscribe(t.Context(), driver.Subscription{Topic: topicThings.Name, Group: "g"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.Hold(cutter.Both)
	c.Reset() // What connects from now on is held.
	await(t, "the loss to be noticed", func() bool { return !d.links[process].there() })
	await(t, "another attempt", func() bool { return c.Conns() > 0 })
	begun := time.Now()
	f.Close()
	d.Close()
	if took := time.Since(begun); took > unhurried {
		t.Fatalf("closing took %s", took)
	}
}
