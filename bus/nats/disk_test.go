package nats

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/internal/journal"
	"kemi.dev/kemi/internal/obs"
	"kemi.dev/kemi/internal/pause"
)

func TestWhatIsHeldBackFollowsTheFreeSpace(t *testing.T) {
	const mib = 1 << 20
	d := newDisk("d", obs.Scope{}, 256*mib, 64*mib)
	for _, c := range []struct {
		free, size int64
		now, want  int
	}{
		{1 << 40, 1 << 41, nothing, nothing},
		{256 * mib, 1 << 41, nothing, nothing},
		{255 * mib, 1 << 41, nothing, bulk},
		{257 * mib, 1 << 41, bulk, bulk},
		{273 * mib, 1 << 41, bulk, nothing},
		{63 * mib, 1 << 41, nothing, everything},
		{65 * mib, 1 << 41, everything, everything},
		{69 * mib, 1 << 41, everything, bulk},
		{300 * mib, 1 << 41, everything, nothing},
		{101 * mib, 1000 * mib, nothing, nothing}, // Of a small disk it is a tenth and a fortieth.
		{99 * mib, 1000 * mib, nothing, bulk},
		{24 * mib, 1000 * mib, bulk, everything},
		{0, 0, nothing, nothing}, // It does not know its size.
	} {
		if got := d.hold(c.free, c.size, c.now); got != c.want {
			t.Errorf("%d MiB of %d free, %s held back: got %s, want %s", c.free/mib, c.size/mib, heldBack[c.now], heldBack[got], heldBack[c.want])
		}
	}
}

