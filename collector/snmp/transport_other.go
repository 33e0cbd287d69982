//go:build !linux

package snmp

import "net"

func tune(*net.UDPConn, int) {}

// networkErrors has nothing to tell where the system does not say which packet an error is about: polls time out.
func (t *transport) networkErrors(*net.UDPConn) {}
