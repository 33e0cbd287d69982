package cutter

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// A direction keeps at most 256 chunks of 32 KiB that wait for their time.
const (
	chunks = 256
	size   = 32 << 10
)

// conn is one connection through a cutter.
type conn struct {
	cutter         *Cutter
	client, server *net.TCPConn
	over           chan struct{} // Closed with the connection.

	// The cutter's lock guards these.
	ended  bool
	maimed bool // It lost bytes.
}

// chunk is what was read at once, and when it may go on.
type chunk struct {
	bytes []byte
	due   time.Time
}

// end closes both sides; with reset as a broken network does. The cutter's lock is held.
func (c *conn) end(reset bool) {
	if c.ended {
		return
	}
	c.ended = true
	close(c.over)
	for _, side := range []*net.TCPConn{c.client, c.server} {
		if side == nil {
			continue
		}
		if reset {
			_ = side.SetLinger(0) // One that is reset already does not mind.
		}
		side.Close()
	}
}

// fail ends a connection one side of which is broken.
func (c *conn) fail() {
	c.cutter.mu.Lock()
	defer c.cutter.mu.Unlock()
	c.end(true)
}

// carry passes bytes both ways until both sides have ended, or one broke.
func (c *conn) carry() {
	var all sync.WaitGroup
	for way, sides := range map[Direction][2]*net.TCPConn{Up: {c.client, c.server}, Down: {c.server, c.client}} {
		waiting := make(chan chunk, chunks)
		all.Go(func() { c.read(sides[0], waiting) })
		all.Go(func() { c.write(way, waiting, sides[1]) })
	}
	all.Wait()
}

// read takes what one side sends until it ends.
func (c *conn) read(from *net.TCPConn, waiting chan<- chunk) {
	defer close(waiting)
	for {
		buf := make([]byte, size)
		n, err := from.Read(buf)
		if n > 0 {
			c.cutter.mu.Lock()
			due := time.Now().Add(c.cutter.delay)
			c.cutter.mu.Unlock()
			select {
			case waiting <- chunk{buf[:n], due}:
			case <-c.over:
				return
			}
		}
		if errors.Is(err, io.EOF) {
			return // The other side learns it when everything before has passed.
		}
		if err != nil {
			c.fail()
			return
		}
	}
}

// write passes on what is due, unless the direction is cut.
func (c *conn) write(way Direction, waiting <-chan chunk, to *net.TCPConn) {
	for k := range waiting {
		if !c.pass(way, k.due) {
			continue
		}
		if _, err := to.Write(k.bytes); err != nil {
			c.fail()
		}
	}
	if c.pass(way, time.Time{}) {
		_ = to.CloseWrite() // The end of a stream is passed on as such.
	}
}

// pass waits until a chunk may go on. It is false when the chunk is lost, or the connection over.
func (c *conn) pass(way Direction, due time.Time) bool {
	for {
		c.cutter.mu.Lock()
		lost, held, changed := c.cutter.lost&way != 0, c.cutter.held&way != 0, c.cutter.changed
		c.maimed = c.maimed || lost
		ended := c.ended
		c.cutter.mu.Unlock()
		if ended || lost {
			return false
		}
		wait := time.Until(due)
		if !held && wait <= 0 {
			return true
		}
		var clock <-chan time.Time
		if !held {
			clock = time.After(wait)
		}
		select {
		case <-clock:
		case <-changed:
		case <-c.over:
			return false
		}
	}
}
