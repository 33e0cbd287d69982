package snmp

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kemi.dev/kemi/internal/obs"
)

// transport sends requests to all targets through one UDP socket for each address family and hands every answer to
// the call that waits for it, by request id and sender.
type transport struct {
	scope    obs.Scope
	dropped  *prometheus.CounterVec
	received prometheus.Counter
	packets  sync.Pool // of *packet

	mu      sync.Mutex
	sockets [2]*net.UDPConn // for IPv4 and IPv6; nil when not open
	pending map[int32]*call
	// asked is the newest call to an address.
	asked map[netip.AddrPort]*call
}

// packet is one received message. Its receiver gives it back to the pool.
type packet struct{ data []byte }

// reply is what a call gets: a packet, or what the network says instead.
type reply struct {
	packet *packet
	err    error
}

// call is one request that waits for its answer.
type call struct {
	id      int32
	to      netip.AddrPort
	replies chan reply // room for one: what comes while one is there is dropped
	// heard is what else came meanwhile. Under transport.mu.
	heard hearsay
}

// hearsay is what came while a call waited and was not its answer: it explains a timeout.
type hearsay struct {
	// stranger is who else answered under the request's id.
	stranger netip.AddrPort
	// garbage says that the target's address sent what is no SNMP message. Anybody can do that in its name, so the call
	// goes on waiting.
	garbage bool
}

const (
	maxDatagram = 65535
	readBuffer  = 16 << 20
	// readPause follows an error that is nobody's answer: the system is out of something.
	readPause = 10 * time.Millisecond
	// packetRoom is the size of pooled packets: what fits an Ethernet frame, and most larger answers. Larger packets
	// are made and dropped.
	packetRoom = 4096
)

func newTransport(scope obs.Scope) *transport {
	t := &transport{
		scope: scope, pending: map[int32]*call{}, asked: map[netip.AddrPort]*call{},
		dropped:  scope.Counter("kemi_collector_snmp_dropped_total", "Packets that came from the network and were no answer anybody waits for.", "reason"),
		received: scope.Counter("kemi_collector_snmp_answers_total", "Packets that were handed to the poll that waited for them.").WithLabelValues(),
	}
	t.packets.New = func() any { return &packet{data: make([]byte, 0, packetRoom)} }
	return t
}

// socket returns the socket for an address, opening it when needed.
func (t *transport) socket(to netip.Addr) (*net.UDPConn, error) {
	family, network := 0, "udp4"
	if to.Is6() {
		family, network = 1, "udp6"
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.sockets[family]; s != nil {
		return s, nil
	}
	s, err := net.ListenUDP(network, nil)
	if err != nil {
		return nil, fmt.Errorf("open %s socket: %w", network, err)
	}
	// More than the system allows is cut to what it allows.
	_ = s.SetReadBuffer(readBuffer)
	tune(s, readBuffer)
	t.sockets[family] = s
	go t.receive(s)
	return s, nil
}

// close closes the sockets; the next call opens them again.
func (t *transport) close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var errs []error
	for i, s := range t.sockets {
		if s != nil {
			errs = append(errs, s.Close())
			t.sockets[i] = nil
		}
	}
	return errors.Join(errs...)
}

// register gives the call a request id of its own, which a stranger cannot guess, and waits for answers to it.
func (t *transport) register(c *call) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c.heard = hearsay{}
	for {
		c.id = rand.Int32()
		if _, taken := t.pending[c.id]; !taken && c.id > 0 {
			t.pending[c.id], t.asked[c.to] = c, c
			return
		}
	}
}

// forget ends the wait; an answer that comes later is dropped. It returns what else came.
func (t *transport) forget(c *call) (heard hearsay) {
	t.mu.Lock()
	delete(t.pending, c.id)
	if t.asked[c.to] == c {
		delete(t.asked, c.to)
	}
	heard = c.heard
	t.mu.Unlock()
	select {
	case r := <-c.replies:
		t.release(r.packet)
	default:
	}
	return heard
}

func (t *transport) release(p *packet) {
	if p != nil && cap(p.data) == packetRoom {
		t.packets.Put(p)
	}
}

// send sends a packet to the call's target.
func (t *transport) send(c *call, data []byte) error {
	s, err := t.socket(c.to.Addr())
	if err != nil {
		return err
	}
	// The system reports what the network said about other packets on whatever is sent next.
	for range 8 {
		if _, err = s.WriteToUDPAddrPort(data, c.to); err == nil || !isNetworkError(err) {
			return err
		}
		t.networkErrors(s)
		if len(c.replies) > 0 {
			return nil // It was about this call after all.
		}
	}
	return err
}

// receive hands over what arrives until the socket is closed.
func (t *transport) receive(s *net.UDPConn) {
	buf := make([]byte, maxDatagram)
	for {
		n, from, err := s.ReadFromUDPAddrPort(buf)
		switch {
		case err == nil:
			t.deliver(buf[:n], netip.AddrPortFrom(from.Addr().Unmap(), from.Port()))
		case errors.Is(err, net.ErrClosed):
			return
		default:
			t.networkErrors(s)
			if !isNetworkError(err) {
				t.scope.Log().Warn("read snmp answers", "err", err)
				time.Sleep(readPause)
			}
		}
	}
}

// deliver hands an answer to its call, or counts why it cannot.
func (t *transport) deliver(data []byte, from netip.AddrPort) {
	id, ok := requestID(data)
	if !ok {
		t.dropped.WithLabelValues("garbage").Inc()
		t.blame(from)
		return
	}
	t.mu.Lock()
	c := t.pending[id]
	if c == nil {
		t.mu.Unlock()
		t.dropped.WithLabelValues("unknown-id").Inc()
		return
	}
	if c.to != from {
		c.heard.stranger = from
		t.mu.Unlock()
		t.dropped.WithLabelValues("stranger").Inc()
		return
	}
	p := t.packets.Get().(*packet)
	if len(data) > cap(p.data) {
		t.packets.Put(p)
		p = &packet{data: make([]byte, 0, len(data))}
	}
	p.data = append(p.data[:0], data...)
	// Under the lock, so that nothing is put into a call that was forgotten.
	select {
	case c.replies <- reply{packet: p}:
		t.mu.Unlock()
		t.received.Inc()
	default:
		t.mu.Unlock()
		t.release(p)
		t.dropped.WithLabelValues("repeated").Inc()
	}
}

// blame notes garbage with the call to its sender.
func (t *transport) blame(from netip.AddrPort) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.asked[from]; c != nil {
		c.heard.garbage = true
	}
}

// tell hands an error to the call of an id to a target.
func (t *transport) tell(to netip.AddrPort, id int32, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.pending[id]; c != nil && c.to == to {
		select {
		case c.replies <- reply{err: err}:
		default:
		}
	}
}

// isNetworkError reports whether err is what ICMP told rather than a failure of the socket.
func isNetworkError(err error) bool {
	for _, e := range []syscall.Errno{syscall.ECONNREFUSED, syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.EPROTO, syscall.ENOPROTOOPT, syscall.EACCES} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
