package proxy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"bip324proxy/internal/dial"
	"bip324proxy/internal/stream"
	"bip324proxy/rules"
	"bip324proxy/socks"
	"bip324proxy/transport/fallback"
)

// dial connects to the request's destination, or tells the client why not. All later
// dials for the session go the same way.
func (s *session) dial(ctx context.Context, request *socks.Request) (*stream.Socket, error) {
	s.show(func(info *SessionInfo) { info.State, info.Dest = StateDialing, request.Dest.String() })
	dialer, err := s.policy.DialerTo(request.Dest, request.Credentials, s.public)
	switch {
	case errors.Is(err, ErrNoEgress):
		request.Reply(socks.HostUnreachable)
		return nil, err
	case err != nil:
		request.Reply(socks.NotAllowed)
		return nil, err
	}
	s.dialer = dialer
	conn, err := s.dialer.Connect(ctx, s.shown.Dest)
	if errors.Is(err, errOwnUpstream) {
		request.Reply(socks.NotAllowed)
		return nil, errOwnUpstream
	}
	if err != nil {
		code := socks.CodeOf(err)
		if errors.As(err, new(*rules.DeniedError)) {
			code = socks.NotAllowed
		}
		request.Reply(code)
		return nil, &dialError{code, err}
	}
	if s.server.listensOn(conn.RemoteAddr()) {
		conn.Close()
		request.Reply(socks.NotAllowed)
		return nil, errOwnAddress
	}
	peer := stream.NewSocket(conn)
	return peer, s.own(peer)
}

// DialerTo returns what connects to dest, and nowhere else, for a client that sent the credentials
// client: directly or, where there is an upstream proxy, through that and with these
// credentials. It connects only where the client may go; public says that the client
// came to a listener that is open to others than this machine. The error is
// ErrNoEgress, or a *rules.DeniedError if it may not go to dest at all.
func (p *Policy) DialerTo(dest socks.Addr, client socks.Credentials, public bool) (fallback.Dialer, error) {
	d := p.Dialer
	switch {
	case p.Upstream != nil:
		through(p.Upstream, &d, dest, client)
	case d.Dial == nil && d.Resolve == nil:
		d.Resolve = lookUpOnce()
	}
	if p.Upstream == nil && needsUpstream(dest.Host) {
		return d, ErrNoEgress
	}
	if err := p.checkRequest(dest, public); err != nil {
		return d, err
	}
	if d.Dial == nil {
		d.Dial, d.Direct = dialWithin(&p.Rules, public), true
	}
	if d.Overlay == nil && p.mayBeOverlay(dest.Host) == nil {
		d.Overlay = p.Overlay
	}
	return d, nil
}

// lookUpOnce returns a look-up that remembers its last answer: all dials of a session
// go to the addresses that its name had at the begin, and wait only once for them.
func lookUpOnce() func(context.Context, string) ([]netip.Addr, error) {
	var mu sync.Mutex
	var name string
	var known []netip.Addr
	return func(ctx context.Context, host string) (ips []netip.Addr, err error) {
		mu.Lock()
		defer mu.Unlock()
		if host != name {
			if ips, err = dial.Lookup(ctx, host); err != nil {
				return nil, err
			}
			name, known = host, ips
		}
		return known, nil
	}
}

// checkRequest returns a *rules.DeniedError if a client may not go to dest. Where dest is a
// name, its addresses are judged when they are known.
func (p *Policy) checkRequest(dest socks.Addr, public bool) error {
	if err := p.Rules.CheckName(dest, public); err != nil || !dest.IP.IsValid() {
		return err
	}
	return p.Rules.CheckAddr(dest.IP, dest.Port, public)
}

// dialWithin returns what connects as net.Dialer does, but only where the client may go, and without
// TCP keepalive, which Bitcoin Core's connections do not have. It looks at the address
// that is about to be connected to, whatever name it had and whatever that name led to
// before.
func dialWithin(r *rules.Rules, public bool) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		d := net.Dialer{KeepAlive: -1, Control: func(_, address string, _ syscall.RawConn) error {
			to, err := netip.ParseAddrPort(address)
			if err != nil {
				return err
			}
			return r.CheckAddr(to.Addr(), to.Port(), public)
		}}
		if to, err := netip.ParseAddrPort(addr); err == nil {
			if why := wrongZone(to.Addr()); why != "" {
				return nil, &net.OpError{Op: "dial", Net: network, Err: &net.AddrError{Err: why, Addr: addr}}
			}
		}
		return d.DialContext(ctx, network, addr)
	}
}

