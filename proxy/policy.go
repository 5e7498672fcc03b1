package proxy

import (
	"net"
	"net/netip"
	"syscall"

	"bip324proxy/transport/fallback"

	"bip324proxy/rules"
	"bip324proxy/socks"
)

// Policy is what a server decides by. It may be replaced while the server runs;
// a session keeps the one that it began with. The zero value of each field is
// the default.
type Policy struct {
	// Dialer connects to destinations and decides between v2 and v1.
	Dialer fallback.Dialer

	// Upstream is the SOCKS5 proxy, such as Tor, through which everything
	// leaves: dials, names and retries. Nil means directly.
	Upstream *socks.Upstream

	// CJDNSReachable says that this host is configured for CJDNS: addresses in fc00::/8
	// lead to that network, which encrypts. Otherwise they are any network's.
	CJDNSReachable bool

	// DenyPassthrough refuses clients that do not begin with a v1 header: those
	// that speak v2 themselves, and everything that is not Bitcoin.
	DenyPassthrough bool

	// Rules say where clients may go. They are about the addresses that are
	// connected to only where Dialer.Dial is nil and there is no Upstream.
	Rules rules.Rules

	// Socks says how to negotiate with clients.
	Socks socks.Config

	// Clients need no password where a listener is open to others than this machine.
	// There, if Socks.Auth is nil, no others are admitted, unless Clients is empty: then
	// all are.
	Clients rules.Clients

	// HideAddresses keeps the addresses and names of clients and peers out of the
	// log. It counts for sessions that stand already, too.
	HideAddresses bool

	reach *reach // of Upstream; nil without one
}

// SetPolicy makes p the policy of the sessions that begin from now on. It may be
// called at any time. The server's Policy field stays what it was.
func (s *Server) SetPolicy(p Policy) {
	p.reach = nil
	if p.Upstream != nil {
		u := *p.Upstream
		u.Control = s.controlUpstream
		p.reach = &reach{address: u.String()}
		if old := s.replaced.Load(); old != nil && old.reach != nil && old.reach.address == p.reach.address {
			p.reach = old.reach
		}
		u.Reached = func(err error) { s.noteReach(p.reach, err) }
		p.Upstream = &u
	}
	s.replaced.Store(&p)
}

// policy is the one in force.
func (s *Server) policy() *Policy {
	if p := s.replaced.Load(); p != nil {
		return p
	}
	return &s.Policy
}

// controlUpstream refuses to connect to an upstream proxy that is one of the server's
// own listeners: every session would make another without end.
func (s *Server) controlUpstream(network, address string, _ syscall.RawConn) error {
	if network == "unix" {
		if s.listensOn(&net.UnixAddr{Name: address, Net: network}) || s.listensAt(address) {
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
