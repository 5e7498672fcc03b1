package check

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"bip324proxy/internal/dial"
	"bip324proxy/internal/hints"
	"bip324proxy/internal/listen"
	"bip324proxy/proxy"
	"bip324proxy/socks"
	"bip324proxy/transport"
	"bip324proxy/transport/fallback"
	"bip324proxy/v1v2"
)

// limits are the timeouts of a check, of its handshake and of the peer's VERSION.
type limits struct{ total, handshake, version time.Duration }

var (
	direct          = limits{time.Minute, 15 * time.Second, 5 * time.Second}
	throughUpstream = limits{90 * time.Second, 45 * time.Second, 20 * time.Second}
)

// Peer is what a check found out about a peer; unknown fields are empty.
type Peer struct {
	Peer    string `json:"peer"`              // as it was asked for, "host:port"
	Network string `json:"network"`           // such as mainnet, or its magic
	Address string `json:"address,omitempty"` // what was connected to, where that is known
	Speaks  string `json:"speaks,omitempty"`  // v2 or v1

	ConnectSeconds   float64 `json:"connect_seconds,omitempty"`
	HandshakeSeconds float64 `json:"handshake_seconds,omitempty"`
	SessionID        string  `json:"session_id,omitempty"` // 64 hexadecimal digits (BIP324)

	UserAgent string   `json:"user_agent,omitempty"`
	Protocol  int32    `json:"protocol,omitempty"`
	Services  string   `json:"services,omitempty"` // 16 hexadecimal digits, as getpeerinfo has them
	Offers    []string `json:"services_names,omitempty"`
	Height    int32    `json:"height,omitempty"` // of its best block
}

// PeerReport checks a peer the way the proxy would reach it: through the upstream
// proxy if there is one, and only where its rules let a client of this machine go.
// It sends a v2 handshake and a VERSION, and v1 only if t.V1 is set.
//
// That VERSION is the one that Bitcoin Core sends for a private broadcast, which says
// nothing of the sender: no services, time, address or height, and the user agent
// "/pynode:0.0.1/". The session ends with the peer's VERSION.
func PeerReport(ctx context.Context, s *Subject, t Target) Report {
	p := prober{subject: s, target: t, limits: direct, report: Report{OK: true, Peer: &Peer{Peer: t.String(), Network: transport.NetworkName(t.Magic)}}}
	p.upstream = s.Policy.UpstreamFor(t.Addr)
	if p.upstream != nil {
		p.limits = throughUpstream
	}
	ctx, cancel := context.WithTimeout(ctx, p.total)
	defer cancel()
	if p.upstream != nil {
		var upstream Result
		upstream, p.isTor = s.upstream(ctx, s.Policy.RouteFor(t.Addr))
		p.report.add(upstream)
		if upstream.State == Failed {
			p.report.add(Result{"connect", Skipped, t.String() + ": nothing goes around the upstream proxy", ""})
			return p.report
		}
	}
	p.run(ctx)
	return p.report
}

// prober is a running check of one peer.
type prober struct {
	subject *Subject
	target  Target
	limits
	upstream   *socks.Upstream
	isTor      bool          // the upstream proxy is
	reached    net.Addr      // the peer's address, or the upstream proxy's
	lookupTook time.Duration // of the peer's name, on this machine
	lookupErr  error
	report     Report
}

// fail adds the result of a check that failed.
func (p *prober) fail(name, what, hint string) { p.report.add(Result{name, Failed, what, hint}) }

