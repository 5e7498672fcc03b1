package inbound

import (
	"net"
	"net/netip"
)

// Source chooses the address that the node sees a peer come from. Nil leaves it to the
// system, which gives all peers the same: then the node bans all of them for one.
type Source struct {
	prefix netip.Prefix
	key    [32]byte // of the hash; random, of this process
}

// ParseSource returns the Source of the setting auto, none or PREFIX for a node. The error
// says what to write instead.
func ParseSource(setting string, node *Node) (*Source, error) { return nil, nil }

// Addr returns the address for a peer.
func (s *Source) Addr(peer netip.Addr) netip.Addr { return netip.Addr{} }

// bind makes d bind to the address for a peer.
func (s *Source) bind(d *net.Dialer, peer netip.Addr) {}
