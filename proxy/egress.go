package proxy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"syscall"

	"bip324proxy/internal/dial"
	"bip324proxy/internal/stream"
	"bip324proxy/internal/transparent"
	"bip324proxy/rules"
	"bip324proxy/socks"
	"bip324proxy/transport/fallback"
)

// refuse replies to the request with code and returns err.
func refuse(request *socks.Request, code socks.ReplyCode, err error) error {
	request.Reply(code)
	return err
}

// fail refuses the request with code because of err, and returns a *requestError.
func fail(request *socks.Request, code socks.ReplyCode, err error) error {
	return refuse(request, code, &requestError{request.Command, code, err})
}

// dial connects to the request's destination, or refuses the request. All later dials of
// the session go the same way.
func (s *session) dial(ctx context.Context, request *socks.Request) (*stream.Socket, error) {
	s.show(func(info *SessionInfo) { info.State, info.Dest = StateDialing, request.Dest.String() })
	dialer, err := s.policy.DialerTo(request.Dest, request.Credentials, s.public)
	switch {
	case errors.Is(err, ErrNoEgress):
		return nil, refuse(request, socks.HostUnreachable, err)
	case err != nil:
		return nil, refuse(request, socks.NotAllowed, err)
	}
	s.dialer = &dialer
	conn, err := s.dialer.Connect(ctx, s.shown.Dest)
	switch code := socks.CodeOf(err); {
	case errors.Is(err, errOwnUpstream):
		return nil, refuse(request, socks.NotAllowed, errOwnUpstream)
	case errors.As(err, new(*rules.DeniedError)):
		return nil, fail(request, socks.NotAllowed, err)
	case errors.Is(err, ErrBindFamily):
		return nil, fail(request, socks.NetworkUnreachable, err)
	case err != nil:
		return nil, fail(request, code, err)
	case s.server.listensOn(conn.RemoteAddr()):
		conn.Close()
		return nil, refuse(request, socks.NotAllowed, errOwnAddress)
	}
	peer := stream.NewSocket(conn)
	return peer, s.own(peer)
}

// DialerTo returns a Dialer to dest, and nowhere else, for a client with the given
// credentials: directly or through its upstream proxy, which gets them. It connects only
// where the rules allow; public is whether the client's listener is open to other hosts.
// The error is ErrNoEgress, or a *rules.DeniedError if dest is denied whatever its
// address.
func (p *Policy) DialerTo(dest socks.Addr, client socks.Credentials, public bool) (fallback.Dialer, error) {
	d := p.Dialer
	upstream := p.UpstreamFor(dest)
	switch {
	case upstream != nil:
		d.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) { return upstream.Dial(ctx, dest, client) }
		d.Direct = false // so names are the upstream's to resolve
		d.DialTimeout = upstream.Timeout
	case d.Dial == nil && d.Resolve == nil:
		d.Resolve = dial.Once(dial.Lookup)
	}
	if upstream == nil && fallback.NeedsProxy(dest.Host) {
		// This also keeps Bitcoin Core from taking this proxy for Tor and sending its private
		// broadcasts through it.
		return d, ErrNoEgress
	}
	if err := p.checkRequest(dest, public); err != nil {
		return d, err
	}
	if d.Dial == nil {
		d.Dial, d.Direct = dialWithin(&p.Rules, p.Bind, p.dials, public), true
		d.Resolve = p.Bind.reachable(d.Resolve)
	}
	if d.Overlay == nil && p.mayBeOverlay(dest) == nil {
		d.Overlay = func(ctx context.Context, _ string, via net.Addr) error { return p.Overlay(ctx, dest, via) }
	}
	return d, nil
}

// checkRequest returns a *rules.DeniedError if dest is denied. The addresses of a name are
// checked once they are known.
func (p *Policy) checkRequest(dest socks.Addr, public bool) error {
	if err := p.Rules.CheckName(dest, public); err != nil || !dest.IP.IsValid() {
		return err
	}
	return p.Rules.CheckAddr(dest.IP, dest.Port, public)
}