func (p *prober) run(ctx context.Context) {
	if p.isOwn(p.target.String()) {
		return
	}
	dialer, err := p.dialer()
	if err != nil {
		p.cannotConnect(err)
		return
	}
	if p.isLookedUp() {
		p.report.add(p.subject.names(p.upstream, p.isTor))
	}
	if resolve := dialer.Resolve; resolve != nil {
		dialer.Resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
			began := time.Now()
			ips, err := resolve(ctx, host)
			p.lookupTook, p.lookupErr = max(p.lookupTook, time.Since(began)), err
			return ips, err
		}
	}
	began := time.Now()
	nc, err := dialer.Connect(ctx, p.target.String())
	took := time.Since(began) - p.lookupTook
	p.dns(ctx, p.target.Addr.Host)
	if err != nil {
		p.cannotConnect(err)
		return
	}
	if p.isOwn(listenersAt(nc)...) {
		nc.Close()
		return
	}
	p.connected(nc, took)

	shape, agreed := p.subject.tunnel(p.target.String())
	began = time.Now()
	link, err := dialer.Upgrade(ctx, nc, p.target.String(), transport.Config{
		Magic:        p.target.Magic,
		First:        [][]byte{v1v2.AppendContents(nil, versionType, ourVersion())},
		ReadTimeout:  p.version,
		WriteTimeout: p.version,
		Shape:        shape,
	})
	took = time.Since(began)
	if err != nil {
		p.noHandshake(ctx, &dialer, err, took)
		return
	}
	conn := v1v2.NewConn(link.V2, p.target.Magic)
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	p.handshakeDone(link.V2, took)
	p.introduced(awaitVersion(conn, p.target.Magic, maxMessagesToAnswer))
	p.awaitTunnel(conn, agreed)
	goodbye(conn.NetConn())
}

// isLookedUp reports whether the peer's name is looked up, by a DNS server or the upstream
// proxy. No DNS server is asked for localhost and names in .local.
func (p *prober) isLookedUp() bool {
	host := strings.TrimSuffix(p.target.Addr.Host, ".")
	return !p.target.Addr.IP.IsValid() && (p.upstream != nil || !dial.IsLocalhost(host) && !dial.IsMulticast(host))
}

// isOwn reports whether one of the addresses is a listener of the proxy, and adds that
// failure.
func (p *prober) isOwn(addresses ...string) bool {
	own := slices.ContainsFunc(p.subject.Listeners, func(l Listener) bool { return slices.Contains(addresses, l.Address) })
	if own {
		p.fail("connect", addresses[0]+": this is the proxy's own listener, not a peer", "to check that, give no HOST:PORT")
	}
	return own
}

// listenersAt returns the addresses of listeners that may have accepted the connection;
// on this machine they include those on all of its addresses.
func listenersAt(nc net.Conn) []string {
	all := []string{nc.RemoteAddr().String()}
	to, _ := nc.RemoteAddr().(*net.TCPAddr)
	if from, _ := nc.LocalAddr().(*net.TCPAddr); to != nil && from != nil && from.IP.Equal(to.IP) {
		for _, host := range []string{"0.0.0.0", "::", ""} {
			all = append(all, net.JoinHostPort(host, strconv.Itoa(to.Port)))
		}
	}
	return all
}

// dialer returns the server's dialer, but without known peers and fallback, and with a
// shorter timeout.
func (p *prober) dialer() (fallback.Dialer, error) {
	policy := p.subject.Policy
	policy.Dialer.Peers = nil
	policy.Dialer.Mode = fallback.Never
	policy.Dialer.HandshakeTimeout = cmp.Or(policy.Dialer.HandshakeTimeout, p.handshake)
	return policy.DialerTo(p.target.Addr, socks.Credentials{}, p.subject.allPublic())
}

// allPublic reports whether all listeners are open to other machines, so that the rules
// for such listeners apply to all clients.
func (s *Subject) allPublic() bool {
	return len(s.Listeners) > 0 && !slices.ContainsFunc(s.Listeners, func(l Listener) bool { return !l.isPublic() })
}

// isPublic reports whether the listener is open to other machines.
func (l Listener) isPublic() bool { return isPublic(l.Address) }

// isPublic reports whether other machines can reach an address of a listener.
func isPublic(address string) bool {
	addr, err := netip.ParseAddrPort(address)
	return err == nil && !listen.IsLocal(net.TCPAddrFromAddrPort(addr))
}

