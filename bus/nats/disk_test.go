package nats

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/internal/obs"
)

// A disk that others filled stops the servers; when there is room again they are restarted, and nothing acknowledged is
// lost. KEMI_TEST_SMALL_DISK names a folder on a file system of 32 to 64 MiB that this test may fill, such as
// mount -t tmpfs -o size=48m tmpfs /mnt/small.
func TestAFullDiskHeals(t *testing.T) {
	small := os.Getenv("KEMI_TEST_SMALL_DISK")
	if small == "" {
		t.Skip("KEMI_TEST_SMALL_DISK is not set")
	}
	dir, err := os.MkdirTemp(small, "kemi")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	d, err := New(Config{}, dir, obs.Scope{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	d.host.minFree = 0 // The guard before the end is not what is tested.
	if err := d.Ensure(t.Context(), []driver.Topic{topicThings}); err != nil {
		t.Fatal(err)
	}
	stored := 0
	publish := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		r := thing("k", fmt.Sprintf("%d ", stored))
		r.Value = append(r.Value, make([]byte, 64<<10)...)
		err := d.Publish(ctx, []driver.Record{r}, nil)
		if err == nil {
			stored++
		}
		return err
	}
	for range 10 {
		if err := publish(); err != nil {
			t.Fatal(err)
		}
	}
	ballast := filepath.Join(small, "ballast")
	defer os.Remove(ballast)
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	f.Close()
	failed := 0
	for range 400 { // What the file system keeps for the server's open file may hold for a while.
		if err := publish(); err != nil {
			t.Logf("refused after %d: %v", stored, err)
			if failed++; failed == 3 {
				break
			}
		}
	}
	if failed == 0 {
		t.Fatal("the disk did not get full")
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	await(t, "publishing to go on", func() bool { return publish() == nil })
	feed, err := d.Subscribe(t.Context(), driver.Subscription{Topic: topicThings.Name})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for {
		ds, err := feed.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range ds {
			if x.Event == driver.CaughtUp {
				for i := range stored {
					if !seen[fmt.Sprint(i)] {
						t.Fatalf("record %d of %d acknowledged ones is lost", i, stored)
					}
				}
				return
			}
			var n int
			if _, err := fmt.Sscan(string(x.Record.Value), &n); err != nil {
				t.Fatal(errors.Join(err, fmt.Errorf("position %d", x.Position)))
			}
			seen[fmt.Sprint(n)] = true
		}
	}
}
