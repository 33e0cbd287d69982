package nats

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/internal/obs"
)

var topicThings = driver.Topic{Name: "things.v1", Partitions: 2, MaxBytes: 16 << 20}

func thing(key, value string) driver.Record {
	return driver.Record{Topic: topicThings.Name, Key: key, Value: []byte(value)}
}

// await polls until done holds.
func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func wants(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("got no error, want one with %q", parts)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Fatalf("got error %q, want one with %q", err, p)
		}
	}
}

func TestTheDataDirectoryBelongsToOneProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := embedded(t, dir)
	second, err := New(Config{}, dir, obs.Scope{})
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	err = second.Open(t.Context())
	wants(t, err, filepath.Join(dir, "bus"), fmt.Sprintf("process %d", os.Getpid()))
	if !errors.Is(err, ErrInUse) {
		t.Fatalf("got %v, want ErrInUse", err)
	}
	first.Close()
	if err := second.Open(t.Context()); err != nil {
		t.Fatalf("open after the first was closed: %v", err)
	}
}

func TestADataDirectoryThatCannotBeUsedIsNamed(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "bus"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := New(Config{}, dir, obs.Scope{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	wants(t, d.Open(t.Context()), filepath.Join(dir, "bus"))
	// Root may write everywhere, so the refusal itself is not to be had here.
	wants(t, hint("/var/lib/kemi/bus", &fs.PathError{Op: "mkdir", Path: "/var/lib/kemi/bus", Err: fs.ErrPermission}), "/var/lib/kemi/bus", "permission to write")
}

// oldServer speaks as much of the protocol as a client needs to connect.
func oldServer(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				fmt.Fprint(c, `INFO {"server_id":"x","version":"2.9.10","proto":1,"headers":true,"jetstream":true,"max_payload":1048576}`+"\r\n")
				for lines := bufio.NewScanner(c); lines.Scan(); {
					if strings.HasPrefix(lines.Text(), "PING") {
						fmt.Fprint(c, "PONG\r\n")
					}
				}
			}()
		}
	}()
	return "nats://" + l.Addr().String()
}

func TestAServerThatCannotBeUsedIsExplained(t *testing.T) {
	t.Parallel()
	plain, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	plain.Start()
	defer plain.Shutdown()
	if !plain.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server did not get ready")
	}
	nobody := "127.0.0.1:1"
	for url, want := range map[string][]string{
		oldServer(t):                {"2.9.10", "2.10", "upgrade"},
		plain.ClientURL():           {"JetStream is not enabled", "-js"},
		"nats://u:secret@" + nobody: {nobody},
	} {
		d, err := New(Config{URLs: []string{url}}, "", obs.Scope{})
		if err != nil {
			t.Fatal(err)
		}
		err = d.Ensure(t.Context(), []driver.Topic{topicThings})
		wants(t, err, want...)
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("the error shows a secret: %v", err)
		}
		d.Close()
	}
}

func TestANearlyFullDiskRefuses(t *testing.T) {
	t.Parallel()
	d := embedded(t, t.TempDir())
	if err := d.Ensure(t.Context(), []driver.Topic{topicThings}); err != nil {
		t.Fatal(err)
	}
	d.host.disk.held.Store(everything)
	if err := d.Publish(t.Context(), []driver.Record{thing("k", "v")}, nil); !errors.Is(err, driver.ErrFull) {
		t.Fatalf("got %v, want ErrFull", err)
	}
	await(t, "the disk to be looked at", func() bool { return !d.host.disk.full() })
	if err := d.Publish(t.Context(), []driver.Record{thing("k", "v")}, nil); err != nil {
		t.Fatal(err)
	}
}

func TestAServerThatCouldNotWriteIsRestarted(t *testing.T) {
	t.Parallel()
	d := embedded(t, t.TempDir())
	if err := d.Ensure(t.Context(), []driver.Topic{topicThings}); err != nil {
		t.Fatal(err)
	}
	if err := d.Publish(t.Context(), []driver.Record{thing("k", "before")}, nil); err != nil {
		t.Fatal(err)
	}
	now := func() *server.Server {
		d.host.mu.Lock()
		defer d.host.mu.Unlock()
		return d.host.servers[process]
	}
	ill := now()
	ill.Errorf("JetStream stream '%s > %s' critical write error: %v", "$G", "kemi_things_v1", errors.New("no space left on device"))
	await(t, "another server", func() bool { return now() != ill })
	if err := d.Publish(t.Context(), []driver.Record{thing("k", "after")}, nil); err != nil {
		t.Fatal(err)
	}
	f, err := d.Subscribe(t.Context(), driver.Subscription{Topic: topicThings.Name})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for len(got) < 2 {
		ds, err := f.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range ds {
			if x.Event == driver.Data {
				got = append(got, string(x.Record.Value))
			}
		}
	}
	if got[0] != "before" || got[1] != "after" {
		t.Fatalf("got %q", got)
	}
}