// cannotConnect reports why there is no connection.
func (p *prober) cannotConnect(err error) {
	dest := p.target.String() + ": "
	kind, why := proxy.Explain(err, p.report.Peer.Network)
	what, hint := dest+why, hints.For(proxy.Failure{Kind: kind, Err: err, Dest: p.target.String()})
	switch {
	case kind == proxy.KindNoEgress, kind == proxy.KindUpstream, kind == proxy.KindBind, errors.Is(err, proxy.ErrBindFamily):
	case kind == proxy.KindDenied:
		what = why
	case errors.As(err, new(*socks.UpstreamError)):
		what, hint = why, "the address may be wrong, or the peer not running; or the upstream proxy has no connection itself: see its log"
	case errors.As(err, new(*socks.AddrError)):
		what, hint = why, "connect to it directly: leave out --upstream, or give it a pattern that does not match"
	case errors.Is(err, dial.ErrMulticastName):
		what, hint = fmt.Sprintf("%sthe name cannot be resolved: %v", dest, dial.ErrMulticastName), "no DNS server was asked"
	case errors.As(err, new(*net.DNSError)):
		what, hint = fmt.Sprintf("%sthe name cannot be resolved: %v", dest, reason(err)), "check the spelling, and that name resolution works on this machine"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		what, hint = dest+"no answer in time", "the host may be down, or a firewall, here or on the path, drops the connection"
	default:
		what, hint = fmt.Sprintf("%scannot connect: %v", dest, reason(err)), "check that the address and the port are right, and that a node runs there and listens"
	}
	p.fail("connect", what, hint)
}

func (p *prober) connected(nc net.Conn, took time.Duration) {
	p.report.Peer.ConnectSeconds = took.Seconds()
	p.reached = nc.RemoteAddr()
	to := "through the upstream proxy"
	if p.upstream == nil {
		p.report.Peer.Address = nc.RemoteAddr().String()
		to = "to " + p.report.Peer.Address
	}
	p.report.add(Result{"connect", OK, fmt.Sprintf("%s: connected %s in %v", p.target, to, rounded(took)), ""})
}

func (p *prober) handshakeDone(c *transport.Conn, took time.Duration) {
	id := c.SessionID()
	peer := p.report.Peer
	peer.Speaks, peer.HandshakeSeconds, peer.SessionID = "v2", took.Seconds(), hex.EncodeToString(id[:])
	with := ""
	if to := c.NetConn().RemoteAddr().String(); p.upstream == nil && to != peer.Address {
		peer.Address, with = to, " with "+to+", another address of that name," // the first has failed
	}
	p.report.add(Result{"v2", OK, fmt.Sprintf("handshake complete%s in %v, on %s; the session id is %s", with, rounded(took), peer.Network, peer.SessionID),
		"if the node is yours, compare it with the one in its getpeerinfo: if they are equal, there is no man in the middle"})
}

// introduced reports the peer's VERSION.
func (p *prober) introduced(v v1v2.Version, err error) {
	if err != nil {
		what := "no VERSION came: " + reason(err).Error()
		if errors.Is(err, io.EOF) {
			what = "the peer closed the connection before its VERSION"
		}
		p.report.add(Result{"version", Warning, what, "it speaks v2, but does not want this connection: it may be full, or ban this address"})
		return
	}
	p.report.add(Result{"version", OK, p.note(v), ""})
}