// dialWithin returns a net.Dialer's DialContext that connects only where the rules allow, to
// IP addresses, and from where bind says.
// It checks the very address that it connects to, whatever a name resolved to before. It
// uses no TCP keepalive: neither does Bitcoin Core. It adds the sockets to dials.
func dialWithin(r *rules.Rules, bind Bind, dials *transparent.Dials, public bool) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		d := net.Dialer{KeepAlive: -1, Control: func(_, address string, socket syscall.RawConn) error {
			to, err := netip.ParseAddrPort(address)
			if err == nil {
				err = r.CheckAddr(to.Addr(), to.Port(), public)
			}
			if err == nil {
				dials.Add(to, socket)
			}
			return err
		}}
		to, err := netip.ParseAddrPort(addr)
		if err != nil {
			return nil, &net.OpError{Op: "dial", Net: network, Err: &net.AddrError{Err: "not an IP address and a port", Addr: addr}}
		}
		if why := wrongZone(to.Addr()); why != "" {
			return nil, &net.OpError{Op: "dial", Net: network, Err: &net.AddrError{Err: why, Addr: addr}}
		}
		if err := bind.apply(&d, to.Addr().Unmap()); err != nil {
			return nil, &net.OpError{Op: "dial", Net: network, Err: err}
		}
		conn, err := d.DialContext(ctx, network, addr)
		if err != nil {
			return nil, bind.explain(&d, err)
		}
		return conn, nil
	}
}

// wrongZone returns what is wrong with ip's zone, or "". The system says only that an
// argument is invalid.
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

// ProbeAddr is what a program may RESOLVE to learn whether this proxy answers. It is in
// TEST-NET-1 (RFC 5737), and its own answer.
var ProbeAddr = netip.AddrFrom4([4]byte{192, 0, 2, 1})

// onThisMachine reports whether the client of a connection is a program on this machine.
func onThisMachine(client, listener net.Addr) bool {
	from, ok := client.(*net.TCPAddr)
	to, both := listener.(*net.TCPAddr)
	return !ok || !both || from.IP.IsLoopback() || from.IP.Equal(to.IP)
}

// resolve answers Tor's RESOLVE, which ends the session.
func (s *session) resolve(ctx context.Context, request *socks.Request) error {
	s.show(func(info *SessionInfo) { info.State, info.Dest = StateDialing, request.Dest.Host })
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	dest := request.Dest
	dest.Port = 0 // means nothing; a route or rule for one port is for the name, too
	if err := s.policy.checkRequest(dest, s.public); err != nil {
		if dest.IP == ProbeAddr && onThisMachine(s.client.RemoteAddr(), s.client.LocalAddr()) {
			err = errProbe // a health check every few seconds, most likely
		}
		return fail(request, socks.NotAllowed, err)
	}
	ip, err := s.lookup(ctx, dest, request.Credentials)
	if errors.Is(err, errOwnUpstream) {
		return refuse(request, socks.NotAllowed, errOwnUpstream)
	}
	if err != nil { // lnd uses its own resolver after this code only
		return fail(request, socks.HostUnreachable, err)
	}
	if err := s.policy.Rules.CheckAddr(ip, 0, s.public); err != nil {
		return fail(request, socks.NotAllowed, err)
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

// lookup returns any address of dest's host, IPv4 if it has one: some clients take no other.
// The port of dest is 0. Electrum asks for 0.0.0.0 to see whether the proxy is Tor; unless all
// goes through an upstream it is not.
func (s *session) lookup(ctx context.Context, dest socks.Addr, client socks.Credentials) (netip.Addr, error) {
	host, ip := dest.Host, dest.IP
	upstream := s.policy.UpstreamFor(dest)
	if ip.IsUnspecified() {
		upstream = s.policy.Upstream
	}
	switch {
	case upstream != nil && (!ip.IsValid() || ip.IsUnspecified()):
		return upstream.Resolve(ctx, dest, client)
	case ip.IsUnspecified():
		return ip, errNotTor
	case ip.IsValid():
		return ip, nil
	case fallback.NeedsProxy(host):
		return ip, ErrNoEgress
	}
	ips, err := s.policy.lookupDirectly(ctx, host)
	if err != nil {
		return netip.Addr{}, err
	}
	if i := slices.IndexFunc(ips, netip.Addr.Is4); i >= 0 {
		return ips[i], nil
	}
	return ips[0], nil
}
