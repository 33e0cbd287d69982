package nats

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/prometheus/client_golang/prometheus"

	"kemi.dev/kemi/internal/obs"
)

// ErrInUse: another process has the data directory open.
var ErrInUse = errors.New("the data directory is in use")

// Limits of an embedded server. Each stream has its own MaxBytes; these only keep a mistake from taking all.
const (
	maxStore  = 1 << 40
	maxMemory = 256 << 20
)

var folders = [2]string{process: "process", power: "power"}

// host is the pair of servers in this process.
type host struct {
	dir     string // The folder bus of the data directory.
	scope   obs.Scope
	disk    *disk
	run     string         // Names this run: members of another run are dead, for only this process reaches the servers.
	sick    [2]atomic.Bool // A server cannot write any more.
	done    chan struct{}
	watched sync.WaitGroup
	again   prometheus.Counter

	mu      sync.Mutex
	lock    *os.File
	servers [2]*server.Server
	revived [2]time.Time
	stopped bool
}

func newHost(dataDir string, scope obs.Scope, bulkBelow, reserve int64) *host {
	dir := filepath.Join(dataDir, "bus")
	return &host{
		dir: dir, scope: scope, disk: newDisk(dir, scope, bulkBelow, reserve), done: make(chan struct{}),
		run:   processName(),
		again: scope.Counter("kemi_bus_broker_restarts_total", "Restarts of an embedded server that could not write any more.").WithLabelValues(),
	}
}

// start takes the directory and starts both servers.
func (h *host) start() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stopped {
		return errors.New("start embedded nats: stopped")
	}
	if h.lock != nil {
		return nil
	}
	lock, err := claim(h.dir)
	if err != nil {
		return err
	}
	h.disk.measure()
	for i := range h.servers {
		if h.servers[i], err = h.serve(i); err != nil {
			for _, s := range h.servers {
				if s != nil {
					s.Shutdown()
					s.WaitForShutdown()
				}
			}
			h.servers = [2]*server.Server{}
			lock.Close()
			return err
		}
	}
	h.lock = lock
	h.watched.Go(h.watch)
	return nil
}

// claim makes the directory and locks it against other processes.
func claim(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, hint(dir, err)
	}
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, hint(dir, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			holder := make([]byte, 20)
			n, _ := f.ReadAt(holder, 0)
			return nil, fmt.Errorf("open %s: %w by process %s: stop it, or give this one another data directory", dir, ErrInUse, strings.TrimSpace(string(holder[:n])))
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	// Who holds it is for people only; the lock itself is what counts.
	if err := errors.Join(f.Truncate(0), func() error { _, err := fmt.Fprintln(f, os.Getpid()); return err }()); err != nil {
		f.Close()
		return nil, hint(dir, err)
	}
	return f, nil
}

func hint(dir string, err error) error {
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return fmt.Errorf("open %s: %w: give the user that runs kemi permission to write there, or another data directory", dir, err)
	}
	return fmt.Errorf("open %s: %w", dir, err)
}

// serve starts one server.
func (h *host) serve(i int) (*server.Server, error) {
	o := &server.Options{
		ServerName: "kemi-" + folders[i], DontListen: true, NoSigs: true, JetStream: true,
		StoreDir: filepath.Join(h.dir, folders[i]), JetStreamMaxStore: maxStore, JetStreamMaxMemory: maxMemory,
		SyncAlways: i == power, DisableJetStreamBanner: true,
	}
	s, err := server.NewServer(o)
	if err != nil {
		return nil, fmt.Errorf("start embedded nats in %s: %w", o.StoreDir, err)
	}
	keep := &keeper{log: h.scope.Log().With("server", folders[i]), sick: &h.sick[i]}
	s.SetLoggerV2(keep, false, false, false)
	s.Start()
	if !s.ReadyForConnections(30*time.Second) || !s.JetStreamEnabled() {
		s.Shutdown()
		s.WaitForShutdown()
		return nil, fmt.Errorf("start embedded nats in %s: it did not get ready: %s", o.StoreDir, keep.last())
	}
	return s, nil
}

