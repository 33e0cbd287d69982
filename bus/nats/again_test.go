package nats

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/internal/obs"
)

// dialled is a driver on an external server.
func dialled(t testing.TB, c Config, s *server.Server) *Driver {
	t.Helper()
	c.URLs = []string{s.ClientURL()}
	d, err := New(c, "", obs.New(slog.New(slog.NewTextHandler(t.Output(), nil)), nil))
	if err != nil {
		t.Fatal(err)
	}
	d.tuning = quick()
	t.Cleanup(func() { d.Close() })
	return d
}

// again stops a server, empties its disk when asked to, and starts it at the same address.
func again(t testing.TB, s *server.Server, dir string, wipe bool) *server.Server {
	t.Helper()
	port := s.Addr().(interface{ AddrPort() netip.AddrPort }).AddrPort().Port()
	s.Shutdown()
	s.WaitForShutdown()
	if wipe {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	return external(t, dir, int(port))
}

// reader collects what a feed delivers.
type reader struct {
	driver.Feed
	t      *testing.T
	values []string
	last   driver.Delivery // The last Assigned.
}

// until reads, and acknowledges, until done holds.
func (r *reader) until(what string, done func(driver.Delivery) bool) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 30*time.Second)
	defer cancel()
	for {
		ds, err := r.Next(ctx)
		if err != nil {
			r.t.Fatalf("waited in vain for %s, got %q: %v", what, r.values, err)
		}
		ok := false
		for _, x := range ds {
			switch x.Event {
			case driver.Assigned:
				r.last = x
			case driver.Data:
				r.values = append(r.values, string(x.Record.Value))
				if err := r.Ack(ctx, x); err != nil && !errors.Is(err, driver.ErrFenced) {
					r.t.Fatal(err)
				}
			}
			ok = ok || done(x)
		}
		if ok {
			return
		}
	}
}

func (r *reader) value(want string) {
	r.t.Helper()
	if slices.Contains(r.values, want) {
		return
	}
	r.until(want, func(x driver.Delivery) bool { return x.Event == driver.Data && string(x.Record.Value) == want })
}

func follow(t *testing.T, d *Driver, s driver.Subscription) *reader {
	t.Helper()
	f, err := d.Subscribe(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return &reader{Feed: f, t: t}
}

// publish says something, and tries again as a caller would, until it is stored.
func publish(t *testing.T, d *Driver, topic, key, value string) {
	t.Helper()
	r := []driver.Record{{Topic: topic, Key: key, Value: []byte(value)}}
	var err error
	await(t, "a record to be stored", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		err = d.Publish(ctx, r, nil)
		if err != nil {
			t.Log(err)
		}
		return err == nil
	})
}

var ownTopics = []driver.Topic{
	{Name: "log.v1", Partitions: 1, MaxBytes: 1 << 20},
	{Name: "latest.v1", Kind: driver.Latest, Partitions: 1, MaxBytes: 1 << 20, Sync: true},
	{Name: "work.v1", Kind: driver.Work, Partitions: 1, MaxBytes: 1 << 20},
	{Name: "quiet.v1", Partitions: 1, MaxBytes: 1 << 20},
}

// A server that comes back with an empty disk is furnished again, and everything that was going on goes on.
func TestAServerThatLostEverythingIsFurnishedAgain(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(t *testing.T, d *Driver, s *server.Server, dir string){
		"the disk": func(t *testing.T, _ *Driver, s *server.Server, dir string) { again(t, s, dir, true) },
		"the streams, by hand": func(t *testing.T, d *Driver, _ *server.Server, _ string) {
			for _, topic := range ownTopics {
				if err := d.links[process].js.DeleteStream(t.Context(), d.named(topic, nil, 0).stream); err != nil {
					t.Fatal(err)
				}
			}
		},
		"the buckets, by hand": func(t *testing.T, d *Driver, _ *server.Server, _ string) {
			for _, b := range []string{"kemi_groups", "kemi_members"} {
				if err := d.links[process].js.DeleteKeyValue(t.Context(), b); err != nil {
					t.Fatal(err)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := external(t, dir, server.RANDOM_PORT)
			d := dialled(t, Config{}, s)
			if err := d.Ensure(t.Context(), ownTopics); err != nil {
				t.Fatal(err)
			}
			for i := range 20 {
				for _, topic := range ownTopics {
					publish(t, d, topic.Name, "k", fmt.Sprint("before ", i))
				}
			}
			log := follow(t, d, driver.Subscription{Topic: "log.v1", Group: "g", Writes: []string{"latest.v1"}})
			latest := follow(t, d, driver.Subscription{Topic: "latest.v1", Start: driver.Start{Snapshot: true}})
			tail := follow(t, d, driver.Subscription{Topic: "log.v1"})
			work := follow(t, d, driver.Subscription{Topic: "work.v1", Group: "g"})
			for _, f := range []*reader{log, latest, tail, work} {
				f.value("before 19")
			}
			epoch := log.last.Epoch
			// What was acknowledged is written down, so that a position is lost too.
			await(t, "a commit", func() bool {
				e, err := d.groups.Get(t.Context(), "log=2Ev1.g.p0")
				return err == nil && strings.Contains(string(e.Value()), `"next":21`)
			})

			for _, f := range []*reader{log, latest, tail, work} {
				f.values = nil
			}
			lose(t, d, s, dir)
			for _, topic := range ownTopics {
				publish(t, d, topic.Name, "k", "after")
			}
			log.until("a later epoch", func(x driver.Delivery) bool { return x.Event == driver.Assigned && x.Epoch > epoch })
			if name != "the buckets, by hand" { // Who keeps a copy of a topic is told that it has another.
				gone := func(x driver.Delivery) bool { return x.Event == driver.Revoked && x.Partition == -1 }
				latest.until("what was there to be revoked", gone)
				tail.until("what was there to be revoked", gone)
			}
			for _, f := range []*reader{log, latest, tail, work} {
				f.value("after")
			}
			// The owner may write under its fence, again.
			await(t, "a fenced record", func() bool {
				f := &driver.Fence{Topic: "log.v1", Group: "g", Partition: 0, Epoch: log.last.Epoch}
				err := d.Publish(t.Context(), []driver.Record{{Topic: "latest.v1", Key: "fenced", Value: []byte("fenced")}}, f)
				if errors.Is(err, driver.ErrFenced) { // A newer epoch is on its way.
					log.until("another epoch", func(x driver.Delivery) bool { return x.Event == driver.Assigned })
				}
				return err == nil
			})
			latest.value("fenced")
			// Topics that nobody used meanwhile are there too, for others.
			other := dialled(t, Config{}, s)
			other.config.URLs = d.config.URLs
			await(t, "every stream", func() bool {
				for _, topic := range ownTopics {
					if _, err := other.Inspect(t.Context(), topic.Name); err != nil {
						return false
					}
				}
				return true
			})
			await(t, "health", func() bool { return d.Health() == nil })
		})
	}
}
