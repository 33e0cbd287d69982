//go:build !linux

package simulate

import "syscall"

// prepare does nothing here: the destination check has to be enough.
func prepare(_, _ string, _ syscall.RawConn) error { return nil }