// An ID that was stored a moment ago makes a server refuse a whole batch; its other records are stored all the same.
func TestABatchWithAKnownIDIsStored(t *testing.T) {
	t.Parallel()
	d := embedded(t, t.TempDir())
	topic := topicThings
	topic.Sync = true
	if err := d.Ensure(t.Context(), []driver.Topic{topic}); err != nil {
		t.Fatal(err)
	}
	var all []driver.Record
	const n = batchFrom + 10
	for i := range n {
		r := thing("k", fmt.Sprint(i))
		r.ID = fmt.Sprint("id", i)
		all = append(all, r)
	}
	for _, some := range [][]driver.Record{all[4:6], all, all} {
		if err := d.Publish(t.Context(), some, nil); err != nil {
			t.Fatal(err)
		}
	}
	f, err := d.Subscribe(t.Context(), driver.Subscription{Topic: topic.Name})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for caught := false; !caught; {
		ds, err := f.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range ds {
			if caught = x.Event == driver.CaughtUp; !caught {
				seen[string(x.Record.Value)]++
			}
		}
	}
	for i := range n {
		if seen[fmt.Sprint(i)] != 1 {
			t.Fatalf("got %v, want each of %d once", seen, n)
		}
	}
}

// What others put into a topic's stream reaches whoever reads it as it is: what to make of it the bus decides. What no group
// would be handed is refused.
func TestForeignMessagesAreDeliveredAsTheyAreOrRefused(t *testing.T) {
	t.Parallel()
	d := embedded(t, t.TempDir())
	work := driver.Topic{Name: "work.v1", Kind: driver.Work, Partitions: 1, MaxBytes: 1 << 20}
	if err := d.Ensure(t.Context(), []driver.Topic{topicThings, work}); err != nil {
		t.Fatal(err)
	}
	nc := d.links[process].nc
	for _, subject := range []string{"kemi.things.v1.p9.k", "kemi.things.v1.x.k", "kemi.things.v1.p0.a.b", "kemi.things.v1.p0", "kemi.work.v1.p7.k"} {
		if m, err := nc.Request(subject, []byte("lost"), time.Second); !errors.Is(err, nats.ErrNoResponders) {
			t.Errorf("%s was taken: %v, %v", subject, m, err)
		}
	}
	for _, subject := range []string{"kemi.things.v1.p0.=4", "kemi.work.v1.p0.=4"} {
		if _, err := nc.Request(subject, []byte("theirs"), time.Second); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range []driver.Subscription{{Topic: topicThings.Name}, {Topic: topicThings.Name, Group: "g"}, {Topic: work.Name, Group: "g"}} {
		f, err := d.Subscribe(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		for found := false; !found; {
			ds, err := f.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range ds {
				if x.Event != driver.Data {
					continue
				}
				if found = true; x.Record.Key != "=4" || string(x.Record.Value) != "theirs" || x.Partition != 0 {
					t.Fatalf("got %+v", x)
				}
			}
		}
	}
}

// A stream that was made when topics kept all of a key is taken as it is, and the difference is said.
func TestAStreamThatKeepsMorePerKeyIsTakenAndNamed(t *testing.T) {
	t.Parallel()
	d := embedded(t, t.TempDir())
	topic := driver.Topic{Name: "alerts.v1", Kind: driver.Latest, Partitions: 1, Keep: time.Hour, MaxBytes: 1 << 20}
	if err := d.Ensure(t.Context(), []driver.Topic{topic}); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	d.scope = obs.New(slog.New(slog.NewTextHandler(&text, nil)), nil)
	topic.History = 16
	if err := d.Ensure(t.Context(), []driver.Topic{topic}); err != nil {
		t.Fatal(err)
	}
	wants(t, errors.New(text.String()), "kemi_alerts_v1", "wanted=16", "--max-msgs-per-subject=16")
}

// The log of an embedded server goes to ours, with its level, and what it says all the time once a minute.
func TestTheServersLogIsOurs(t *testing.T) {
	var mu sync.Mutex
	var text strings.Builder
	log := slog.New(slog.NewTextHandler(writer(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return text.Write(p)
	}), nil))
	d, err := New(Config{}, t.TempDir(), obs.New(log, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		d.host.servers[power].Warnf("the %s is dim", "light")
	}
	d.host.servers[power].Noticef("nobody needs to know")
	mu.Lock()
	defer mu.Unlock()
	if got := text.String(); !strings.Contains(got, `level=WARN msg="nats server" part=nats server=power text="the light is dim"`) || strings.Count(got, "dim") != 1 || strings.Contains(got, "nobody") {
		t.Fatalf("got log %s", got)
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }
