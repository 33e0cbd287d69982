// Package brokers runs real message brokers for tests: NATS servers and Kafka nodes as processes of their own.
//
// In: how many nodes, and what they ask of their clients. Out: addresses, and a handle on every node that kills, pauses,
// restarts and empties it.
// It promises that nodes listen on loopback only, at ports no other test run has, keep their data in the test's own
// directory, and are gone when the test is over, whatever way it ended. What a node said is shown when the test fails.
// A test that cannot have a broker skips by name, or fails when KEMI_CI is set.
// It never runs outside tests.
package brokers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a node may take to be ready: three Java processes that start beside a full test run on two cores take
// more than a minute and a half (measured). One that ends is not waited for.
const patience = 4 * time.Minute

// Node is one broker process. Its methods may be called from any goroutine; what goes wrong fails the test.
type Node struct {
	// Name is what the broker calls itself.
	Name string
	// Addr is host:port of its client listener.
	Addr string
	// Dir is where it stores.
	Dir string

	t       testing.TB
	argv    []string
	log     string                      // File of what it says.
	prepare func(context.Context) error // Makes an empty Dir usable; nil when nothing has to be done.
	ready   func(context.Context) error // Nil when the node serves.

	mu     sync.Mutex
	cmd    *exec.Cmd
	done   chan struct{} // Closed when the process has ended.
	paused bool
}

// start runs the process and does not wait until it serves.
func (n *Node) start(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd != nil {
		return fmt.Errorf("start %s: it runs already", n.Name)
	}
	if err := os.MkdirAll(n.Dir, 0o750); err != nil {
		return err
	}
	if n.prepare != nil {
		if err := n.prepare(ctx); err != nil {
			return fmt.Errorf("prepare %s: %w", n.Name, err)
		}
	}
	log, err := os.OpenFile(n.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(n.argv[0], n.argv[1:]...)
	cmd.Stdout, cmd.Stderr, cmd.Dir, cmd.SysProcAttr = log, log, filepath.Dir(n.log), attributes()
	started, done := make(chan error), make(chan struct{})
	go func() {
		// The kernel kills a child when the thread that made it ends: this one stays for as long as the child does.
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // How it ended is in its log; it is killed as a rule.
			close(done)
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start %s: %w", n.Name, err)
	}
	n.cmd, n.done, n.paused = cmd, done, false
	return nil
}

// await polls until the node serves.
func (n *Node) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	n.mu.Lock()
	done := n.done
	n.mu.Unlock()
	if done == nil {
		return fmt.Errorf("wait for %s: it does not run", n.Name)
	}
	return poll(ctx, func() error {
		select {
		case <-done:
			return fmt.Errorf("%s ended by itself: %w", n.Name, errOver)
		default:
			return n.ready(ctx)
		}
	})
}

var errOver = errors.New("no use waiting")

// poll tries until it works, ctx ends, or the error is errOver.
func poll(ctx context.Context, try func() error) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil || errors.Is(err, errOver) {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%w; last: %w", ctx.Err(), err)
		}
	}
}

// Start runs a node that was killed, on the data it has, and does not wait until it serves.
func (n *Node) Start() {
	n.t.Helper()
	if err := n.start(context.Background()); err != nil {
		n.t.Error(err)
	}
}

// Ready waits until the node serves.
func (n *Node) Ready() {
	n.t.Helper()
	if err := n.await(context.Background()); err != nil {
		n.t.Errorf("%s is not ready: %v", n.Name, err)
	}
}

// Restart kills the node when it runs, starts it on the data it has and waits until it serves.
func (n *Node) Restart() {
	n.t.Helper()
	n.Kill()
	n.Start()
	n.Ready()
}

// Kill ends the process as kill -9 does, and returns when it is gone. A node that does not run stays as it is.
func (n *Node) Kill() { n.end(syscall.SIGKILL, 0) }

// Shutdown asks the process to end, waits until it did, and kills it after half a minute.
func (n *Node) Shutdown() { n.end(syscall.SIGTERM, 30*time.Second) }

func (n *Node) end(s syscall.Signal, grace time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd == nil {
		return
	}
	n.signal(s)
	if grace > 0 {
		n.signal(syscall.SIGCONT)
		select {
		case <-n.done:
		case <-time.After(grace):
			n.signal(syscall.SIGKILL)
		}
	}
	<-n.done
	n.cmd, n.done = nil, nil
}

// signal reaches the process and what it started. It may have ended already.
func (n *Node) signal(s syscall.Signal) { _ = syscall.Kill(-n.cmd.Process.Pid, s) }

// Pause stops the process where it is (SIGSTOP): its connections stay open and silent.
func (n *Node) Pause() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd != nil {
		n.signal(syscall.SIGSTOP)
		n.paused = true
	}
}

// Resume lets a paused process go on.
func (n *Node) Resume() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd != nil {
		n.signal(syscall.SIGCONT)
		n.paused = false
	}
}

// Wipe kills the node and removes what it stored. Start begins with nothing.
func (n *Node) Wipe() {
	n.t.Helper()
	n.Kill()
	if err := os.RemoveAll(n.Dir); err != nil {
		n.t.Errorf("wipe %s: %v", n.Name, err)
	}
}

// Chill makes the kernel forget what it keeps of the node's files, so that a node that starts now reads from the disk.
// It says how many bytes of files that were; elsewhere than on Linux it does nothing.
func (n *Node) Chill() int64 {
	n.t.Helper()
	var all int64
	err := filepath.WalkDir(n.Dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		size, err := forget(path)
		if errors.Is(err, os.ErrNotExist) { // Removed by the node meanwhile.
			return nil
		}
		all += size
		return err
	})
	if err != nil {
		n.t.Errorf("chill %s: %v", n.Name, err)
	}
	return all
}

// Alive says whether the process runs and is not paused.
func (n *Node) Alive() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd == nil || n.paused {
		return false
	}
	select {
	case <-n.done:
		return false
	default:
		return true
	}
}

// Log is the end of what the node said: its last lines.
func (n *Node) Log(lines int) string {
	all, err := os.ReadFile(n.log)
	if err != nil {
		return err.Error()
	}
	said := strings.Split(strings.TrimSpace(string(all)), "\n")
	return strings.Join(said[max(0, len(said)-lines):], "\n")
}

// run starts nodes together, waits until all serve, and ends them with the test.
func run(t testing.TB, nodes []*Node) {
	t.Helper()
	t.Cleanup(func() {
		for _, n := range nodes {
			n.Kill()
			if t.Failed() {
				t.Logf("what %s said last:\n%s", n.Name, n.Log(40))
			}
		}
	})
	// The first that fails ends the wait for all.
	errs := make(chan error, len(nodes))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, n := range nodes {
		go func() {
			err := n.start(ctx)
			if err == nil {
				err = n.await(ctx)
			}
			errs <- err
		}()
	}
	var first error
	for range nodes {
		if err := <-errs; err != nil && first == nil {
			first = err
			cancel()
		}
	}
	if first != nil {
		t.Fatal(first)
	}
}
