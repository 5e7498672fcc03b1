package proxy

import (
	"net"
	"net/netip"
)

// minNetwork is the shortest prefix, in bits, that makes a network. Shorter ones are
// default routes, or their halves.
const minNetwork = 8

// isLocal reports whether ip, or an IPv4 address that it embeds, is one of this
// machine's or of a network that it is in: an interface's network or, on Linux, one
// that a route reaches through an interface other than a tunnel and without a router. The system is asked
// each time, for interfaces come and go. That costs some microseconds. The error says
// that the system does not tell.
func isLocal(ip netip.Addr) (bool, error) {
	own, err := net.InterfaceAddrs()
	if err != nil {
		return false, err
	}
	for _, ip := range append(embedded(ip), ip) {
		for _, each := range own {
			if inNetwork(each, ip) {
				return true, nil
			}
		}
		if local, err := routedLocally(ip); local || err != nil {
			return local, err
		}
	}
	return false, nil
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
	return own.Unmap() == ip || err == nil && ones >= minNetwork && prefix.Contains(ip)
}
