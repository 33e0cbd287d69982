package snmp

import (
	"encoding/binary"
	"net"
	"net/netip"
	"syscall"
)

// Options of sockets that package syscall does not name (linux/in6.h, asm-generic/socket.h).
const (
	ipv6RecvErr    = 25
	soRcvBufForce  = 33
	maxOfErrorRead = 2048
)

// tune asks the system to say what ICMP tells about single packets (ip(7), IP_RECVERR), and for a receive buffer over
// the limit, which needs CAP_NET_ADMIN. Without either, polls work as well and know less.
func tune(s *net.UDPConn, buffer int) {
	raw, err := s.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, syscall.IP_RECVERR, 1)
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IPV6, ipv6RecvErr, 1)
		_ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, soRcvBufForce, buffer)
	})
}

// networkErrors reads what ICMP told about packets that were sent, and tells the calls.
func (t *transport) networkErrors(s *net.UDPConn) {
	raw, err := s.SyscallConn()
	if err != nil {
		return
	}
	data, control := make([]byte, maxOfErrorRead), make([]byte, 512)
	for {
		var n, cn int
		var to syscall.Sockaddr
		var failed error
		if err := raw.Control(func(fd uintptr) {
			n, cn, _, to, failed = syscall.Recvmsg(int(fd), data, control, syscall.MSG_ERRQUEUE|syscall.MSG_DONTWAIT)
		}); err != nil || failed != nil {
			return
		}
		// The packet that was sent comes back, with its receiver as the address.
		id, known := requestID(data[:n])
		errno, told := extendedError(control[:cn])
		if addr, ok := addressOf(to); ok && known && told {
			t.tell(addr, id, errno)
		}
	}
}

// extendedError finds the errno of a struct sock_extended_err, whose first field it is.
func extendedError(control []byte) (syscall.Errno, bool) {
	messages, err := syscall.ParseSocketControlMessage(control)
	if err != nil {
		return 0, false
	}
	for _, m := range messages {
		v4 := m.Header.Level == syscall.IPPROTO_IP && m.Header.Type == syscall.IP_RECVERR
		v6 := m.Header.Level == syscall.IPPROTO_IPV6 && m.Header.Type == ipv6RecvErr
		if (v4 || v6) && len(m.Data) >= 4 {
			return syscall.Errno(binary.NativeEndian.Uint32(m.Data)), true
		}
	}
	return 0, false
}

func addressOf(sa syscall.Sockaddr) (netip.AddrPort, bool) {
	switch sa := sa.(type) {
	case *syscall.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port)), true
	case *syscall.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), uint16(sa.Port)), true
	}
	return netip.AddrPort{}, false
}
