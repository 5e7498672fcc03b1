package proxy

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
)

// privateError is a destination that a client from elsewhere must not reach by
// way of this machine: itself, and the networks it is in.
type privateError struct {
	ip netip.Addr
}

func (e *privateError) Error() string {
	return fmt.Sprintf("%v is private, and the client comes from a listener that is open to others", e.ip)
}

// dialPublic connects as net.Dialer does, but not to private addresses. It looks
// at the address that is about to be connected to, whatever name it had.
func dialPublic(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{Control: func(_, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		return checkPublic(to.Addr())
	}}
	return d.DialContext(ctx, network, addr)
}

// checkPublic returns a *privateError if ip is private.
func checkPublic(ip netip.Addr) error {
	if isPrivate(ip) {
		return &privateError{ip}
	}
	return nil
}

// privateRanges are those that netip does not know: IANA's special-purpose
// registries (RFC 6890).
var privateRanges = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"), // carrier-grade NAT
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"), // benchmarks
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("fec0::/10"), // site-local, once
}

var (
	nat64    = netip.MustParsePrefix("64:ff9b::/96")
	sixTo4   = netip.MustParsePrefix("2002::/16")
	v4Compat = netip.MustParsePrefix("::/96")
)

// isPrivate says whether ip, or an IPv4 address that it embeds, is not one of the
// public internet's.
func isPrivate(ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("")
	b := ip.As16()
	switch {
	case ip.IsPrivate(), ip.IsLoopback(), ip.IsUnspecified(), ip.IsMulticast(), ip.IsLinkLocalUnicast():
		return true
	case slices.ContainsFunc(privateRanges, func(p netip.Prefix) bool { return p.Contains(ip) }):
		return true
	case ip.Is6() && (nat64.Contains(ip) || v4Compat.Contains(ip)):
		return isPrivate(netip.AddrFrom4([4]byte(b[12:])))
	case sixTo4.Contains(ip):
		return isPrivate(netip.AddrFrom4([4]byte(b[2:6])))
	}
	return false
}
