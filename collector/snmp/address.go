package snmp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"kemi.dev/kemi/bus/event"
)

// splitAddress reads "10.0.0.1", "10.0.0.1:161", "[2001:db8::1]:161", "2001:db8::1", "name" and "name:161". Of a name
// the address is the zero AddrPort.
func splitAddress(s string, port int) (addr netip.AddrPort, name string, err error) {
	if a, err := netip.ParseAddrPort(s); err == nil {
		return checked(netip.AddrPortFrom(a.Addr().Unmap(), a.Port()))
	}
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return checked(netip.AddrPortFrom(a.Unmap(), uint16(port)))
	}
	host, digits, found := strings.Cut(s, ":")
	if found {
		n, err := strconv.ParseUint(digits, 10, 16)
		if err != nil || n == 0 {
			return netip.AddrPort{}, "", fmt.Errorf("address %q: %q is no port", s, digits)
		}
		port = int(n)
	}
	if host == "" || strings.ContainsAny(host, "/@ []") {
		return netip.AddrPort{}, "", fmt.Errorf("address %q is no host and port", s)
	}
	return netip.AddrPort{}, net.JoinHostPort(host, strconv.Itoa(port)), nil
}

func checked(a netip.AddrPort) (netip.AddrPort, string, error) {
	if a.Port() == 0 {
		return netip.AddrPort{}, "", errors.New("there is no port 0")
	}
	return a, "", nil
}

// nameFor is how long the address of a name is believed.
const nameFor = 5 * time.Minute

// resolve finds where a job's target is, with what the memory knows of names.
func resolve(ctx context.Context, m *memory, address string, port int, now time.Time) (netip.AddrPort, *failure) {
	addr, name, err := splitAddress(address, port)
	switch {
	case err != nil:
		return addr, &failure{event.StatusError, err.Error()}
	case name == "":
		return addr, nil
	case m.name == name && now.Sub(m.resolved) < nameFor:
		return m.addr, nil
	}
	host, digits, _ := net.SplitHostPort(name)
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil || len(found) == 0 {
		if m.name == name { // An old address is better than none.
			return m.addr, nil
		}
		return addr, &failure{event.StatusUnreachable, fmt.Sprintf("the name %s has no address: %v", host, err)}
	}
	n, _ := strconv.ParseUint(digits, 10, 16)
	m.name, m.resolved = name, now
	m.addr = netip.AddrPortFrom(found[0].Unmap(), uint16(n))
	return m.addr, nil
}