// smallDisk is a file system in memory, of so many MiB.
func smallDisk(t *testing.T, mib int) string {
	if testing.Short() {
		t.Skip("it fills a disk")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", mib)); err != nil {
		if os.Getenv("KEMI_CI") != "" {
			t.Fatalf("mount a tmpfs, which needs root: %v", err)
		}
		t.Skipf("mount a tmpfs, which needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// ballast fills the disk with a file until only so much is left; 0 is until nothing can be written.
func ballast(t *testing.T, dir string, left int64) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, "ballast"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for some := make([]byte, 64<<10); ; {
		var st syscall.Statfs_t
		if err := syscall.Statfs(dir, &st); err != nil {
			t.Fatal(err)
		}
		if left > 0 && int64(st.Bavail)*int64(st.Bsize) <= left {
			return
		}
		switch _, err := f.Write(some); {
		case errors.Is(err, syscall.ENOSPC) && len(some) == 1:
			return
		case errors.Is(err, syscall.ENOSPC):
			some = some[:len(some)/2]
		case err != nil:
			t.Fatal(err)
		}
	}
}

var diskTopics = []driver.Topic{
	{Name: "readings.v1", Partitions: 2, MaxBytes: 64 << 20, Bulk: true},
	{Name: "alerts.v1", Partitions: 1, MaxBytes: 16 << 20, Sync: true},
}

// source publishes to a topic all the time, and remembers what was stored.
type source struct {
	topic string

	mu       sync.Mutex
	stored   map[string]bool
	refused  int
	inARow   int // Stored since the last refusal.
	lastSaid error
}

func (s *source) run(ctx context.Context, d *Driver) {
	for n := 0; pause.For(ctx, 5*time.Millisecond); n++ {
		value := fmt.Sprint(n)
		one, cancel := context.WithTimeout(ctx, 2*time.Second)
		err := d.Publish(one, []driver.Record{{
			Topic: s.topic, Key: "k", Value: []byte(value), Headers: []driver.Header{{Name: "pad", Value: strings.Repeat("x", 2000)}},
		}}, nil)
		cancel()
		s.mu.Lock()
		if s.lastSaid = err; err == nil {
			s.stored[value] = true
			s.inARow++
		} else {
			s.refused++
			s.inARow = 0
		}
		s.mu.Unlock()
	}
}

// flows reports whether the last n were stored.
func (s *source) flows(n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inARow >= n
}

// full reports whether the last was refused as full.
func (s *source) full() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Is(s.lastSaid, driver.ErrFull)
}

// scene is a driver on a small disk whose topics are published to, with a group that reads the first of them.
type scene struct {
	dir            string
	d              *Driver
	log            *journal.Journal
	bulky, precise *source
	seen           sync.Map
	end            func()
}

func onASmallDisk(t *testing.T, bulkBelow, reserve int64) *scene {
	s := &scene{dir: smallDisk(t, 160), log: &journal.Journal{}}
	var err error
	if s.d, err = New(Config{}, s.dir, obs.New(slog.New(slog.NewTextHandler(s.log, nil)), prometheus.NewRegistry())); err != nil {
		t.Fatal(err)
	}
	s.d.tuning = quick()
	s.d.host.disk.bulk, s.d.host.disk.reserve = bulkBelow, reserve
	if err := s.d.Ensure(t.Context(), diskTopics); err != nil {
		t.Fatal(err)
	}
	feed, err := s.d.Subscribe(t.Context(), driver.Subscription{Topic: diskTopics[0].Name, Group: "g"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() {
		for {
			ds, err := feed.Next(ctx)
			if err != nil {
				return
			}
			for _, x := range ds {
				if x.Event == driver.Data {
					s.seen.Store(string(x.Record.Value), true)
					_ = feed.Ack(ctx, x)
				}
			}
		}
	})
	s.bulky = &source{topic: diskTopics[0].Name, stored: map[string]bool{}}
	s.precise = &source{topic: diskTopics[1].Name, stored: map[string]bool{}}
	for _, from := range []*source{s.bulky, s.precise} {
		group.Go(func() { from.run(ctx, s.d) })
	}
	s.end = sync.OnceFunc(func() {
		cancel()
		group.Wait()
	})
	t.Cleanup(func() {
		s.end()
		s.d.Close()
	})
	await(t, "both topics to take records", func() bool { return s.bulky.flows(20) && s.precise.flows(5) })
	return s
}

// says compares what Held says with what it should have in it; nothing is nothing.
func (s *scene) says(t *testing.T, wantAll bool, parts ...string) {
	t.Helper()
	all, why := s.d.Held()
	if all != wantAll || (why == "") != (len(parts) == 0) {
		t.Errorf("held back: all %v, %q", all, why)
	}
	for _, part := range parts {
		if !strings.Contains(why, part) {
			t.Errorf("held back: %q has no %q in it", why, part)
		}
	}
}

// heals makes room and waits until everything works again by itself; then it looks for all that was acknowledged.
func (s *scene) heals(t *testing.T) {
	t.Helper()
	if err := os.Remove(filepath.Join(s.dir, "ballast")); err != nil {
		t.Fatal(err)
	}
	await(t, "both topics to take records again", func() bool { return s.bulky.flows(20) && s.precise.flows(5) })
	await(t, "the group to have what was stored", func() bool {
		s.bulky.mu.Lock()
		defer s.bulky.mu.Unlock()
		for value := range s.bulky.stored {
			if _, seen := s.seen.Load(value); !seen {
				return false
			}
		}
		return true
	})
	s.end()
	if strings.Contains(s.log.String(), "nats://") {
		t.Error("the log names an address, and there is none")
	}
	for _, from := range []*source{s.bulky, s.precise} {
		have := map[string]bool{}
		for _, r := range stored(t, s.d, from.topic) {
			have[string(r.Value)] = true
		}
		lost := 0
		for value := range from.stored {
			if !have[value] {
				lost++
			}
		}
		t.Logf("%s: %d acknowledged, %d of them lost, %d refused", from.topic, len(from.stored), lost, from.refused)
		if lost > 0 {
			t.Errorf("%s: %d of %d acknowledged records are lost", from.topic, lost, len(from.stored))
		}
	}
}

// A disk that fills up bit by bit: what comes in bulk is refused first and alerts still pass, then all is; with room again
// everything goes on without a restart, and nothing acknowledged is lost.
func TestIntegrationADiskThatFillsUpHoldsBackBulkFirst(t *testing.T) {
	t.Parallel()
	s := onASmallDisk(t, 16<<20, 4<<20)
	s.d.host.mu.Lock()
	server := s.d.host.servers[process]
	s.d.host.mu.Unlock()
	ballast(t, s.dir, 12<<20)
	await(t, "bulk to be refused", s.bulky.full)
	s.precise.mu.Lock()
	s.precise.inARow = 0
	s.precise.mu.Unlock()
	await(t, "alerts to pass meanwhile", func() bool { return s.precise.flows(10) && s.bulky.full() })
	s.says(t, false, "nothing is polled", "11 MiB of 160 are free at "+s.d.host.dir, "from 18 MiB on")
	held := s.d.host.disk.refusing
	if testutil.ToFloat64(held[bulk]) != 1 || testutil.ToFloat64(held[everything]) != 0 {
		t.Errorf("held back: bulk %v, everything %v", testutil.ToFloat64(held[bulk]), testutil.ToFloat64(held[everything]))
	}
	ballast(t, s.dir, 2<<20)
	await(t, "alerts to be refused as well", s.precise.full)
	s.says(t, true, "nothing is stored any more", "1 MiB of 160 are free at "+s.d.host.dir)
	if testutil.ToFloat64(held[bulk]) != 1 || testutil.ToFloat64(held[everything]) != 1 {
		t.Errorf("held back: bulk %v, everything %v", testutil.ToFloat64(held[bulk]), testutil.ToFloat64(held[everything]))
	}
	s.heals(t)
	if testutil.ToFloat64(held[bulk])+testutil.ToFloat64(held[everything]) != 0 {
		t.Error("the metric says that something is held back")
	}
	s.says(t, false)
	s.d.host.mu.Lock()
	defer s.d.host.mu.Unlock()
	if s.d.host.servers[process] != server {
		t.Error("the server had to be restarted")
	}
	for _, want := range []string{"held_back=bulk", "held_back=everything", "held_back=nothing"} {
		if strings.Count(s.log.String(), want) != 1 {
			t.Errorf("the log says %d times %s", strings.Count(s.log.String(), want), want)
		}
	}
}

// A disk that somebody else fills to the last byte at once, faster than it is looked at: the servers cannot write, are
// restarted once there is room, and nothing acknowledged is lost.
func TestIntegrationAFullDiskHeals(t *testing.T) {
	t.Parallel()
	for name, below := range map[string]int64{"seen": 16 << 20, "between two looks": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := onASmallDisk(t, below, below/4)
			ballast(t, s.dir, 0)
			// What the file system keeps for open files may hold for a while.
			await(t, "the topics to be refused", func() bool { return !s.bulky.flows(1) && !s.precise.flows(1) })
			s.heals(t)
		})
	}
}

