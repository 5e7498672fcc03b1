package proxy

import (
	"net/netip"
	"slices"
)

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
	switch {
	case ip.IsPrivate(), ip.IsLoopback(), ip.IsUnspecified(), ip.IsMulticast(), ip.IsLinkLocalUnicast():
		return true
	case slices.ContainsFunc(privateRanges, func(p netip.Prefix) bool { return p.Contains(ip) }):
		return true
	}
	v4 := embedded(ip)
	return v4.IsValid() && isPrivate(v4)
}

// embedded returns the IPv4 address that ip embeds, if it is IPv6 that does. Such
// packets may come out in IPv4 again.
func embedded(ip netip.Addr) netip.Addr {
	if !ip.Is6() {
		return netip.Addr{}
	}
	b := ip.As16()
	switch {
	case nat64.Contains(ip), v4Compat.Contains(ip):
		return netip.AddrFrom4([4]byte(b[12:]))
	case sixTo4.Contains(ip):
		return netip.AddrFrom4([4]byte(b[2:6]))
	}
	return netip.Addr{}
}