// wrongZone returns what is wrong with ip's zone, or nothing. The system would say no more
// than that an argument is invalid.
func wrongZone(ip netip.Addr) string {
	zone := ip.Zone()
	if zone == "" {
		if ip.Is6() && ip.IsLinkLocalUnicast() {
			return "a link-local address needs the zone of an interface, such as fe80::1%eth0"
		}
		return ""
	}
	_, err := net.InterfaceByName(zone)
	if i, notNumber := strconv.Atoi(zone); err != nil && notNumber == nil {
		_, err = net.InterfaceByIndex(i)
	}
	if err != nil {
		return "this machine has no such interface"
	}
	return ""
}

// through makes d go to dest, as its client wrote it, through the upstream proxy u, with
// the client's credentials.
func through(u *socks.Upstream, d *fallback.Dialer, dest socks.Addr, client socks.Credentials) {
	d.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return u.Dial(ctx, dest, client)
	}
	d.Direct = false
	d.Resolve = nil // names are the upstream's to resolve
	if d.DialTimeout == 0 {
		d.DialTimeout = upstreamDialTimeout
	}
	if d.FirstByteTimeout == 0 {
		d.FirstByteTimeout = upstreamFirstByteTimeout
	}
}

// needsUpstream says whether host is a name that only Tor or I2P can reach. Not even
// a DNS query for it may leave directly. That such names never succeed without an
// upstream also keeps Bitcoin Core from taking this proxy for Tor and sending its
// private broadcasts through it.
func needsUpstream(host string) bool {
	host = strings.ToLower(strings.TrimRight(host, "."))
	return strings.HasSuffix(host, ".onion") || strings.HasSuffix(host, ".i2p")
}

// ProbeAddr is an address that a program may ask the address of, by RESOLVE, to learn who
// answers: of RFC 5737's TEST-NET-1, and its own answer.
var ProbeAddr = netip.AddrFrom4([4]byte{192, 0, 2, 1})

// resolve answers Tor's RESOLVE and so ends the session; the error is nil if it
// went well.
func (s *session) resolve(ctx context.Context, request *socks.Request) error {
	s.show(func(info *SessionInfo) { info.State, info.Dest = StateDialing, request.Dest.Host })
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	dest := request.Dest
	dest.Port = 0 // it means nothing
	if err := s.policy.checkRequest(dest, s.public); err != nil {
		request.Reply(socks.NotAllowed)
		if s.public && dest.IP == ProbeAddr {
			err = errProbe
		}
		return &resolveError{socks.NotAllowed, err}
	}
	ip, err := s.lookup(ctx, request)
	if errors.Is(err, errOwnUpstream) {
		request.Reply(socks.NotAllowed)
		return errOwnUpstream
	}
	if err != nil {
		request.Reply(socks.HostUnreachable) // lnd turns to its own resolver for this code only
		return &resolveError{socks.HostUnreachable, err}
	}
	if err := s.policy.Rules.CheckAddr(ip, 0, s.public); err != nil {
		request.Reply(socks.NotAllowed)
		return &resolveError{socks.NotAllowed, err}
	}
	if request.ReplyAddr(ip) != nil {
		return errClientLeft
	}
	args := s.attrs()
	if !s.redacts() {
		args = append(args, "addr", ip.String())
	}
	s.server.log().Debug("name resolved", args...)
	return nil
}

// lookup finds an address of the request's host, any of them, IPv4 if it has one: some
// clients take no other. An address that is none, 0.0.0.0, is what Electrum asks for to
// see whether this is Tor; without an upstream it is not.
func (s *session) lookup(ctx context.Context, request *socks.Request) (netip.Addr, error) {
	host, ip := request.Dest.Host, request.Dest.IP
	switch {
	case s.policy.Upstream != nil && (!ip.IsValid() || ip.IsUnspecified()):
		return s.policy.Upstream.Resolve(ctx, request.Dest, request.Credentials)
	case ip.IsUnspecified():
		return ip, errNotTor
	case ip.IsValid():
		return ip, nil
	case needsUpstream(host):
		return ip, ErrNoEgress
	}
	ips, err := dial.Lookup(ctx, host)
	if err != nil {
		return netip.Addr{}, err
	}
	ips = slices.DeleteFunc(ips, func(ip netip.Addr) bool { return ip.Zone() != "" }) // which no answer can have
	if i := slices.IndexFunc(ips, netip.Addr.Is4); i >= 0 {
		return ips[i], nil
	}
	if len(ips) == 0 {
		return netip.Addr{}, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return ips[0], nil
}
