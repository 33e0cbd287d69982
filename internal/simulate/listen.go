package simulate

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Listen is the range of loopback addresses a fleet answers on, and the UDP
// port all its SNMP devices share. Port 0 takes a free one.
type Listen struct {
	Prefix netip.Prefix
	Port   uint16
}

var loopback = netip.PrefixFrom(netip.AddrFrom4([4]byte{127, 0, 0, 0}), 8)

// ParseListen reads "127.1.0.0/16:1161", or "127.1.0.1:1161" for one address.
func ParseListen(s string) (Listen, error) {
	const advice = "write it as 127.1.0.0/16:1161"
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return Listen{}, fmt.Errorf("listen range %q has no port: %s", s, advice)
	}
	port, err := strconv.ParseUint(s[i+1:], 10, 16)
	if err != nil {
		return Listen{}, fmt.Errorf("listen range %q: port %q is not a number from 0 to 65535: %s", s, s[i+1:], advice)
	}
	text := s[:i]
	if !strings.Contains(text, "/") {
		text += "/32"
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return Listen{}, fmt.Errorf("listen range %q: %q is not an address range: %s", s, s[:i], advice)
	}
	l := Listen{Prefix: p.Masked(), Port: uint16(port)}
	return l, l.validate()
}

// String gives the form ParseListen reads.
func (l Listen) String() string { return l.Prefix.String() + ":" + strconv.Itoa(int(l.Port)) }

func (l Listen) validate() error {
	if !l.Prefix.IsValid() || !l.Prefix.Addr().Is4() || l.Prefix.Bits() < 8 || !loopback.Contains(l.Prefix.Addr()) {
		return fmt.Errorf("listen range %s is not within 127.0.0.0/8: simulated devices live on loopback addresses only, for example 127.1.0.0/16", l.Prefix)
	}
	return nil
}

// address returns the n-th usable address of the range, from 0. The first and
// the last address are left out where the range has more than two, because
// 127.255.255.255 is lo's broadcast address.
func (l Listen) address(n int) (netip.Addr, error) {
	size := 1 << (32 - l.Prefix.Bits())
	first, usable := 0, size
	if size > 2 {
		first, usable = 1, size-2
	}
	if n < 0 || n >= usable {
		return netip.Addr{}, fmt.Errorf("%s has room for %d devices, not for %d: use a wider range", l.Prefix, usable, n+1)
	}
	base := l.Prefix.Masked().Addr().As4()
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(base[:])+uint32(first+n))
	return netip.AddrFrom4(b), nil
}
