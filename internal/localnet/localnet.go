// Package localnet tells which addresses belong to this machine, its networks and its
// routers. It asks the system each time, because interfaces come and go; that takes
// microseconds.
package localnet

import (
	"net"
	"net/netip"
	"slices"
)

// MinNetwork is the shortest prefix of a network, in bits. Shorter ones are default routes,
// or halves of one.
const MinNetwork = 8

// Contains reports whether ip is an address of this machine or one of its networks: an
// interface's network or, on Linux, one with a route that needs neither router nor tunnel.
// An error means that the system does not tell.
func Contains(ip netip.Addr) (bool, error) {
	own, err := interfaces()
	if err != nil {
		return false, err
	}
	in := func(p netip.Prefix) bool { return p.Addr() == ip || p.Bits() >= MinNetwork && p.Contains(ip) }
	if slices.ContainsFunc(own, in) {
		return true, nil
	}
	return routedLocally(ip)
}

// interfaces returns this machine's addresses, each with the length of its network.
func interfaces() (all []netip.Prefix, err error) {
	addrs, err := net.InterfaceAddrs()
	for _, each := range addrs {
		if n, ok := each.(*net.IPNet); ok {
			ip, _ := netip.AddrFromSlice(n.IP)
			ones, _ := n.Mask.Size()
			all = append(all, netip.PrefixFrom(ip.Unmap(), ones))
		}
	}
	return all, err
}

// IsRelay reports whether ip is an address of this machine, or of a router in its routes. An
// error means that the system does not tell.
func IsRelay(ip netip.Addr) (own, router bool, err error) {
	prefixes, err := interfaces()
	if err != nil {
		return false, false, err
	}
	own = slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Addr() == ip })
	all, err := routers()
	return own, slices.Contains(all, ip), err
}
