package nats

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"testing"
	"time"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/internal/obs"
)

// victim names the data directory in the environment of the process that is killed.
const victim = "KEMI_TEST_VICTIM"

func TestMain(m *testing.M) {
	if dir := os.Getenv(victim); dir != "" {
		if err := suffer(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	if url := os.Getenv(holder); url != "" {
		if err := hold(url); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if testing.Short() && !given { // Without servers of their own most of these tests wait: for leases and timeouts to end.
		if err := flag.Set("test.parallel", strconv.Itoa(2*runtime.GOMAXPROCS(0))); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

var killTopics = []driver.Topic{
	{Name: "process.v1", Partitions: 1, MaxBytes: 64 << 20},
	{Name: "power.v1", Partitions: 1, MaxBytes: 64 << 20, Sync: true},
}

// suffer publishes, and says on standard output what was stored, until the process is killed.
func suffer(dir string) error {
	ctx := context.Background()
	d, err := New(Config{}, dir, obs.Scope{})
	if err != nil {
		return err
	}
	if err := d.Ensure(ctx, killTopics); err != nil {
		return err
	}
	f, err := d.Subscribe(ctx, driver.Subscription{Topic: "process.v1", Group: "g"})
	if err != nil {
		return err
	}
	failed := make(chan error, 3)
	go func() {
		for {
			ds, err := f.Next(ctx)
			if err != nil {
				failed <- err
				return
			}
			for _, x := range ds {
				if err := f.Ack(ctx, x); err != nil {
					failed <- err
					return
				}
			}
		}
	}()
	go func() {
		for range time.Tick(10 * time.Millisecond) {
			o := f.(*owner)
			o.Mu.Lock()
			l := o.leases[0]
			wrote := l != nil && l.wrote > 1
			o.Mu.Unlock()
			if wrote {
				fmt.Println("committed 0 0")
				return
			}
		}
	}()
	for _, t := range killTopics {
		go func() {
			for i := 0; ; i += 3 {
				var some []driver.Record
				for j := range 3 {
					some = append(some, driver.Record{Topic: t.Name, Key: "k", Value: fmt.Appendf(nil, "%d.%d", os.Getpid(), i+j)})
				}
				if err := d.Publish(ctx, some, nil); err != nil {
					failed <- err
					return
				}
				fmt.Printf("%s %d %d\n", t.Name, os.Getpid(), i+2)
			}
		}()
	}
	return <-failed
}

// Nothing that was acknowledged is lost by kill -9, of either durability; groups go on at once, although the killed
// process gave nothing back.
func TestNothingAcknowledgedIsLostByAKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	stored := map[string]map[string]int{} // Topic and process: the last number it was told to be stored.
	for range 3 {
		cmd := exec.Command(os.Args[0], "-test.run=^$")
		cmd.Env = append(os.Environ(), victim+"="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		watchdog := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
		lines := map[string]int{}
		killed := false
		for s := bufio.NewScanner(out); s.Scan(); {
			var topic, pid string
			var last int
			if n, err := fmt.Sscan(s.Text(), &topic, &pid, &last); n != 3 || err != nil {
				continue // The last line may be cut.
			}
			lines[topic]++
			if topic == "committed" {
				continue
			}
			if stored[topic] == nil {
				stored[topic] = map[string]int{}
			}
			stored[topic][pid] = last
			if !killed && lines["process.v1"] > 100 && lines["power.v1"] > 10 && lines["committed"] > 0 {
				killed = true
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		watchdog.Stop()
		_ = cmd.Wait()
		if !killed {
			t.Fatalf("the process ended by itself after %v", lines)
		}
	}
	d, err := New(Config{}, dir, obs.Scope{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	d.tuning.lease = time.Minute
	if err := d.Ensure(t.Context(), killTopics); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for topic, processes := range stored {
		f, err := d.Subscribe(ctx, driver.Subscription{Topic: topic})
		if err != nil {
			t.Fatal(err)
		}
		next := map[string]int{}
		for caught := false; !caught; {
			ds, err := f.Next(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range ds {
				if caught = x.Event == driver.CaughtUp; caught {
					break
				}
				var pid string
				var n int
				if _, err := fmt.Sscanf(string(x.Record.Value), "%s", &pid); err != nil {
					t.Fatal(err)
				}
				if _, err := fmt.Sscanf(pid, "%d.%d", new(int), &n); err != nil {
					t.Fatal(err)
				}
				pid = pid[:len(pid)-len(fmt.Sprint(n))-1]
				if n != next[pid] {
					t.Fatalf("%s: process %s: got %d, want %d next", topic, pid, n, next[pid])
				}
				next[pid]++
			}
		}
		for pid, last := range processes {
			if next[pid] <= last {
				t.Errorf("%s: process %s was told that %d is stored, %d is the last there", topic, pid, last, next[pid]-1)
			}
		}
	}
	// The group's lease is still in the bucket, and waited for it would be for a minute; yet nobody can be alive to keep it.
	begin := time.Now()
	g, err := d.Subscribe(ctx, driver.Subscription{Topic: "process.v1", Group: "g"})
	if err != nil {
		t.Fatal(err)
	}
	ds, err := g.Next(ctx)
	if err != nil || ds[0].Event != driver.Assigned || ds[0].Position < 2 {
		t.Fatalf("got %+v, %v; want the partition, after what was committed", ds, err)
	}
	if took := time.Since(begin); took > d.tuning.lease/2 {
		t.Fatalf("it took %s to take over", took)
	}
}
