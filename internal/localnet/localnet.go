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
	own, err := net.InterfaceAddrs()
	if err != nil {
		return false, err
	}
	for _, each := range own {
		if inNetwork(each, ip) {
			return true, nil
		}
	}
	return routedLocally(ip)
}

// inNetwork reports whether ip is an interface's address, or in its network.
func inNetwork(address net.Addr, ip netip.Addr) bool {
	n, ok := address.(*net.IPNet)
	if !ok {
		return false
	}
	own, _ := netip.AddrFromSlice(n.IP)
	ones, _ := n.Mask.Size()
	prefix, err := own.Unmap().Prefix(ones)
	return own.Unmap() == ip || err == nil && ones >= MinNetwork && prefix.Contains(ip)
}

// IsRelay reports whether ip is an address of this machine, or of a router in its routes. An
// error means that the system does not tell.
func IsRelay(ip netip.Addr) (own, router bool, err error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return false, false, err
	}
	for _, each := range addrs {
		if n, ok := each.(*net.IPNet); ok {
			a, _ := netip.AddrFromSlice(n.IP)
			own = own || a.Unmap() == ip
		}
	}
	all, err := routers()
	return own, slices.Contains(all, ip), err
}
