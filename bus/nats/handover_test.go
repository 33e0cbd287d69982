package nats

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/internal/obs"
)

// holder names the server in the environment of the process that owns all partitions until it is killed.
const holder = "KEMI_TEST_HOLDER"

var wide = driver.Topic{Name: "wide.v1", Partitions: 64, MaxBytes: 16 << 20}

// hold owns partitions, and says on standard output how many.
func hold(url string) error {
	ctx := context.Background()
	d, err := New(Config{URLs: []string{url}}, "", obs.Scope{})
	if err != nil {
		return err
	}
	if err := d.Ensure(ctx, []driver.Topic{wide}); err != nil {
		return err
	}
	f, err := d.Subscribe(ctx, driver.Subscription{Topic: wide.Name, Group: "g", Writes: []string{wide.Name}})
	if err != nil {
		return err
	}
	owned := 0
	for {
		ds, err := f.Next(ctx)
		if err != nil {
			return err
		}
		for _, x := range ds {
			if x.Event == driver.Assigned {
				owned++
				fmt.Println("owns", owned)
			}
		}
	}
}

// The 64 partitions of a process that was killed with kill -9 go to another, at default settings, within ten seconds: its
// leases end six seconds after they were renewed last. Twice as long is allowed here, for a machine that is busy.
func TestIntegrationTheKilledOwnersPartitionsGoToAnother(t *testing.T) {
	if testing.Short() {
		t.Skip("leases take their time to end")
	}
	t.Parallel()
	s := external(t, t.TempDir(), server.RANDOM_PORT)
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), holder+"="+s.ClientURL())
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	watchdog := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer watchdog.Stop()
	owned := 0
	for lines := bufio.NewScanner(out); owned < wide.Partitions && lines.Scan(); {
		_, _ = fmt.Sscanf(lines.Text(), "owns %d", &owned)
	}
	if owned != wide.Partitions {
		t.Fatalf("it came to own %d partitions", owned)
	}
	d, err := New(Config{URLs: []string{s.ClientURL()}}, "", obs.Scope{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	// It is there and waits: killed before partitions have moved.
	f, err := d.Subscribe(t.Context(), driver.Subscription{Topic: wide.Name, Group: "g", Writes: []string{wide.Name}})
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	begun := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for mine := map[int]bool{}; len(mine) < wide.Partitions; {
		ds, err := f.Next(ctx)
		if err != nil {
			t.Fatalf("%d partitions after %s: %v", len(mine), time.Since(begun), err)
		}
		for _, x := range ds {
			switch x.Event {
			case driver.Assigned:
				mine[x.Partition] = true
			case driver.Revoked:
				delete(mine, x.Partition)
			}
		}
	}
	took := time.Since(begun)
	t.Logf("%d partitions were another's %s after the kill", wide.Partitions, took.Round(10*time.Millisecond))
	if took > 20*time.Second {
		t.Errorf("it took %s", took)
	}
}
