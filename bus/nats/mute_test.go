package nats

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"kemi.dev/kemi/bus/driver"
)

// An external server whose disk is full answers everything but what it is to store, until it is restarted. That is said in
// words, where people look; and once it stores again everything goes on by itself.
func TestIntegrationAnExternalServerWithAFullDiskIsNamed(t *testing.T) {
	t.Parallel()
	dir := smallDisk(t, 160)
	s := external(t, dir, server.RANDOM_PORT)
	d := dialled(t, Config{}, s)
	d.tuning = defaults()
	if err := d.Ensure(t.Context(), diskTopics); err != nil {
		t.Fatal(err)
	}
	owner := follow(t, d, driver.Subscription{Topic: diskTopics[1].Name, Group: "g"})
	publish(t, d, diskTopics[1].Name, "k", "before")
	owner.value("before")
	if err := d.Health(); err != nil {
		t.Fatal(err)
	}
	ballast(t, dir, 0)
	var err error
	await(t, "the disk to be full", func() bool { // What was allocated before is used up first.
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		err = d.Publish(ctx, []driver.Record{{Topic: diskTopics[1].Name, Key: "k", Value: make([]byte, 10000)}}, nil)
		return err != nil
	})
	wants(t, err, "does not store", "its disk may be full", "restarted")
	if strings.Contains(err.Error(), driver.ErrAway.Error()) || !errors.Is(err, driver.ErrAway) {
		t.Errorf("whoever waits is to wait, and people are not to be told that it cannot be reached: %v", err)
	}
	wants(t, d.Health(), "does not store", "its disk may be full")
	if err := os.Remove(filepath.Join(dir, "ballast")); err != nil {
		t.Fatal(err)
	}
	again(t, s, dir, false)
	publish(t, d, diskTopics[1].Name, "k", "after")
	owner.value("after")
	if err := d.Health(); err != nil {
		t.Errorf("it stores again, and Health says %v", err)
	}
}
