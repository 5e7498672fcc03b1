package rules

import (
	"net/netip"
	"slices"
)

// IANA's special-purpose address registries (RFC 6890), except what netip covers. special
// holds blocks that are not globally reachable or are deprecated, reachable the exceptions
// within them.
var (
	special = prefixes(
		"0.0.0.0/8",
		"100.64.0.0/10", // carrier-grade NAT
		"192.0.0.0/24",
		"192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", // documentation
		"192.88.99.0/24", // 6to4 relays, deprecated
		"198.18.0.0/15",  // benchmarks
		"240.0.0.0/4",
		"2001::/23",
		"2001:db8::/32", "3fff::/20", // documentation
	)
	reachable = prefixes(
		"192.0.0.9/32", "192.0.0.10/32", // anycast: PCP, TURN
		"2001::/32",                                       // Teredo: the embedded addresses decide
		"2001:1::1/128", "2001:1::2/128", "2001:1::3/128", // anycast: PCP, TURN, DNS-SD
		"2001:3::/32", "2001:4:112::/48", // AMT, AS112
		"2001:20::/28", "2001:30::/28", // ORCHIDv2, drones
	)

	// globalUnicast is the allocated part of IPv6 (RFC 4291). All else is local,
	// deprecated or reserved (::/96, 64:ff9b:1::/48, 100::/64, 5f00::/16, fc00::/7,
	// fec0::/10), except NAT64's well-known prefix.
	globalUnicast = netip.MustParsePrefix("2000::/3")
	nat64         = netip.MustParsePrefix("64:ff9b::/96")

	localNAT64 = netip.MustParsePrefix("64:ff9b:1::/48")  // RFC 8215
	sixTo4     = netip.MustParsePrefix("2002::/16")       // RFC 3056
	teredo     = netip.MustParsePrefix("2001::/32")       // RFC 4380
	v4Compat   = netip.MustParsePrefix("::/96")           // RFC 4291
	translated = netip.MustParsePrefix("::ffff:0:0:0/96") // RFC 2765
)

func prefixes(all ...string) (parsed []netip.Prefix) {
	for _, each := range all {
		parsed = append(parsed, netip.MustParsePrefix(each))
	}
	return parsed
}

func inAny(all []netip.Prefix, ip netip.Addr) bool {
	return slices.ContainsFunc(all, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// IsPrivate reports whether ip, or an IPv4 address that it embeds, is not a public address.
func IsPrivate(ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("")
	switch {
	case ip.IsPrivate(), ip.IsLoopback(), ip.IsUnspecified(), ip.IsMulticast(), ip.IsLinkLocalUnicast():
		return true
	case ip.Is6() && !globalUnicast.Contains(ip) && !nat64.Contains(ip):
		return true
	case inAny(special, ip) && !inAny(reachable, ip):
		return true
	}
	return slices.ContainsFunc(embedded(ip), IsPrivate)
}

// embedded returns the IPv4 addresses that an IPv6 address embeds: packets to it may be
// translated to IPv4.
func embedded(ip netip.Addr) (all []netip.Addr) {
	if !ip.Is6() {
		return nil
	}
	b := ip.As16()
	add := func(v4 ...byte) { all = append(all, netip.AddrFrom4([4]byte(v4))) }
	switch {
	case nat64.Contains(ip), v4Compat.Contains(ip), translated.Contains(ip):
		add(b[12:]...)
	case localNAT64.Contains(ip): // at any position of RFC 6052, which skips byte 8
		add(b[6], b[7], b[9], b[10])
		add(b[7], b[9], b[10], b[11])
		add(b[9:13]...)
		add(b[12:]...)
	case sixTo4.Contains(ip):
		add(b[2:6]...)
	case teredo.Contains(ip): // of the server, and of the client, inverted
		add(b[4:8]...)
		add(^b[12], ^b[13], ^b[14], ^b[15])
	}
	if b[8]&^2 == 0 && [3]byte(b[9:]) == [3]byte{0, 0x5e, 0xfe} { // ISATAP (RFC 5214), in any network
		add(b[12:]...)
	}
	return all
}