// InProcessConn connects to the server of a durability as it is now: it may have been restarted.
type door struct {
	h *host
	i int
}

// InProcessConn implements nats.InProcessConnProvider.
func (d door) InProcessConn() (net.Conn, error) {
	d.h.mu.Lock()
	s := d.h.servers[d.i]
	d.h.mu.Unlock()
	if s == nil {
		return nil, errors.New("connect to embedded nats: it is not running")
	}
	return s.InProcessConn()
}

// watch looks at the disk until the host stops.
func (h *host) watch() {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-h.done:
			return
		case <-t.C:
			h.disk.measure()
			for i := range h.sick {
				if h.sick[i].Load() {
					h.revive(i)
				}
			}
		}
	}
}

// revive restarts a server that could not write, at most every ten seconds and only with room on the disk: its
// streams take nothing until then. What was acknowledged is on the disk already.
func (h *host) revive(i int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stopped || h.servers[i] == nil || h.disk.full() || time.Since(h.revived[i]) < 10*time.Second {
		return
	}
	h.revived[i] = time.Now()
	h.scope.Log().Error("embedded nats could not write, it is restarted", "server", folders[i])
	h.sick[i].Store(false)
	h.again.Inc()
	h.restart(i)
}

// restart is called with the mutex held. The connections find the new server by themselves.
func (h *host) restart(i int) {
	h.servers[i].Shutdown()
	h.servers[i].WaitForShutdown()
	s, err := h.serve(i)
	if err != nil {
		h.sick[i].Store(true)
		h.scope.Log().Error("restart embedded nats", "server", folders[i], "err", err)
		return
	}
	h.servers[i] = s
}

// stop ends both servers and gives the directory free.
func (h *host) stop() error {
	h.mu.Lock()
	if h.stopped {
		h.mu.Unlock()
		return nil
	}
	h.stopped = true
	close(h.done)
	for i, s := range h.servers {
		if s != nil {
			s.Shutdown()
			s.WaitForShutdown()
		}
		h.servers[i] = nil
	}
	lock := h.lock
	h.mu.Unlock()
	h.watched.Wait()
	if lock != nil {
		return lock.Close()
	}
	return nil
}

// keeper passes the server's log on, each text once in a while, and remembers its last complaint.
type keeper struct {
	log  *slog.Logger
	text atomic.Pointer[string]
	sick *atomic.Bool
	said obs.Seldom
}

// writeError is what the server says once when a stream stops taking records because it could not write.
const writeError = "critical write error"

func (k *keeper) keep(level func(string, ...any), format string, v []any) {
	text := fmt.Sprintf(format, v...)
	k.text.Store(&text)
	if strings.Contains(text, writeError) {
		k.sick.Store(true)
	}
	if held, due := k.said.Says(text, time.Now()); due {
		level("nats server", "text", text, "held_back", held)
	}
}

func (k *keeper) last() string {
	if t := k.text.Load(); t != nil {
		return *t
	}
	return "it said nothing"
}

// The methods of server.Logger. What the server calls a notice is of no interest to who runs Kemi.
func (k *keeper) Noticef(format string, v ...any) {
	k.log.Debug("nats server", "text", fmt.Sprintf(format, v...))
}

func (k *keeper) Debugf(format string, v ...any) {
	k.log.Debug("nats server", "text", fmt.Sprintf(format, v...))
}

func (k *keeper) Tracef(format string, v ...any) {
	k.log.Debug("nats server", "text", fmt.Sprintf(format, v...))
}
func (k *keeper) Warnf(format string, v ...any)  { k.keep(k.log.Warn, format, v) }
func (k *keeper) Errorf(format string, v ...any) { k.keep(k.log.Error, format, v) }
func (k *keeper) Fatalf(format string, v ...any) { k.keep(k.log.Error, format, v) }