// Who starts on a disk that is full already is told about the disk, not that there is no broker.
func TestIntegrationAStartOnAFullDiskNamesTheDisk(t *testing.T) {
	t.Parallel()
	dir, log := smallDisk(t, 160), &journal.Journal{}
	start := func() *Driver {
		d, err := New(Config{}, dir, obs.New(slog.New(slog.NewTextHandler(log, nil)), nil))
		if err != nil {
			t.Fatal(err)
		}
		d.tuning = quick()
		d.host.disk.bulk, d.host.disk.reserve = 16<<20, 4<<20
		t.Cleanup(func() { d.Close() })
		return d
	}
	before := start()
	if err := before.Ensure(t.Context(), diskTopics); err != nil {
		t.Fatal(err)
	}
	subscription := driver.Subscription{Topic: diskTopics[0].Name, Group: "g"}
	if _, err := before.Subscribe(t.Context(), subscription); err != nil {
		t.Fatal(err)
	}
	before.Close()
	ballast(t, dir, 0)
	d := start()
	if err := d.Ensure(t.Context(), diskTopics); err != nil && !errors.Is(err, driver.ErrFull) {
		t.Error(err)
	}
	if all, why := d.Held(); !all || !strings.Contains(why, "0 MiB of 160 are free") {
		t.Errorf("held back: all %v, %q", all, why)
	}
	if _, err := d.Subscribe(t.Context(), subscription); err != nil && !errors.Is(err, driver.ErrFull) {
		t.Error(err)
	}
	await(t, "the member to say why it has no partitions", func() bool { return strings.Contains(log.String(), "look after partitions anew") })
	if said := log.String(); strings.Contains(said, driver.ErrAway.Error()) || !strings.Contains(said, "full: the disk is short of space") {
		t.Errorf("it is said: %s", said)
	}
}
