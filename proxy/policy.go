package proxy

import (
	"net"
	"net/netip"
	"syscall"

	"bip324proxy/announce"
	"bip324proxy/rules"
	"bip324proxy/socks"
	"bip324proxy/transport/fallback"
)

// Policy is the part of a server's configuration that SetPolicy can replace while it runs; a
// session keeps the one that it began with. The zero value of each field is the default.
type Policy struct {
	// Dialer connects to destinations and decides between v2 and v1.
	Dialer fallback.Dialer

	// Upstream is the SOCKS5 proxy, such as Tor, for all that leaves: dials, look-ups
	// and retries. Nil means direct connections.
	Upstream *socks.Upstream

	// CJDNSReachable says that addresses in fc00::/8 lead to CJDNS, which encrypts.
	// Otherwise they may be any private network's.
	CJDNSReachable bool

	// DenyPassthrough refuses clients that do not begin with a v1 header: those
	// that speak v2 themselves, and everything that is not Bitcoin.
	DenyPassthrough bool

	// Rules limit where clients may go. The addresses of names are checked only where
	// Dialer.Dial and Upstream are nil.
	Rules rules.Rules

	// Socks configures the negotiation with clients.
	Socks socks.Config

	// Clients are admitted without a password to listeners that are open to other hosts.
	// There, if Socks.Auth is nil, no others are admitted, unless Clients is empty: then
	// all are.
	Clients rules.Clients

	// InboundV1 is which inbound peers may use v1: with Overlay those that connect from
	// a loopback address, as Tor does, or from CJDNS.
	InboundV1 fallback.Mode

	// Announce are addresses where peers reach the node through ServeInbound. Messages of
	// clients and nodes say of them that v2 is spoken there.
	Announce announce.Addresses

	// HideAddresses keeps the addresses and names of clients and peers out of the log,
	// those of open sessions, too.
	HideAddresses bool

	reach *reach // of Upstream; nil without one
}

// SetPolicy sets the policy of sessions that begin from now on. It may be called at any
// time. The server's Policy field does not change.
func (s *Server) SetPolicy(p Policy) {
	p.reach = nil
	if p.Upstream != nil {
		u := *p.Upstream
		u.Control = s.controlUpstream
		p.reach = &reach{address: u.String(), now: Upstream{Address: u.String(), State: "unknown"}}
		if old := s.replaced.Load(); old != nil && old.reach != nil && old.reach.address == p.reach.address {
			p.reach = old.reach
		}
		u.Reached = func(err error) { s.noteReach(p.reach, err) }
		p.Upstream = &u
	}
	s.replaced.Store(&p)
}

// policy returns the policy in force, once setup has been called.
func (s *Server) policy() *Policy { return s.replaced.Load() }

// controlUpstream refuses to connect to an upstream proxy that is a listener of the server:
// every session would begin another, without end.
func (s *Server) controlUpstream(network, address string, _ syscall.RawConn) error {
	if network == "unix" {
		if s.listensOn(&net.UnixAddr{Name: address, Net: network}) {
			return errOwnUpstream
		}
		return nil
	}
	addr, err := netip.ParseAddrPort(address)
	if err == nil && s.listensOn(net.TCPAddrFromAddrPort(netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port()))) {
		return errOwnUpstream
	}
	return err
}
