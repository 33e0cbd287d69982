// Package cutter is a TCP proxy for tests that breaks connections in the ways networks do.
//
// In: an address to listen on and one to connect to. Out: the same bytes, until somebody cuts.
// It promises that a cut acts on connections that are open and on new ones alike, until Heal; that it keeps at most
// 8 MiB per connection and direction and 1,024 connections; and that Close leaves no goroutine behind.
// It never changes a byte: a connection either carries what was sent, in order, or is reset.
package cutter

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// maxConns bounds the connections at a time; further ones are reset at once.
const maxConns = 1024

// dialing is how long the target may take to accept: a paused process with a full queue does not.
const dialing = 10 * time.Second

// Direction is a way through the cutter, or both.
type Direction int

// The directions; they can be combined with |.
const (
	// Up is from the client to the target.
	Up Direction = 1 << iota
	// Down is from the target to the client.
	Down
	// Both is Up and Down.
	Both = Up | Down
)

// Cutter is one listener before one target. Its methods may be called from any goroutine.
type Cutter struct {
	addr, target string

	mu      sync.Mutex
	changed chan struct{} // Closed when what follows changes.
	closed  bool
	ln      net.Listener // Nil while connections are refused.
	held    Direction    // Where bytes wait.
	lost    Direction    // Where bytes vanish.
	delay   time.Duration
	conns   map[*conn]struct{}
	all     sync.WaitGroup
}

// New listens on addr (port 0: any that is free) and connects whoever comes to target.
func New(addr, target string) (*Cutter, error) {
	c := &Cutter{addr: addr, target: target, changed: make(chan struct{}), conns: map[*conn]struct{}{}}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.listen(); err != nil {
		return nil, err
	}
	c.addr = c.ln.Addr().String()
	return c, nil
}

// Addr is where clients connect to.
func (c *Cutter) Addr() string { return c.addr }

// Target is where the cutter connects to.
func (c *Cutter) Target() string { return c.target }

// Conns is how many connections are open.
func (c *Cutter) Conns() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.conns)
}

// Drop resets the connections that are open and refuses new ones, as a host does whose process died.
func (c *Cutter) Drop() {
	c.change(func() {
		if c.ln != nil {
			c.ln.Close()
			c.ln = nil
		}
		c.reset(func(*conn) bool { return true })
	})
}

// Reset resets the connections that are open; new ones pass.
func (c *Cutter) Reset() { c.change(func() { c.reset(func(*conn) bool { return true }) }) }

// Delay makes every byte take so much longer in each direction; 0 ends it.
func (c *Cutter) Delay(d time.Duration) { c.change(func() { c.delay = d }) }

// Hold lets nothing pass in the directions: connections are accepted and stay open, and what was sent waits. After
// Heal it arrives, late, as after a network partition that was shorter than the patience of TCP.
func (c *Cutter) Hold(d Direction) { c.change(func() { c.held |= d }) }

// Swallow accepts connections and takes what is sent in the directions, and passes none of it on. A connection that
// lost bytes is reset by Heal.
func (c *Cutter) Swallow(d Direction) { c.change(func() { c.lost |= d }) }

// Heal ends every cut. It fails when the address cannot be listened on again.
func (c *Cutter) Heal() error {
	var err error
	c.change(func() {
		c.held, c.lost, c.delay = 0, 0, 0
		c.reset(func(conn *conn) bool { return conn.maimed })
		if c.ln == nil && !c.closed {
			err = c.listen()
		}
	})
	return err
}

// Close resets every connection and waits for their goroutines. Closing twice is harmless.
func (c *Cutter) Close() {
	c.change(func() {
		c.closed = true
		if c.ln != nil {
			c.ln.Close()
			c.ln = nil
		}
		c.reset(func(*conn) bool { return true })
	})
	c.all.Wait()
}

// change applies f and tells those who wait.
func (c *Cutter) change(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
	close(c.changed)
	c.changed = make(chan struct{})
}

// reset ends the connections that match. The lock is held.
func (c *Cutter) reset(match func(*conn) bool) {
	for conn := range c.conns {
		if match(conn) {
			conn.end(true)
		}
	}
}

// listen begins to accept. The lock is held.
func (c *Cutter) listen() error {
	ln, err := net.Listen("tcp", c.addr)
	if err != nil {
		return fmt.Errorf("listen for %s: %w", c.target, err)
	}
	c.ln = ln
	c.all.Go(func() {
		for {
			client, err := ln.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				c.all.Go(func() { c.serve(client.(*net.TCPConn)) })
			}
		}
	})
	return nil
}

// serve carries one connection to its end.
func (c *Cutter) serve(client *net.TCPConn) {
	conn := &conn{cutter: c, client: client, over: make(chan struct{})}
	c.mu.Lock()
	full := c.ln == nil || len(c.conns) >= maxConns
	if full {
		conn.end(true)
	} else {
		c.conns[conn] = struct{}{}
	}
	c.mu.Unlock()
	if full {
		return
	}
	defer func() {
		c.mu.Lock()
		conn.end(conn.server == nil)
		delete(c.conns, conn)
		c.mu.Unlock()
	}()
	ctx, cancel := context.WithTimeout(context.Background(), dialing)
	defer cancel()
	go func() {
		select {
		case <-conn.over:
			cancel()
		case <-ctx.Done():
		}
	}()
	server, err := (&net.Dialer{}).DialContext(ctx, "tcp", c.target)
	if err != nil {
		return
	}
	c.mu.Lock()
	gone := conn.ended
	conn.server = server.(*net.TCPConn)
	c.mu.Unlock()
	if gone {
		server.Close()
		return
	}
	conn.carry()
}
