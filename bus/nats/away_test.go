package nats

import (
	"context"
	"errors"
	"net/url"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/internal/conf"
	"kemi.dev/kemi/internal/obs"
)

// Whoever starts Kemi waits for a server that is not there yet, and ends for one that does not want it.
func TestWhoIsAwayIsToldFromWhoRefuses(t *testing.T) {
	t.Parallel()
	users := served(t, &server.Options{JetStream: true, Users: []*server.User{{Username: "kemi", Password: "right"}}}).ClientURL()
	dead, err := url.Parse("nats://127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	alone := served(t, &server.Options{
		ServerName: "alone", JetStream: true, Cluster: server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: server.RANDOM_PORT}, Routes: []*url.URL{dead},
	}).ClientURL()
	differs := served(t, &server.Options{JetStream: true}).ClientURL()
	d, err := reached(t, Config{URLs: []string{differs}})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Ensure(t.Context(), []driver.Topic{{Name: topicThings.Name, Partitions: topicThings.Partitions + 1, MaxBytes: 1 << 20}}); err != nil {
		t.Fatal(err)
	}
	full := served(t, &server.Options{JetStream: true, MaxConn: 1}).ClientURL()
	if _, err := reached(t, Config{URLs: []string{full}}); err != nil {
		t.Fatal(err)
	}
	const nobody = "nats://127.0.0.1:1"
	for _, c := range []struct {
		name string
		urls []string
		away bool
	}{
		{"nothing listens", []string{nobody}, true},
		{"nothing listens anywhere", []string{nobody, "nats://127.0.0.1:2"}, true},
		{"the name is not known", []string{"nats://no-such-host.invalid:4222"}, true},
		{"it says nothing", []string{"nats://" + listening(t, "")}, true},
		{"it hangs up", []string{"nats://" + listening(t, "\x00")}, true},
		{"it has too many already", []string{full}, true},
		{"the cluster has no leader", []string{alone}, true},
		{"it does not know us", []string{users}, false},
		{"one is away, another does not know us", []string{nobody, users}, false},
		{"it is too old", []string{oldServer(t)}, false},
		{"it is none", []string{"nats://" + listening(t, "SSH-2.0-OpenSSH_9.2\r\n")}, false},
		{"it has no JetStream", []string{served(t, &server.Options{}).ClientURL()}, false},
		{"its topics differ", []string{differs}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d, err := New(Config{URLs: c.urls, User: "kemi", Password: conf.NewSecret("wrong")}, "", obs.Scope{})
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			patience := 3 * time.Second // All of which is waited for one that is away.
			if !c.away {
				patience = 20 * time.Second // One that refuses ends it at once, on a loaded machine within some seconds.
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if err = d.Ensure(ctx, []driver.Topic{topicThings}); err == nil || errors.Is(err, driver.ErrAway) != c.away {
				t.Errorf("away is %v: %v", errors.Is(err, driver.ErrAway), err)
			}
			t.Log(err)
		})
	}
}
