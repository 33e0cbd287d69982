package nats

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// A server that does not answer any more, because it is frozen or the network between is cut, is not waited for when
// something is closed: what would be given back goes to others when its time is over.
const (
	answerIn  = 400 * time.Millisecond // How long a server may take to answer before it is not waited for.
	believe   = 200 * time.Millisecond // How long it is believed to answer after it did,
	disbelief = 5 * time.Second        // and not to after it did not.
	goodbye   = time.Second            // How long giving back may take in all.
)

// answers says whether the server answers.
func (l *link) answers() bool {
	l.asking.Lock()
	defer l.asking.Unlock()
	switch since := time.Since(l.asked); {
	case l.answered && since < believe:
		return true
	case !l.answered && since < disbelief && !l.asked.IsZero():
		return false
	}
	done := make(chan error, 1)
	go func() { // The client may be stuck in a write, with all its locks.
		ctx, cancel := context.WithTimeout(context.Background(), answerIn)
		defer cancel()
		if l.there() {
			done <- l.nc.FlushWithContext(ctx)
		} else {
			done <- nats.ErrDisconnected
		}
	}()
	t := time.NewTimer(answerIn)
	defer t.Stop()
	var err error = context.DeadlineExceeded
	select {
	case err = <-done:
	case <-t.C:
	}
	l.asked, l.answered = time.Now(), err == nil
	return l.answered
}

// settled waits for the feed's goroutines, and says whether there is somebody to give back to. With nobody there they may
// still hang in the client, until the driver is closed.
func (f *feed) settled() bool {
	if f.t.link.answers() {
		f.Tasks.Wait()
		return true
	}
	done := make(chan struct{})
	go func() {
		f.Tasks.Wait()
		close(done)
	}()
	t := time.NewTimer(believe)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
	}
	return false
}

// dialer keeps hold of the connections that it made, to cut them when the client hangs in one.
type dialer struct {
	ctx   context.Context // Ends when nobody waits for a connection any more.
	heard atomic.Int64    // How much came on all of them.

	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

// Dial implements nats.CustomDialer.
func (d *dialer) Dial(network, address string) (net.Conn, error) {
	to := net.Dialer{Timeout: 5 * time.Second}
	c, err := to.DialContext(d.ctx, network, address)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conns == nil {
		d.conns = map[net.Conn]struct{}{}
	}
	d.conns[c] = struct{}{}
	return &cuttable{c, d}, nil
}

// cut ends every connection at once.
func (d *dialer) cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for c := range d.conns {
		_ = c.Close()
	}
}

// cuttable is a connection that its dialer forgets when it is closed.
type cuttable struct {
	net.Conn
	d *dialer
}

// Read implements net.Conn.
func (c *cuttable) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.d.heard.Add(int64(n))
	return n, err
}

// Close implements net.Conn.
func (c *cuttable) Close() error {
	c.d.mu.Lock()
	delete(c.d.conns, c.Conn)
	c.d.mu.Unlock()
	return c.Conn.Close()
}
