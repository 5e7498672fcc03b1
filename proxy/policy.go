package proxy

import (
	"net"
	"net/netip"
	"slices"
	"syscall"

	"bip324proxy/announce"
	"bip324proxy/internal/transparent"
	"bip324proxy/rules"
	"bip324proxy/socks"
	"bip324proxy/transport"
	"bip324proxy/transport/fallback"
)

// Policy is the part of a server's configuration that SetPolicy can replace while it runs; a
// session keeps the one that it began with. The zero value of each field is the default.
type Policy struct {
	// Dialer connects to destinations and decides between v2 and v1. Its DialTimeout is for
	// direct connections; those through an upstream proxy have its Timeout, or a minute. Its
	// Resolve also answers a RESOLVE and Lookup where the way is direct; nil means this
	// machine's resolver, even if Dial is set.
	Dialer fallback.Dialer

	// Upstream is the SOCKS5 proxy, such as Tor, for all that leaves to destinations without
	// a route: dials, look-ups and retries. Nil means direct connections.
	Upstream *socks.Upstream

	// Routes are the ways to some destinations: the first that matches counts, instead of
	// Upstream.
	Routes []Route

	// CJDNSReachable says that addresses in fc00::/8 lead to CJDNS, which encrypts.
	// Otherwise they may be any private network's.
	CJDNSReachable bool

	// DenyPassthrough refuses clients that do not begin with a v1 header: those
	// that speak v2 themselves, and everything that is not Bitcoin.
	DenyPassthrough bool

	// Rules limit where clients may go. The addresses that a name is dialed at are checked
	// only where the way is direct and Dialer.Dial is nil.
	Rules rules.Rules

	// Bind is where direct connections of clients leave this machine. It has no effect on
	// connections to upstream proxies and to the node of an Inbound, on look-ups of names, and
	// where Dialer.Dial is not nil.
	Bind Bind

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

	// Shape hides the sizes and the times of what is sent to v2 peers, in sessions of clients. Its
	// Changed is not called.
	Shape transport.Shape

	// Shapes are those of the sessions of some listeners, by net.Addr.String of their address,
	// instead of Shape: those of ServeInbound have none but these.
	Shapes map[string]transport.Shape

	// HideAddresses keeps the addresses and names of clients and peers out of the log,
	// those of open sessions, too.
	HideAddresses bool

	reaches map[string]*reach  // of all upstream proxies, by address
	dials   *transparent.Dials // the server's
}

// SetPolicy sets the policy of sessions that begin from now on. It may be called at any
// time. The server's Policy field does not change.
func (s *Server) SetPolicy(p Policy) {
	p.reaches, p.dials = make(map[string]*reach), &s.dials
	if p.Upstream != nil {
		p.Upstream = s.watched(p.Upstream, p.reaches)
	}
	p.Routes = slices.Clone(p.Routes)
	for i, r := range p.Routes {
		if r.Upstream != nil {
			p.Routes[i].Upstream = s.watched(r.Upstream, p.reaches)
		}
	}
	s.replaced.Store(&p)
}

// watched returns a copy of u that notes in reaches whether it can be reached, as of the
// policy before if that has u, too.
func (s *Server) watched(u *socks.Upstream, reaches map[string]*reach) *socks.Upstream {
	address := u.String()
	r := reaches[address]
	if before := s.replaced.Load(); r == nil && before != nil {
		r = before.reaches[address]
	}
	if r == nil {
		r = &reach{address: address, now: Upstream{Address: address, State: "unknown"}}
	}
	reaches[address] = r
	watched := *u
	watched.Control = s.controlUpstream
	watched.Reached = func(err error) { s.noteReach(r, err) }
	return &watched
}

// policy returns the policy in force, once setup has been called.
func (s *Server) policy() *Policy { return s.replaced.Load() }

// controlUpstream refuses to connect to an upstream proxy that is a listener of the server:
// every session would begin another, without end.
func (s *Server) controlUpstream(network, address string, socket syscall.RawConn) error {
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
	if err == nil {
		s.dials.Add(addr, socket)
	}
	return err
}
