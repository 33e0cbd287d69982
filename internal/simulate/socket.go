package simulate

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/ipv4"
)

const (
	batch       = 32   // packets per system call
	maxRequest  = 4096 // octets; longer requests are dropped as malformed
	maxDelayed  = 1 << 16
	readBuffer  = 4 << 20 // octets of requests that may wait, as far as the system allows
	controlSize = 128
	maxFailures = 100 // reads in a row that may fail
)

// socket is the one UDP socket of all SNMP devices. It is bound to the
// wildcard address, because a socket can be bound to one address or to all;
// the fleet drops what was not sent to one of its devices.
type socket struct {
	conn *net.UDPConn
	ipv4 *ipv4.PacketConn
	port uint16
}

func listenSocket(ctx context.Context, port uint16) (*socket, error) {
	lc := net.ListenConfig{Control: prepare}
	pc, err := lc.ListenPacket(ctx, "udp4", netip.AddrPortFrom(netip.IPv4Unspecified(), port).String())
	if err != nil {
		return nil, err
	}
	conn := pc.(*net.UDPConn)
	s := &socket{conn: conn, ipv4: ipv4.NewPacketConn(conn), port: conn.LocalAddr().(*net.UDPAddr).AddrPort().Port()}
	if err := s.ipv4.SetControlMessage(ipv4.FlagDst, true); err != nil {
		conn.Close()
		return nil, err
	}
	return s, nil
}

func (s *socket) close() { s.conn.Close() }

// sourceControl is the control message that makes an answer come from addr.
func sourceControl(addr netip.Addr) []byte {
	cm := ipv4.ControlMessage{Src: net.IP(addr.AsSlice())}
	return cm.Marshal()
}

// stranger is where answers come from that Stranger sends astray.
func stranger() netip.Addr { return netip.AddrFrom4([4]byte{127, 255, 255, 254}) }

// serve answers SNMP requests until the socket is closed.
func (f *Fleet) serve(ctx context.Context, s *socket) error {
	a := agent{maxMessage: f.cfg.MaxMessage, community: f.cfg.Community}
	room := headroom([]byte(f.cfg.Community)) + f.cfg.MaxMessage + 1024
	in, out := make([]ipv4.Message, batch), make([]ipv4.Message, 0, batch)
	replies, slots := make([][]byte, batch), make([][1][]byte, batch)
	for i := range in {
		in[i].Buffers = [][]byte{make([]byte, maxRequest)}
		in[i].OOB = make([]byte, controlSize)
		replies[i] = make([]byte, room)
	}
	var cm ipv4.ControlMessage
	failures := 0
	for {
		n, err := s.ipv4.ReadBatch(in, 0)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			if failures++; failures == maxFailures {
				return fmt.Errorf("read SNMP requests: %w", err)
			}
			f.cfg.Log.Warn("read SNMP requests", "err", err)
			continue
		}
		failures = 0
		now := f.cfg.Now()
		out = out[:0]
		for i := range in[:n] {
			m := f.asked(&cm, in[i].OOB[:in[i].NN])
			if m == nil {
				f.count.foreign.Add(1)
				continue
			}
			reply, control := f.reply(&a, m, in[i].Buffers[0][:in[i].N], replies[i], now)
			if reply == nil {
				continue
			}
			if delay := m.state.Load().slow; delay > 0 {
				f.later(s, m, now.Add(delay), reply, control, in[i].Addr)
				continue
			}
			m.told.Add(1)
			slots[i][0] = reply
			out = append(out, ipv4.Message{Buffers: slots[i][:], OOB: control, Addr: in[i].Addr})
		}
		f.send(s, out)
	}
}

// asked finds the device a packet was sent to, by its destination address.
func (f *Fleet) asked(cm *ipv4.ControlMessage, control []byte) *member {
	cm.Dst = cm.Dst[:0]
	if cm.Parse(control) != nil || len(cm.Dst) != net.IPv4len {
		return nil
	}
	return f.byAddr[netip.AddrFrom4([4]byte(cm.Dst))]
}

// reply makes device m's answer and the control message that names its source.
func (f *Fleet) reply(a *agent, m *member, packet, buf []byte, now time.Time) (reply, control []byte) {
	m.asked.Add(1)
	f.count.requests.Add(1)
	if !m.lit.Load() {
		f.count.silent.Add(1)
		return nil, nil
	}
	if !a.accept(packet) {
		f.count.refused.Add(1)
		return nil, nil
	}
	st := m.state.Load()
	if st.lossy > 0 && m.draw()*100 < st.lossy {
		f.count.lost.Add(1)
		return nil, nil
	}
	previous := m.lastID.Swap(a.request.id)
	if st.mangle == WrongID {
		// A repeated request has the id of the one before: then that is not old.
		if previous == a.request.id || previous == 0 {
			previous = a.request.id - 1
		}
		a.request.id = previous
	}
	if reply = a.respond(buf, &m.device, st, now); reply == nil {
		f.count.refused.Add(1)
		return nil, nil
	}
	control = m.source
	switch st.mangle {
	case Garbage:
		reply = m.garbage(buf)
	case Truncated:
		reply = reply[:1+int(m.draw()*float64(len(reply)-1))]
	case Stranger:
		control = sourceControl(stranger())
	}
	return reply, control
}

// draw gives the device's next random number, 0 … 1.
func (m *member) draw() float64 { return share(mix(m.seed ^ m.draws.Add(1)*0x9e3779b97f4a7c15)) }

// garbage fills buf with 1 to 200 random octets.
func (m *member) garbage(buf []byte) []byte {
	buf = buf[:1+int(m.draw()*200)]
	for i := range buf {
		buf[i] = byte(m.draw() * 256)
	}
	return buf
}

// later sends an answer after a delay. It copies what the caller will reuse.
func (f *Fleet) later(s *socket, m *member, at time.Time, reply, control []byte, to net.Addr) {
	copied := append([]byte(nil), reply...)
	ok := f.timers.add(at, maxDelayed, func() {
		if !m.lit.Load() { // it went down in the meantime
			f.count.silent.Add(1)
			return
		}
		m.told.Add(1)
		f.send(s, []ipv4.Message{{Buffers: [][]byte{copied}, OOB: control, Addr: to}})
	})
	if !ok {
		f.count.lost.Add(1)
	}
}

// send writes the messages; one that cannot be sent is dropped as a network
// would drop it.
func (f *Fleet) send(s *socket, out []ipv4.Message) {
	for len(out) > 0 {
		n, err := s.ipv4.WriteBatch(out, 0)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			f.cfg.Log.Debug("send SNMP answer", "to", out[0].Addr, "err", err)
			f.count.lost.Add(1)
			n = 1
		} else {
			f.count.answers.Add(uint64(n))
		}
		out = out[n:]
	}
}
