package kafka

import (
	"context"
	"net"
	"sync"
	"time"
)

// gate is the way of one driver to its brokers. Shut, it lets nothing through, in neither direction, and says nothing.
type gate struct {
	mu   sync.Mutex
	open chan struct{} // Closed while the gate is open.
}

func newGate() *gate {
	g := &gate{open: make(chan struct{})}
	close(g.open)
	return g
}

// shut closes the gate for so long.
func (g *gate) shut(d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := make(chan struct{})
	g.open = c
	time.AfterFunc(d, func() { close(c) })
}

func (g *gate) pass() {
	g.mu.Lock()
	c := g.open
	g.mu.Unlock()
	<-c
}

func (g *gate) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	g.pass()
	c, err := (&net.Dialer{Timeout: 2 * time.Second}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &gated{c, g}, nil
}

type gated struct {
	net.Conn
	g *gate
}

func (c *gated) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.g.pass()
	return n, err
}

func (c *gated) Write(p []byte) (int, error) {
	c.g.pass()
	return c.Conn.Write(p)
}
