package inbound

import "net/netip"

// networks are the networks of a peer, by which it is limited.
type networks struct {
	local   bool         // it has none: it comes through Tor or a unix socket
	address netip.Prefix // its IPv4 address, or the /64 of its IPv6 address, which one host has
	nearby  netip.Prefix // /24 or /48, which one customer has
	group   netip.Prefix // /16 or /32, as in Bitcoin Core's netgroup.cpp
}

// networksOf returns the networks of a peer; the zero Addr is that of one without.
func networksOf(peer netip.Addr) networks {
	peer = peer.Unmap().WithZone("")
	switch {
	case !peer.IsValid() || peer.IsLoopback():
		return networks{local: true}
	case peer.Is4():
		return networks{address: prefix(peer, 32), nearby: prefix(peer, 24), group: prefix(peer, 16)}
	}
	return networks{address: prefix(peer, 64), nearby: prefix(peer, 48), group: prefix(peer, 32)}
}

func prefix(a netip.Addr, bits int) netip.Prefix {
	p, _ := a.Prefix(bits) // fails for other numbers of bits only
	return p
}
