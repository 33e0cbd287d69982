package brokers

import (
	"strings"
	"testing"

	"kemi.dev/kemi/internal/cutter"
)

// Path is a way of its own to a cluster: one cutter before each node. Whoever uses it can be cut off alone.
type Path struct {
	// Cutters, in the order of the nodes.
	Cutters []*cutter.Cutter
	t       testing.TB
	scheme  string
}

func newPath(t testing.TB, scheme string, targets []string) *Path {
	t.Helper()
	p := &Path{t: t, scheme: scheme}
	for _, target := range targets {
		c, err := cutter.New(Address(t), target)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		p.Cutters = append(p.Cutters, c)
	}
	return p
}

// Addrs are where a client on this path connects to, host:port.
func (p *Path) Addrs() []string {
	var all []string
	for _, c := range p.Cutters {
		all = append(all, c.Addr())
	}
	return all
}

// URLs are Addrs with the scheme of the broker, as NATS clients want them.
func (p *Path) URLs() []string { return urls(p.scheme, p.Addrs()) }

// Drop resets what goes along the path and refuses what wants to.
func (p *Path) Drop() { p.each((*cutter.Cutter).Drop) }

// Hold keeps back what is sent until Heal; see cutter.Cutter.
func (p *Path) Hold(d cutter.Direction) { p.each(func(c *cutter.Cutter) { c.Hold(d) }) }

// Swallow takes what is sent and passes none of it on, until Heal.
func (p *Path) Swallow(d cutter.Direction) { p.each(func(c *cutter.Cutter) { c.Swallow(d) }) }

// Heal ends every cut; failing to is the test's failure.
func (p *Path) Heal() {
	p.t.Helper()
	p.each(func(c *cutter.Cutter) {
		if err := c.Heal(); err != nil {
			p.t.Errorf("heal the path to %s: %v", c.Target(), err)
		}
	})
}

func (p *Path) each(f func(*cutter.Cutter)) {
	for _, c := range p.Cutters {
		f(c)
	}
}

func urls(scheme string, addrs []string) []string {
	var all []string
	for _, a := range addrs {
		all = append(all, strings.Join([]string{scheme, a}, "://"))
	}
	return all
}
