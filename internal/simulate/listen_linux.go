package simulate

import "syscall"

// prepare ties a socket to the loopback interface before it is bound, so that
// nothing from the network reaches it. Where the system does not allow that
// (before Linux 5.7, without privileges) the destination check is enough. It
// also asks for a large receive buffer: first for one above the system's
// limit, which needs privileges, else for as much as there is.
func prepare(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) {
		_ = syscall.SetsockoptString(int(fd), syscall.SOL_SOCKET, syscall.SO_BINDTODEVICE, "lo")
		if syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUFFORCE, readBuffer) != nil {
			_ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, readBuffer)
		}
	})
}
