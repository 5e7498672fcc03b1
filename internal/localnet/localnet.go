// Package localnet knows which addresses are this machine's, its networks' and its routers'.
// It asks the system each time, for interfaces come and go; that costs some microseconds.
package localnet

import (
	"net"
	"net/netip"
	"slices"
)

// MinNetwork is the shortest prefix, in bits, that makes a network. Shorter ones are
// default routes, or their halves.
const MinNetwork = 8

// Contains reports whether ip is an address of this machine or of a network that it is in:
// an interface's network or, on Linux, one that a route reaches through an interface other
// than a tunnel and without a router. The error says that the system does not tell.
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

// inNetwork reports whether ip is an interface's address, or of its network.
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

// IsRelay reports whether ip is an address of this machine, or of a router that its routes
// name. The error says that the system does not tell.
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
