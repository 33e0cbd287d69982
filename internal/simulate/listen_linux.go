package simulate

import "syscall"

// onlyLoopback ties a socket to the loopback interface before it is bound, so
// that nothing from the network reaches it. Where the system does not allow
// it (before Linux 5.7, without privileges) the destination check is enough.
func onlyLoopback(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) {
		_ = syscall.SetsockoptString(int(fd), syscall.SOL_SOCKET, syscall.SO_BINDTODEVICE, "lo")
	})
}