// noHandshake reports why there is no v2 session.
func (p *prober) noHandshake(ctx context.Context, dialer *fallback.Dialer, err error, took time.Duration) {
	const network = "--network says which network the peer should be on"
	kind, why := proxy.Explain(err, p.report.Peer.Network)
	hint := hints.For(proxy.Failure{Kind: kind, Err: err, Dest: p.target.String()})
	mayBeV1 := false
	var e *transport.HandshakeError
	switch isHandshake := errors.As(err, &e); {
	case !isHandshake:
	case errors.Is(e, transport.ErrV1Peer):
		p.report.Peer.Speaks, mayBeV1 = "v1", true
		hint = onlyAlways
	case errors.Is(e, transport.ErrV1OtherNetwork) && p.target.Guessed:
		p.fail("v2", why, p.otherNetwork())
		return
	case errors.Is(e, transport.ErrV1OtherNetwork):
		hint = network
	case kind == proxy.KindNoV2Answer && (e.HungUp() || e.TimedOut()):
		mayBeV1 = true
		why = fmt.Sprintf("%s (after %v)", why, rounded(took))
		hint = "it speaks v1 only, is full, or bans this address"
		if e.TimedOut() {
			hint = "it speaks v1 only, is not a Bitcoin node, or a firewall drops what is sent"
		}
		if !p.target.V1 {
			hint += "; nothing was sent in plaintext. To tell which, with a VERSION in plaintext, add --v1" + p.ifFallingBack(ctx)
		}
	case e.Received > 0 && hint != "" && proxy.ForeignProtocol(e.First) == "" && !p.target.Guessed:
		hint += "; " + network
	}
	if p.target.Guessed && e != nil && !errors.Is(e, transport.ErrV1Peer) && proxy.ForeignProtocol(e.First) == "" {
		hint = p.otherNetwork() + "; if it is on mainnet: " + hint
	}
	p.fail("v2", why, hint)
	if mayBeV1 && p.target.V1 {
		p.tryV1(ctx, dialer)
	}
}

// otherNetwork says how to check a peer whose network was guessed.
func (p *prober) otherNetwork() string {
	return fmt.Sprintf("it was checked as a mainnet peer, because of the port; for another network: bip324-proxy check --network regtest %s", p.target)
}

// onlyAlways is the hint for a peer that speaks v1.
const onlyAlways = "the proxy does not connect to it, except with --v1-fallback always, in plaintext; " + hints.OnePeer

// ifFallingBack says what the proxy would do with such a peer, unless it would refuse it.
func (p *prober) ifFallingBack(ctx context.Context) string {
	mode := p.subject.Policy.Dialer.Mode
	if mode == fallback.Never {
		return ""
	}
	const would, unless = "; the proxy, with its --v1-fallback, would ", ", unless it knows that this peer speaks v2"
	why := p.subject.Policy.Overlay(ctx, p.target.Addr, p.reached)
	switch {
	case why == nil:
		return would + "go on in v1 within a network that encrypts" + unless
	case mode == fallback.Always:
		return would + "go on in plaintext" + unless
	case errors.Is(why, proxy.ErrNotCJDNS):
		why = fmt.Errorf("%w (--cjdnsreachable)", why)
	}
	return fmt.Sprintf("%snot go on in v1: %v", would, why)
}

// tryV1 connects once more and introduces itself in v1, in plaintext.
func (p *prober) tryV1(ctx context.Context, dialer *fallback.Dialer) {
	const name = "v1"
	nc, err := dialer.Connect(ctx, p.target.String())
	if err != nil {
		p.fail(name, fmt.Sprintf("a second connection, for v1, failed: %v", reason(err)), "the peer may be full, or ban this address")
		return
	}
	defer nc.Close()
	defer context.AfterFunc(ctx, func() { nc.Close() })()
	nc.SetDeadline(time.Now().Add(p.version))
	v, err := introduce(nc, p.target.Magic, 1)
	if err != nil {
		p.fail(name, fmt.Sprintf("the peer does not answer in v1 either: %v", reason(err)), "it is full, bans this address, or is not a Bitcoin node of "+p.report.Peer.Network)
		return
	}
	p.report.Peer.Speaks = "v1"
	p.report.add(Result{name, OK, "the peer answers in v1, and so speaks v1 only: " + p.note(v), onlyAlways})
}

func rounded(d time.Duration) time.Duration {
	if d < 100*time.Millisecond {
		return d.Round(100 * time.Microsecond)
	}
	return d.Round(time.Millisecond)
}
