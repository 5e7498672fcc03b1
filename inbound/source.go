package inbound

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"syscall"
)

// Source chooses the address that the node sees for a peer: as long as the process
// runs, a peer keeps its own, and most of it is the same for peers of one network group. So
// a node that bans by address bans one peer. Nil leaves the address to the system, which
// gives all peers the same: then the node bans all of them for one.
type Source struct {
	prefix netip.Prefix
	key    [32]byte // of the hash; random
}

// minHostBits is the least length of the part of an address that Source chooses.
const minHostBits = 8

// loopbackSources are the addresses of auto: half of those that Linux has without
// setup, away from 127.0.0.1.
var loopbackSources = netip.MustParsePrefix("127.128.0.0/9")

// sourceRanges are the networks that a PREFIX must be within. A node takes others for public
// addresses: it would tell a peer that this is the peer's own, and the peer would announce it.
var sourceRanges = []netip.Prefix{
	netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("fd00::/8"),
}

// costOfNone ends errors that suggest none.
const costOfNone = "; with none, the node sees all peers at one address: if one misbehaves, bcoin and btcd ban " +
	"all of them for 24 h; gocoin accepts one peer at a time; Bitcoin Core is unaffected"

// ParseSource returns the Source of the setting auto, none or PREFIX for a node; none for one
// on a unix socket, which sees no addresses. The error says what to write instead.
func ParseSource(setting string, node *Node) (*Source, error) {
	switch {
	case setting == "none":
		return nil, nil
	case setting == "auto" && node.Network == "unix":
		return nil, nil
	case setting == "auto" && runtime.GOOS != "linux":
		return nil, fmt.Errorf("auto needs Linux; write none, or a PREFIX of addresses that this machine has%s", costOfNone)
	case setting == "auto" && !node.isLoopback4():
		return nil, fmt.Errorf("auto needs a node on an IPv4 loopback address, such as 127.0.0.1:8335, and %s is not; "+
			"write a PREFIX that the node routes to this machine, or none%s", node, costOfNone)
	case setting == "auto":
		return newSource(loopbackSources), nil
	}
	prefix, err := netip.ParsePrefix(setting)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%q is invalid; must be auto, none or a PREFIX such as 198.18.0.0/15", setting)
	case prefix != prefix.Masked():
		return nil, fmt.Errorf("%q has host bits set; write %s", setting, prefix.Masked())
	case prefix.Addr().BitLen()-prefix.Bits() < minHostBits:
		return nil, fmt.Errorf("%q has too few addresses; must have at least %d host bits, as in /%d",
			setting, minHostBits, prefix.Addr().BitLen()-minHostBits)
	case !slices.ContainsFunc(sourceRanges, func(r netip.Prefix) bool { return r.Contains(prefix.Addr()) && r.Bits() <= prefix.Bits() }):
		return nil, fmt.Errorf("%q has addresses that nodes treat as public and would announce; must be within 127.0.0.0/8, 198.18.0.0/15, fd00::/8 or a private network", setting)
	case node.Network == "unix":
		return nil, nil
	}
	if ip, _, ok := node.literal(); ok {
		switch {
		case ip.Is4() != prefix.Addr().Is4():
			return nil, fmt.Errorf("%q is not of the address family of the node at %s; write a PREFIX that is", setting, node)
		case prefix.Contains(ip) && !ip.IsLoopback():
			return nil, fmt.Errorf("%q contains the address of the node at %s; write a PREFIX that does not", setting, node)
		case prefix.Addr().IsLoopback() && !ip.IsLoopback():
			return nil, fmt.Errorf("%q is only for a node on this machine, and %s is not; write a PREFIX that the node routes to this machine", setting, node)
		}
	}
	return newSource(prefix), nil
}

func newSource(prefix netip.Prefix) *Source {
	s := &Source{prefix: prefix}
	rand.Read(s.key[:])
	return s
}

// String returns the prefix; of nil, none.
func (s *Source) String() string {
	if s == nil {
		return "none"
	}
	return s.prefix.String()
}

// Addr returns the source address for a peer: two thirds of its bits after the prefix are by the
// peer's network group, the others by its address. Peers on loopback (Tor, for one) and
// those without an address are unknown: each call returns a random one, so that a ban of
// one does not concern the others.
func (s *Source) Addr(peer netip.Addr) netip.Addr {
	var byGroup, byAddr [sha256.Size]byte
	if peer = peer.Unmap().WithZone(""); !peer.IsValid() || peer.IsLoopback() {
		rand.Read(byGroup[:])
		rand.Read(byAddr[:])
	} else {
		byGroup, byAddr = s.hash(networksOf(peer).group), s.hash(netip.PrefixFrom(peer, peer.BitLen()))
	}
	addr := s.prefix.Addr().AsSlice()
	first, end := s.prefix.Bits(), s.prefix.Addr().BitLen()
	middle := first + (end-first)*2/3
	for i := first; i < end; i++ {
		if i < middle {
			setBit(addr, i, byGroup[:], i-first)
		} else {
			setBit(addr, i, byAddr[:], i-middle)
		}
	}
	if isReserved(addr, first) {
		addr[len(addr)-1] ^= 2
	}
	ip, _ := netip.AddrFromSlice(addr)
	return ip
}

func (s *Source) hash(p netip.Prefix) (sum [sha256.Size]byte) {
	mac := hmac.New(sha256.New, s.key[:])
	b, _ := p.MarshalBinary() // never fails
	mac.Write(b)
	mac.Sum(sum[:0])
	return sum
}

// setBit sets bit i of to, which is 0, to bit j of from, both from the left.
func setBit(to []byte, i int, from []byte, j int) {
	to[i/8] |= from[j/8] >> (7 - j%8) & 1 << (7 - i%8)
}

// isReserved reports whether addr is the first or the last of the addresses with its first
// bits, which stand for a network and its broadcasts, or 127.0.0.1, which is for the user's
// own programs.
func isReserved(addr []byte, first int) bool {
	zeros, ones := true, true
	for i := first; i < len(addr)*8; i++ {
		bit := addr[i/8] >> (7 - i%8) & 1
		zeros, ones = zeros && bit == 0, ones && bit == 1
	}
	return zeros || ones || slices.Equal(addr, []byte{127, 0, 0, 1})
}

// bind makes d bind to the address for a peer.
func (s *Source) bind(d *net.Dialer, peer netip.Addr) {
	if s == nil {
		return
	}
	d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(s.Addr(peer), 0))
	d.Control = func(network, _ string, raw syscall.RawConn) error { return prepareBind(network, raw) }
}
